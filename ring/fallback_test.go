//go:build linux

package ring

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/uring"
)

// childEnv is set in a process that a test has started to run that test alone.
const childEnv = "KCM_RING_TEST_CHILD"

// child runs the calling test once more, in a process of its own.
func child(t *testing.T) { t.Helper(); childFor(t, t.Name(), "1") }

// childFor runs the test function in a process of its own, with childEnv set to arg.
func childFor(t *testing.T, name, arg string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), childEnv+"="+arg)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}

// Where a seccomp filter refuses io_uring, as container runtimes do, Auto runs on
// epoll and says why and what would allow it; URing says the same in its error.
func TestFallbackUnderSeccomp(t *testing.T) {
	if _, set := os.LookupEnv(childEnv); !set {
		child(t)
		return
	}
	forbid(t, uapi.SyscallSetup, syscall.EPERM)

	_, err := New(Options{Backend: URing})
	if !errors.Is(err, errors.ErrUnsupported) || !isErrno(err, syscall.EPERM) {
		t.Errorf("New with URing: %v", err)
	}
	if err != nil {
		explained(t, err.Error())
		explained(t, Explain(err))
	}

	l := start(t, Options{Backend: Auto})
	if l.Backend() != "epoll" {
		t.Fatalf("Auto took %s", l.Backend())
	}
	notes := l.Notes()
	if len(notes) == 0 {
		t.Fatal("Auto does not say why it took epoll")
	}
	explained(t, notes[0])
	if !strings.Contains(notes[0], "running on epoll") {
		t.Errorf("the note does not say what runs instead: %q", notes[0])
	}
	for _, n := range notes[1:] {
		if strings.Contains(n, "io_uring") {
			t.Errorf("a second note about io_uring: %q", n)
		}
	}

	// And it works.
	r := &rec{t: t}
	peer := attach(t, l, r)
	peer.Write([]byte("hello"))
	waitOn(t, l, "the bytes have come", func() bool { return string(r.got) == "hello" })

	if l := start(t, Options{Backend: Epoll}); strings.Contains(fmt.Sprint(l.Notes()), "io_uring") {
		t.Errorf("epoll by choice speaks of io_uring: %q", l.Notes())
	}
	for _, f := range Probe() {
		if f.State == "yes" {
			t.Errorf("Probe finds %s where io_uring is refused", f.Name)
		}
	}
}

// explained checks that a line names the reason and the remedy.
func explained(t *testing.T, line string) {
	t.Helper()
	for _, part := range []string{"seccomp filter", "allow", "io_uring_setup"} {
		if !strings.Contains(line, part) {
			t.Errorf("%q does not say %q", line, part)
		}
	}
	if strings.Contains(line, "\n") {
		t.Errorf("%q is not one line", line)
	}
}

// The explanation reaches the caller of this package for other reasons, too.
func TestExplain(t *testing.T) {
	err := fmt.Errorf("ring: %w", &uring.RefusedError{Op: "setup", Errno: syscall.EMFILE})
	if why := Explain(err); !strings.Contains(why, "RLIMIT_NOFILE") {
		t.Errorf("Explain: %q", why)
	}
	err = fmt.Errorf("ring: %w", &uring.RefusedError{Missing: "DEFER_TASKRUN (Linux 6.1)", Errno: syscall.EINVAL})
	if why := Explain(err); !strings.Contains(why, "DEFER_TASKRUN") || !strings.Contains(why, "6.1") {
		t.Errorf("Explain: %q", why)
	}
}

// Where io_uring works, Auto takes it and has nothing to note about it.
func TestAutoPrefersURing(t *testing.T) {
	probe, err := New(Options{Backend: URing})
	if err != nil {
		t.Skip(err)
	}
	probe.Close()
	l := start(t, Options{})
	if l.Backend() != "io_uring" || strings.Contains(fmt.Sprint(l.Notes()), "not used") {
		t.Errorf("Auto took %s and notes %q", l.Backend(), l.Notes())
	}
	found := false
	for _, f := range Probe() {
		if f.Need && f.State != "yes" {
			t.Errorf("io_uring works and Probe finds %s: %s, %s", f.Name, f.State, f.Why)
		}
		found = found || f.Need
	}
	if !found {
		t.Error("Probe names nothing that is needed")
	}
}

// Shortage of descriptors is no reason to fall back: epoll would meet it as well.
func TestNoDescriptors(t *testing.T) {
	if _, set := os.LookupEnv(childEnv); !set {
		child(t)
		return
	}
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
	low := lim
	low.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	for _, be := range []Backend{Auto, URing, Epoll} {
		if _, err := New(Options{Backend: be}); err == nil || be != URing && !isErrno(err, syscall.EMFILE) {
			t.Errorf("New with %v: %v, want EMFILE", be, err)
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		t.Fatal(err)
	}
}
