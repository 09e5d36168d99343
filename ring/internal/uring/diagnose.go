package uring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Explain says in one line why err, an error of [New], happened on this system and
// what would allow io_uring. It reads /proc and may be called anywhere.
func Explain(err error) string {
	return explain(err, gather(os.DirFS("/")))
}

// evidence is what the system shows of the reasons to refuse io_uring.
type evidence struct {
	disabled  int    // kernel.io_uring_disabled: 0, 1 or 2; -1 where there is none (before 6.6)
	group     string // kernel.io_uring_group, "" for none
	seccomp   int    // /proc/self/status: 2 is a filter
	admin     bool   // CAP_SYS_ADMIN is effective
	lock      bool   // CAP_IPC_LOCK is: the limit on locked memory does not count
	memlock   string // soft limit on locked memory in bytes, or "unlimited"
	files     string // soft limit on open files
	release   string // kernel release
	gvisor    bool
	container string // "docker", "podman", "kubernetes" or ""
}

// gather reads the evidence under root. What cannot be read counts as absent.
func gather(root fs.FS) evidence {
	ev := evidence{
		disabled: -1,
		release:  read(root, "proc/sys/kernel/osrelease"),
		memlock:  limit(root, "Max locked memory"),
		files:    limit(root, "Max open files"),
	}
	if n, err := strconv.Atoi(read(root, "proc/sys/kernel/io_uring_disabled")); err == nil {
		ev.disabled = n
	}
	if g := read(root, "proc/sys/kernel/io_uring_group"); g != "-1" {
		ev.group = g
	}
	ev.seccomp, _ = strconv.Atoi(status(root, "Seccomp:"))
	const capIPCLock, capSysAdmin = 14, 21
	caps, _ := strconv.ParseUint(status(root, "CapEff:"), 16, 64)
	ev.admin, ev.lock = caps>>capSysAdmin&1 == 1, caps>>capIPCLock&1 == 1
	// gVisor shows a fixed kernel version, "Linux version 4.4.0 ... #1 SMP Sun Jan
	// 10 15:06:54 PST 2016" (pkg/sentry/kernel in its sources).
	ev.gvisor = strings.Contains(read(root, "proc/version"), "Sun Jan 10 15:06:54 PST 2016")
	for _, c := range []struct{ file, name string }{
		{"var/run/secrets/kubernetes.io", "kubernetes"},
		{"run/.containerenv", "podman"},
		{".dockerenv", "docker"},
	} {
		if _, err := fs.Stat(root, c.file); err == nil {
			ev.container = c.name
			break
		}
	}
	return ev
}

func read(root fs.FS, name string) string {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// status returns the value of a line of /proc/self/status.
func status(root fs.FS, key string) string {
	for line := range strings.Lines(read(root, "proc/self/status")) {
		if v, ok := strings.CutPrefix(line, key); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// limit returns the soft value of a line of /proc/self/limits.
func limit(root fs.FS, name string) string {
	for line := range strings.Lines(read(root, "proc/self/limits")) {
		if v, ok := strings.CutPrefix(line, name); ok {
			if f := strings.Fields(v); len(f) > 0 {
				return f[0]
			}
		}
	}
	return ""
}

// explain is Explain without the system.
func explain(err error, ev evidence) string {
	if err == nil {
		return "io_uring is available"
	}
	kernel := "this kernel"
	if ev.release != "" {
		kernel = "Linux " + ev.release
	}
	var refused *RefusedError
	if errors.As(err, &refused) && refused.Missing != "" {
		return fmt.Sprintf("%s lacks %s for io_uring: run Linux 6.1 or newer", kernel, refused.Missing)
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	switch errno {
	case syscall.EPERM, syscall.EACCES:
		return "io_uring is forbidden: " + ev.forbidden()
	case syscall.ENOSYS:
		switch {
		case ev.gvisor:
			return "io_uring is absent: this is a gVisor sandbox; use a runtime with a Linux kernel (runc)"
		case ev.seccomp == 2:
			return "io_uring is absent: " + kernel + " was built without it, or a seccomp filter answers ENOSYS; " + ev.allowSeccomp()
		}
		return "io_uring is absent: " + kernel + " is too old or was built without CONFIG_IO_URING; run Linux 6.1 or newer"
	case syscall.ENOMEM:
		memory := "memory"
		if refused != nil && refused.Bytes > 0 {
			memory = fmt.Sprintf("%d bytes", refused.Bytes)
		}
		if ev.memlock == "unlimited" || ev.memlock == "" || ev.lock {
			return "io_uring could not get " + memory + ": the system, the cgroup or RLIMIT_AS has none left"
		}
		return fmt.Sprintf("io_uring could not lock %s: the limit RLIMIT_MEMLOCK is %s bytes for all rings of this user; raise it (ulimit -l, LimitMEMLOCK=), run fewer loops or provide fewer buffers", memory, ev.memlock)
	case syscall.EMFILE:
		files := ev.files
		if files == "" { // there is no descriptor to read the limit with, either
			files = "reached"
		}
		return fmt.Sprintf("io_uring got no descriptor: the limit RLIMIT_NOFILE is %s; raise it (ulimit -n, LimitNOFILE=)", files)
	case syscall.ENFILE:
		return "io_uring got no descriptor: the whole system has none left; raise fs.file-max"
	}
	return err.Error()
}

// forbidden names who answered EPERM, the surest reason first.
func (ev *evidence) forbidden() string {
	switch {
	case ev.disabled == 2:
		return "sysctl kernel.io_uring_disabled is 2; set it to 0"
	case ev.disabled == 1 && !ev.admin && ev.group != "":
		return fmt.Sprintf("sysctl kernel.io_uring_disabled is 1; set it to 0, join group %s (kernel.io_uring_group), or run with CAP_SYS_ADMIN", ev.group)
	case ev.disabled == 1 && !ev.admin:
		return "sysctl kernel.io_uring_disabled is 1; set it to 0, set kernel.io_uring_group to a group of this process, or run with CAP_SYS_ADMIN"
	case ev.seccomp == 2:
		return "by a seccomp filter; " + ev.allowSeccomp()
	}
	return "neither a sysctl nor a seccomp filter shows; ask the security module (SELinux, AppArmor: see the audit log)"
}

// allowSeccomp says how to allow the three system calls.
func (ev *evidence) allowSeccomp() string {
	const calls = "io_uring_setup, io_uring_enter and io_uring_register"
	switch ev.container {
	case "docker", "podman":
		return "run the container with --security-opt seccomp=PROFILE, a profile that allows " + calls
	case "kubernetes":
		return "set securityContext.seccompProfile to a Localhost profile that allows " + calls
	}
	return "allow " + calls + " in it (container runtimes and systemd's SystemCallFilter= refuse them)"
}
