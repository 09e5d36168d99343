package uring

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
)

func TestExplain(t *testing.T) {
	setup := func(errno syscall.Errno) error { return &RefusedError{Op: "setup", Errno: errno} }
	base := evidence{disabled: 0, release: "6.12.1", memlock: "65536", files: "1024"}
	with := func(change func(*evidence)) evidence {
		ev := base
		change(&ev)
		return ev
	}
	for _, c := range []struct {
		name string
		err  error
		ev   evidence
		want []string // parts of the line
	}{
		{"nothing", nil, base, []string{"available"}},
		{"sysctl 2", setup(syscall.EPERM), with(func(e *evidence) { e.disabled = 2; e.admin = true }),
			[]string{"kernel.io_uring_disabled is 2", "set it to 0"}},
		{"sysctl 1 without group", setup(syscall.EPERM), with(func(e *evidence) { e.disabled = 1 }),
			[]string{"kernel.io_uring_disabled is 1", "set kernel.io_uring_group", "CAP_SYS_ADMIN"}},
		{"sysctl 1 with group", setup(syscall.EPERM), with(func(e *evidence) { e.disabled = 1; e.group = "27" }),
			[]string{"is 1", "join group 27"}},
		{"sysctl 1 does not hold root back", setup(syscall.EPERM),
			with(func(e *evidence) { e.disabled = 1; e.admin = true; e.seccomp = 2 }), []string{"seccomp filter"}},
		{"seccomp in docker", setup(syscall.EPERM), with(func(e *evidence) { e.seccomp = 2; e.container = "docker" }),
			[]string{"seccomp filter", "--security-opt seccomp="}},
		{"seccomp in kubernetes", setup(syscall.EPERM), with(func(e *evidence) { e.seccomp = 2; e.container = "kubernetes" }),
			[]string{"seccomp filter", "seccompProfile"}},
		{"seccomp of a unit", setup(syscall.EPERM), with(func(e *evidence) { e.seccomp = 2 }),
			[]string{"seccomp filter", "SystemCallFilter="}},
		{"security module", setup(syscall.EACCES), base, []string{"SELinux, AppArmor"}},
		{"old kernel", setup(syscall.ENOSYS), with(func(e *evidence) { e.disabled = -1; e.release = "4.18.0" }),
			[]string{"Linux 4.18.0", "too old", "6.1"}},
		{"gVisor", setup(syscall.ENOSYS), with(func(e *evidence) { e.gvisor = true }), []string{"gVisor"}},
		{"ENOSYS of a filter", setup(syscall.ENOSYS), with(func(e *evidence) { e.seccomp = 2 }), []string{"ENOSYS", "seccomp"}},
		{"memlock", setup(syscall.ENOMEM), base, []string{"RLIMIT_MEMLOCK is 65536", "ulimit -l", "fewer loops"}},
		{"memlock with a size", &RefusedError{Op: "setup", Errno: syscall.ENOMEM, Bytes: 196608}, base, []string{"lock 196608 bytes"}},
		{"memlock does not count", setup(syscall.ENOMEM), with(func(e *evidence) { e.lock = true }), []string{"get memory", "cgroup", "RLIMIT_AS"}},
		{"no memory", setup(syscall.ENOMEM), with(func(e *evidence) { e.memlock = "unlimited" }), []string{"none left"}},
		{"descriptors", setup(syscall.EMFILE), base, []string{"RLIMIT_NOFILE is 1024"}},
		{"no descriptor to read the limit", setup(syscall.EMFILE), evidence{disabled: -1}, []string{"RLIMIT_NOFILE is reached;"}},
		{"descriptors of the system", setup(syscall.ENFILE), base, []string{"fs.file-max"}},
		{"missing", &RefusedError{Missing: "DEFER_TASKRUN (Linux 6.1)", Errno: syscall.EINVAL},
			with(func(e *evidence) { e.release = "5.15.0" }), []string{"Linux 5.15.0 lacks DEFER_TASKRUN", "6.1 or newer"}},
		{"wrapped", fmt.Errorf("mux: %w", setup(syscall.EMFILE)), base, []string{"RLIMIT_NOFILE"}},
		{"foreign", errors.New("something else"), base, []string{"something else"}},
		{"other errno", setup(syscall.EFAULT), base, []string{"io_uring: setup: bad address"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := explain(c.err, c.ev)
			for _, part := range c.want {
				if !strings.Contains(got, part) {
					t.Errorf("%q does not say %q", got, part)
				}
			}
			if strings.Contains(got, "\n") {
				t.Errorf("%q is not one line", got)
			}
		})
	}
}

func TestGather(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	root := fstest.MapFS{
		"proc/sys/kernel/osrelease":         file("6.8.0-45-generic\n"),
		"proc/sys/kernel/io_uring_disabled": file("1\n"),
		"proc/sys/kernel/io_uring_group":    file("-1\n"),
		"proc/version":                      file("Linux version 6.8.0 (buildd@x)\n"),
		"proc/self/status":                  file("Name:\tx\nCapEff:\t00000000a80425fb\nSeccomp:\t2\nSeccomp_filters:\t1\n"),
		"proc/self/limits": file("Limit                     Soft Limit           Hard Limit           Units\n" +
			"Max open files            1024                 524288               files\n" +
			"Max locked memory         8388608              8388608              bytes\n"),
		".dockerenv": file(""),
	}
	want := evidence{disabled: 1, seccomp: 2, memlock: "8388608", files: "1024", release: "6.8.0-45-generic", container: "docker"}
	if got := gather(root); got != want {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	root["proc/sys/kernel/io_uring_group"] = file("107\n")
	root["proc/self/status"] = file("CapEff:\t000001ffffffffff\nSeccomp:\t0\n")
	root["proc/version"] = file("Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016")
	root["var/run/secrets/kubernetes.io/serviceaccount/token"] = file("")
	want.group, want.seccomp, want.admin, want.lock, want.gvisor, want.container = "107", 0, true, true, true, "kubernetes"
	if got := gather(root); got != want {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if got := gather(fstest.MapFS{}); got != (evidence{disabled: -1}) {
		t.Errorf("of an empty system: %+v", got)
	}
}

// The real system must be readable.
func TestGatherHere(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("no /proc")
	}
	ev := gather(os.DirFS("/"))
	if ev.release == "" || ev.memlock == "" || ev.files == "" {
		t.Errorf("%+v", ev)
	}
}

func TestRefusedError(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.EPERM: true, syscall.ENOSYS: true, syscall.EINVAL: true, syscall.ENOMEM: true,
		syscall.EMFILE: false, syscall.ENFILE: false,
	} {
		err := error(&RefusedError{Op: "setup", Errno: errno})
		if !errors.Is(err, errno) {
			t.Errorf("%v: does not wrap its errno", err)
		}
		if got := errors.Is(err, errors.ErrUnsupported); got != want {
			t.Errorf("%v: unsupported is %v, want %v", err, got, want)
		}
	}
	err := &RefusedError{Missing: "EXT_ARG (Linux 5.11)", Errno: syscall.EINVAL}
	if err.Error() != "io_uring: the kernel lacks EXT_ARG (Linux 5.11)" {
		t.Error(err)
	}
}
