//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/internal/uapi"
)

// refuseWith, if set to an errno, makes the test binary refuse itself io_uring with
// it, before it behaves as the program.
const refuseWith = "KCMBENCH_TEST_REFUSE"

// noFilters is the exit status of a child that may not install seccomp filters.
const noFilters = 77

func init() {
	v, set := os.LookupEnv(refuseWith)
	if !set {
		return
	}
	errno, err := strconv.Atoi(v)
	if err == nil {
		err = refuse(uapi.SyscallSetup, syscall.Errno(errno))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(noFilters)
	}
}

// refuse lets the system call nr fail with errno in this whole process, for ever: a
// seccomp filter on all its threads, as container runtimes have it.
func refuse(nr uint32, errno syscall.Errno) error {
	const setModeFilter, tsync = 1, 1 // SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // struct seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	runtime.LockOSThread() // no_new_privs is the thread's, and the filter wants it
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	_, _, e := syscall.Syscall(unix.SYS_SECCOMP, setModeFilter, tsync, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	return nil
}

// invokeRefused runs the program in a process that gets errno for io_uring_setup.
func invokeRefused(t *testing.T, errno syscall.Errno, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", fmt.Sprintf("%s=%d", refuseWith, errno))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	switch status = cmd.ProcessState.ExitCode(); {
	case status < 0:
		t.Fatalf("%s: %v", args, err)
	case status == noFilters:
		t.Skipf("no seccomp filters here: %s", errs.String())
	}
	return status, out.String(), errs.String()
}

// Where io_uring is refused the program runs on epoll and says, once, why, what would
// allow io_uring, and what it took instead. Told to use io_uring, it fails and says the
// same.
func TestRefused(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.ENOSYS} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && string(b) != "0\n" {
				t.Skipf("the reason here is the sysctl: io_uring_disabled is %s", bytes.TrimSpace(b))
			}
			t.Run("auto", func(t *testing.T) { refusedAuto(t, errno) })
			t.Run("uring", func(t *testing.T) { refusedURing(t, errno) })
		})
	}
}

// reasoned checks that a line says why io_uring is refused and what would allow it.
func reasoned(t *testing.T, line string) {
	t.Helper()
	for _, part := range []string{"seccomp", "allow", "io_uring_setup, io_uring_enter and io_uring_register"} {
		if !strings.Contains(line, part) {
			t.Errorf("no %q in %q", part, line)
		}
	}
}

func refusedAuto(t *testing.T, errno syscall.Errno) {
	file := filepath.Join(t.TempDir(), "out.json")
	status, stdout, stderr := invokeRefused(t, errno, "run", "-verdict=false", "-conns", "2", "-duration", "500ms", "-warmup", "0",
		"-max-message", "64KiB", "-json", file)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, error %q", status, stderr)
	}
	var said []string
	for line := range strings.Lines(stdout) {
		if strings.Contains(line, "io_uring") {
			said = append(said, line)
		}
	}
	if len(said) != 1 {
		t.Fatalf("%d lines speak of io_uring, want 1:\n%s", len(said), stdout)
	}
	reasoned(t, said[0])
	if !strings.HasPrefix(said[0], "note ") || !strings.Contains(said[0], "running on epoll") {
		t.Errorf("%q is no note of what runs instead", said[0])
	}

	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rep struct {
		bench.Report
		Size json.RawMessage `json:"size"` // a number or a range
	}
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	if rep.Messages == 0 || rep.Errors != 0 || rep.Server == nil || rep.Server.Backend != "epoll" ||
		rep.Generator.Backend != "epoll" || len(rep.Server.Notes) != 1 {
		t.Errorf("%s", b)
	}

	status, stdout, stderr = invokeRefused(t, errno, "probe")
	if status != 0 || stderr != "" || !strings.Contains(stdout, "\nback end     epoll\nnote         io_uring is ") {
		t.Errorf("probe: status %d, error %q:\n%s", status, stderr, stdout)
	}
}

func refusedURing(t *testing.T, errno syscall.Errno) {
	for _, command := range []string{"run", "serve"} {
		status, stdout, stderr := invokeRefused(t, errno, command, "-backend", "uring", "-listen", "127.0.0.1:0", "-max-message", "64KiB")
		if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "kcmbench "+command+": ") {
			t.Errorf("%s: status %d, output %q, error %q; want 1 and one line", command, status, stdout, stderr)
		}
		reasoned(t, stderr)
		if !strings.Contains(stderr, errno.Error()) {
			t.Errorf("%s: no %q in %q", command, errno, stderr)
		}
	}
}
