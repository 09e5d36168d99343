//go:build linux

package ring

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/internal/uapi"
)

// refusals are systems without an io_uring that suffices, each as a filter of a system call. The
// errno is what such a system says.
var refusals = map[string]struct {
	call  uint32
	errno syscall.Errno
	why   []string // parts of the explanation
}{
	"a container refuses the setup":           {uapi.SyscallSetup, syscall.EPERM, []string{"forbidden", "seccomp", "io_uring_setup"}},
	"a container refuses to enter":            {uapi.SyscallEnter, syscall.EPERM, []string{"forbidden", "seccomp", "io_uring_enter"}},
	"a container refuses to register":         {uapi.SyscallRegister, syscall.EPERM, []string{"forbidden", "seccomp", "io_uring_register"}},
	"a security module refuses the setup":     {uapi.SyscallSetup, syscall.EACCES, []string{"forbidden"}},
	"gVisor, or a kernel without io_uring":    {uapi.SyscallSetup, syscall.ENOSYS, []string{"absent", "built without"}},
	"a sandbox without enter":                 {uapi.SyscallEnter, syscall.ENOSYS, []string{"absent"}},
	"a sandbox without register":              {uapi.SyscallRegister, syscall.ENOSYS, []string{"absent"}},
	"Linux before 6.1 knows no DEFER_TASKRUN": {uapi.SyscallSetup, syscall.EINVAL, []string{"lacks DEFER_TASKRUN", "run Linux 6.1 or newer"}},
	"Linux before 5.19 knows no buffer rings": {uapi.SyscallRegister, syscall.EINVAL, []string{"lacks provided-buffer rings", "run Linux 6.1 or newer"}},
}

// On each of these systems URing is one error that says why, and Auto works on epoll and says the same.
func TestRefusals(t *testing.T) {
	if name, set := os.LookupEnv(childEnv); set {
		testRefusal(t, name)
		return
	}
	for name := range refusals {
		t.Run(name, func(t *testing.T) { childFor(t, "TestRefusals", name) })
	}
}

func testRefusal(t *testing.T, name string) {
	r := refusals[name]
	if r.call == 0 {
		t.Fatalf("no refusal %q", name)
	}
	if l, err := New(Options{Backend: URing}); err == nil {
		_ = l.Close() // it has not begun
	} else if r.call != uapi.SyscallSetup {
		t.Skip("what comes after the setup cannot be refused: ", err)
	}
	forbid(t, r.call, r.errno)
	says := func(line string) {
		t.Helper()
		for _, part := range r.why {
			if !strings.Contains(line, part) {
				t.Errorf("%q does not say %q", line, part)
			}
		}
		if strings.Contains(line, "\n") {
			t.Errorf("%q is not one line", line)
		}
	}
	l, err := New(Options{Backend: URing})
	if err == nil {
		_ = l.Close()
	}
	if !errors.Is(err, errors.ErrUnsupported) || !isErrno(err, r.errno) {
		t.Fatalf("New with URing: %v, want %v", err, r.errno)
	}
	says(err.Error())
	says(Explain(err))

	l = start(t, Options{})
	if l.Backend() != "epoll" {
		t.Fatalf("Auto took %s", l.Backend())
	}
	if notes := l.Notes(); len(notes) == 0 || !strings.Contains(notes[0], "running on epoll") {
		t.Errorf("Auto notes %q", notes)
	} else {
		says(notes[0])
	}
	receives(t, l)
}

// receives sees that the loop receives a small message and a large one.
func receives(t *testing.T, l *Loop) {
	t.Helper()
	r := &rec{t: t, need: 5 + 1<<20}
	peer := attach(t, l, r)
	want := append([]byte("hello"), random(1, 1<<20)...)
	if _, err := peer.Write(want[:5]); err != nil {
		t.Fatal(err)
	}
	waitOn(t, l, "the beginning has come", func() bool { return len(r.got) == 5 })
	if _, err := peer.Write(want[5:]); err != nil {
		t.Fatal(err)
	}
	waitOn(t, l, "all has come", func() bool { return len(r.got) == len(want) })
	same(t, "the loop", r.got, want)
	peer.Close()
	waitOn(t, l, "the end has come", func() bool { return r.states == 1 })
	do(t, l, func() { r.s.Close(nil) })
	waitOn(t, l, "it is closed", func() bool { return r.closes == 1 })
}

// ownMachine is set where a test may change settings of the whole machine: in the virtual machine
// of make oldkernel.
const ownMachine = "KCM_OWN_MACHINE"

// The administrator switches io_uring off, for all but the privileged and then for all.
func TestSysctlDisablesURing(t *testing.T) {
	if _, set := os.LookupEnv(ownMachine); !set {
		t.Skip("it changes a setting of the whole machine; make oldkernel runs it")
	}
	const file, groupFile = "/proc/sys/kernel/io_uring_disabled", "/proc/sys/kernel/io_uring_group"
	if who, set := os.LookupEnv(childEnv); set {
		value, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want := "kernel.io_uring_disabled is " + strings.TrimSpace(string(value))
		if who != "root" {
			unprivileged(t)
		}
		l := start(t, Options{})
		switch notes := l.Notes(); {
		case who == "member" || who == "root" && strings.HasSuffix(want, "1"):
			if l.Backend() != "io_uring" {
				t.Errorf("Auto takes %s and notes %q", l.Backend(), notes)
			}
		case l.Backend() != "epoll" || !strings.Contains(notes[0], want):
			t.Errorf("Auto takes %s and notes %q, want %q", l.Backend(), notes, want)
		}
		receives(t, l)
		return
	}
	before, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel has no such setting (Linux 6.6)")
	}
	if err != nil {
		t.Fatal(err)
	}
	group, err := os.ReadFile(groupFile)
	if err != nil {
		t.Fatal(err)
	}
	set := func(file, value string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	defer set(file, string(before))
	defer set(groupFile, string(group))
	for _, c := range []struct{ value, group, who string }{
		{"1", "-1", "root"}, {"1", "-1", "nobody"}, {"1", strconv.Itoa(nobody), "member"}, {"2", strconv.Itoa(nobody), "root"},
	} {
		set(file, c.value)
		set(groupFile, c.group)
		childFor(t, t.Name(), c.who)
	}
}

// nobody is the number of an ordinary user and of the user's group.
const nobody = 65534

// unprivileged makes this process that of an ordinary user for ever, without capabilities.
func unprivileged(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	if err := syscall.Setgroups(nil); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setgid(nobody); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setuid(nobody); err != nil {
		t.Fatal(err)
	}
}
