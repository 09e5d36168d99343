//go:build linux

package ring

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/invariants"
)

// inChild reports whether this process is the calling test's own; else it runs it in one.
func inChild(t *testing.T) bool {
	t.Helper()
	_, set := os.LookupEnv(childEnv)
	if !set {
		child(t)
	}
	return set
}

// limit sets the soft value of a limit.
func limit(t *testing.T, resource int, n uint64) {
	t.Helper()
	var lim unix.Rlimit
	if err := unix.Getrlimit(resource, &lim); err != nil {
		t.Fatal(err)
	}
	lim.Cur = min(n, lim.Max)
	if err := unix.Setrlimit(resource, &lim); err != nil {
		t.Fatal(err)
	}
}

// With little memory that may be locked, and with none, io_uring works without registered buffers, or, where
// its rings count as locked memory (seen on Linux 6.18), epoll in its place; a note says which and why.
func TestLittleLockedMemory(t *testing.T) {
	if !inChild(t) {
		return
	}
	l, err := New(Options{Backend: URing})
	if err != nil {
		t.Skip(err)
	}
	_ = l.Close() // it has not begun
	unprivileged(t)
	for _, kib := range []uint64{8 << 10, 64, 0} {
		limit(t, unix.RLIMIT_MEMLOCK, kib<<10)
		l := start(t, Options{})
		notes := strings.Join(l.Notes(), "\n")
		want := []string{fmt.Sprintf("RLIMIT_MEMLOCK is %d KiB", kib), "no registered buffers"}
		if l.Backend() == "epoll" && kib < 8<<10 {
			want = []string{fmt.Sprintf("RLIMIT_MEMLOCK is %d bytes", kib<<10), "running on epoll"}
			_, err := New(Options{Backend: URing})
			if !isErrno(err, syscall.ENOMEM) || !strings.Contains(err.Error(), want[0]) {
				t.Errorf("with %d KiB New with URing: %v", kib, err)
			}
		}
		for _, part := range want {
			if !strings.Contains(notes, part) {
				t.Errorf("with %d KiB %s runs and its notes are %q, want %q", kib, l.Backend(), notes, part)
			}
		}
		receives(t, l)
	}
}

// Memory that cannot be mapped: New says how much it wanted, and which options ask for less. With those it
// works.
func TestLittleAddressSpace(t *testing.T) {
	if invariants.Race {
		t.Skip("memory of a race build is the Go heap's")
	}
	if !inChild(t) {
		return
	}
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(statm), &pages); err != nil {
		t.Fatal(err)
	}
	limit(t, unix.RLIMIT_AS, pages*uint64(os.Getpagesize())+256<<20)
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{Options{RegionBytes: 512 << 20}, []string{"553648128 bytes", "Buffers", "BufferSize", "RegionBytes"}},
		{Options{SpillBytes: 512 << 20}, []string{"536870912 bytes", "SpillBytes"}},
	} {
		for _, c.o.Backend = range []Backend{Auto, URing, Epoll} {
			l, err := New(c.o)
			if err == nil {
				_ = l.Close()
			}
			if !isErrno(err, syscall.ENOMEM) {
				t.Fatalf("New with %v: %v, want ENOMEM", c.o.Backend, err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		}
	}
	receives(t, start(t, Options{Buffers: 128, RegionBytes: 2 << 20, SpillBytes: 4 << 20}))
}

// fill uses all descriptors up, with duplicates of one, which it returns.
func fill(t *testing.T, fd int) (list []int) {
	t.Helper()
	for {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err == syscall.EMFILE {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
}

// A loop needs two descriptors, on either back end. With fewer there is none, and the error says which
// limit it is.
func TestFewDescriptors(t *testing.T) {
	if be, set := os.LookupEnv(childEnv); set {
		b, err := ParseBackend(be)
		if err != nil {
			t.Fatal(err)
		}
		fewDescriptors(t, b)
		return
	}
	each(t, func(t *testing.T, be Backend) { childFor(t, "TestFewDescriptors", be.String()) })
}

func fewDescriptors(t *testing.T, be Backend) {
	descriptors(t)
	limit(t, unix.RLIMIT_NOFILE, 48)
	list := fill(t, 1)
	said := be == URing // as it is to be had, Auto tries it too
	for spare := range 3 {
		for _, be := range []Backend{be, Auto} {
			l, err := New(Options{Backend: be, Buffers: 16, RegionBytes: -1})
			if err == nil {
				_ = l.Close() // it has not begun
			}
			switch {
			case spare == 2 && err != nil:
				t.Errorf("New of %v with two descriptors: %v", be, err)
			case spare < 2 && !isErrno(err, syscall.EMFILE):
				t.Errorf("New of %v with %d descriptors: %v, want EMFILE", be, spare, err)
			case said && spare < 2 && !strings.Contains(err.Error(), "RLIMIT_NOFILE is "+[]string{"reached", "48"}[spare]):
				t.Errorf("New of %v with %d descriptors: %v", be, spare, err)
			}
		}
		unix.Close(list[spare])
	}
	for _, fd := range list[3:] {
		unix.Close(fd)
	}
}

// With no descriptor left a listener pauses: what it has accepted works on, a dial fails, and who
// came meanwhile is accepted when there are descriptors again, with all they sent.
func TestNoDescriptorsForConnections(t *testing.T) {
	if be, set := os.LookupEnv(childEnv); set {
		b, err := ParseBackend(be)
		if err != nil {
			t.Fatal(err)
		}
		noDescriptorsForConnections(t, b)
		return
	}
	each(t, func(t *testing.T, be Backend) { childFor(t, "TestNoDescriptorsForConnections", be.String()) })
}

func noDescriptorsForConnections(t *testing.T, be Backend) {
	limit(t, unix.RLIMIT_NOFILE, 48)
	l := start(t, Options{Backend: be})
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fd := dup(t, listener.(*net.TCPListener))
	addr := listener.Addr().(*net.TCPAddr)
	listener.Close()
	var recs []*rec
	var ln *Listener
	do(t, l, func() {
		ln, err = l.Listen(fd, func(fd int) {
			r := &rec{t: t}
			s, err := l.Attach(fd, r)
			if err != nil {
				t.Error(err)
			}
			r.s = s
			recs = append(recs, r)
		}, func(err error) {
			if err != nil {
				t.Errorf("the listener ended: %v", err)
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	// Sockets for later: none can be made when there are no descriptors.
	var clients [5]int
	for i := range clients {
		if clients[i], err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	}
	connect := func(fd int) {
		t.Helper()
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: addr.Port}); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	all := func(what string, n int, got string) {
		t.Helper()
		waitOn(t, l, what, func() bool {
			for _, r := range recs {
				if string(r.got) != got {
					return false
				}
			}
			return len(recs) == n
		})
	}
	connect(clients[0])
	all("the first has come", 1, "hello")

	fillers := fill(t, clients[0])
	for _, fd := range clients[1:] {
		connect(fd) // the system takes them, for the listener
	}
	waitOn(t, l, "the listener pauses", func() bool { return ln.pause.Armed() })
	do(t, l, func() {
		if _, err := l.Dial(addr, &rec{t: t}); !isErrno(err, syscall.EMFILE) {
			t.Errorf("Dial: %v, want EMFILE", err)
		}
	})
	if _, err := New(Options{Backend: be}); !isErrno(err, syscall.EMFILE) {
		t.Errorf("New: %v, want EMFILE", err)
	}
	if _, err := unix.Write(clients[0], []byte(" again")); err != nil {
		t.Fatal(err)
	}
	all("the first goes on", 1, "hello again")
	do(t, l, func() { recs[0].got = []byte("hello") })
	for _, fd := range fillers {
		unix.Close(fd)
	}
	all("all are accepted", len(clients), "hello")
	for _, fd := range clients {
		unix.Close(fd)
	}
	do(t, l, ln.Close)
	waitOn(t, l, "all have ended", func() bool {
		for _, r := range recs {
			if r.states == 0 {
				return false
			}
		}
		return true
	})
	do(t, l, func() {
		for _, r := range recs {
			r.s.Close(nil)
		}
	})
	waitOn(t, l, "nothing is left", func() bool { return l.live == 0 })
}
