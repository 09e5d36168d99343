package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// scriptTime is how long one script may take.
const scriptTime = 30 * time.Second

// Paths in the virtual machine; the lab puts the files there.
const (
	modulesDir = "/modules"
	scriptsDir = "/scripts"
	testsList  = "/tests"
	treeDir    = "/src"
	report     = "/dev/ttyS1"
)

func main() {
	switch {
	case len(os.Args) == 2:
		if err := runScript(os.Args[1], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case os.Getpid() == 1:
		out, err := start()
		if err == nil {
			err = runAll(out)
		}
		if err != nil {
			if out == nil {
				out = os.Stderr
			}
			fmt.Fprintf(out, "fail %v\n", err)
		}
		drain(out)
		_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) // QEMU is told to end then
		select {}
	default:
		fmt.Fprintln(os.Stderr, "guest: this is the first process of the conformance lab's virtual machine; run make conformance")
		os.Exit(2)
	}
}

// start makes the machine ready and opens the line to the lab.
func start() (*os.File, error) {
	for _, m := range []struct{ what, where string }{
		{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}, {"cgroup2", "/sys/fs/cgroup"}, {"tmpfs", "/tmp"},
	} {
		if err := os.MkdirAll(m.where, 0o755); err != nil {
			return nil, err
		}
		if err := unix.Mount(m.what, m.where, m.what, 0, ""); err != nil && err != unix.EBUSY {
			return nil, fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	out, err := os.OpenFile(report, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(out.Fd()), unix.TCGETS)
	if err != nil {
		return out, fmt.Errorf("%s: %w", report, err)
	}
	t.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(int(out.Fd()), unix.TCSETS, t); err != nil {
		return out, fmt.Errorf("%s: %w", report, err)
	}
	modules, err := filepath.Glob(modulesDir + "/*.ko")
	if err != nil {
		return out, err
	}
	for _, m := range modules {
		if err := loadModule(m); err != nil {
			return out, fmt.Errorf("load %s: %w", m, err)
		}
	}
	return out, nil
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// drain waits until all that was written has left.
func drain(out *os.File) {
	if out != nil {
		_ = unix.IoctlSetInt(int(out.Fd()), unix.TCSBRK, 1) // there is nobody to tell
	}
}

// uptime returns the milliseconds since the kernel started.
func uptime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return ts.Nano() / int64(time.Millisecond)
}

// runAll runs the scripts in the order of their names, and then the tests.
func runAll(out *os.File) error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	fmt.Fprintf(out, "guest %s %d\n", unix.ByteSliceToString(u.Release[:]), uptime())
	scripts, err := filepath.Glob(scriptsDir + "/*.txt")
	if err != nil {
		return err
	}
	tests, err := listTests()
	if err != nil {
		return err
	}
	tainted, err := taint()
	if err != nil {
		return err
	}
	run := func(name string, one func(io.Writer) error) error {
		fmt.Fprintf(out, "begin %s\n", name)
		end := "ok"
		if err := one(out); err != nil {
			end = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Fprintf(out, "end %s %s\n", name, end)
		now, err := taint()
		if err == nil && now != tainted {
			tainted = now
			fmt.Fprintf(out, "warned %s\n", name)
		}
		return err
	}
	for _, s := range scripts {
		if err := run(strings.TrimSuffix(filepath.Base(s), ".txt"), func(w io.Writer) error { return child(s, w) }); err != nil {
			return err
		}
	}
	for _, t := range tests {
		if err := run(t, func(w io.Writer) error { return runTest(t, w) }); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "done %d\n", uptime())
	return nil
}

// child runs a script in a process of its own.
func child(script string, out io.Writer) error {
	var complaint strings.Builder
	cmd := exec.Command("/proc/self/exe", script)
	cmd.Stdout, cmd.Stderr = out, &complaint
	cmd.SysProcAttr = namespace()
	if err := within(cmd, scriptTime); err != nil {
		if c := strings.TrimSpace(complaint.String()); c != "" {
			err = fmt.Errorf("%w: %s", err, c)
		}
		return err
	}
	return nil
}

// within runs cmd and ends it when it takes longer than limit.
func within(cmd *exec.Cmd, limit time.Duration) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	late := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !late.Stop() {
		return fmt.Errorf("not done after %v", limit)
	}
	return err
}

// wBit is the bit of /proc/sys/kernel/tainted that a warning sets; others come with modules.
const wBit = 1 << 9

// taint reports whether the kernel has ever printed a warning: the first one is noticed, those
// after it are not.
func taint() (bool, error) {
	text, err := os.ReadFile("/proc/sys/kernel/tainted")
	if err != nil {
		return false, err
	}
	var bits uint64
	if _, err := fmt.Sscan(string(text), &bits); err != nil {
		return false, err
	}
	return bits&wBit != 0, nil
}
