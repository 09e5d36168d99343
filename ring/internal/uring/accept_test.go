//go:build linux

package uring

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

var (
	firstKey  = backend.MakeKey(backend.OpAccept, 1, 1)
	secondKey = backend.MakeKey(backend.OpAccept, 1, 2)
)

// listener returns a listening socket of 127.0.0.1 and two descriptors of it.
func listener(t *testing.T, nonblock int) (one, two int, addr unix.Sockaddr) {
	t.Helper()
	one, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|nonblock, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(one) })
	if err := unix.Bind(one, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(one, 128); err != nil {
		t.Fatal(err)
	}
	if addr, err = unix.Getsockname(one); err != nil {
		t.Fatal(err)
	}
	if two, err = unix.FcntlInt(uintptr(one), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(two) })
	return one, two, addr
}

// connect makes n connections.
func connect(t *testing.T, to unix.Sockaddr, n int) {
	t.Helper()
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Connect(fd, to); err != nil {
			t.Fatal(err)
		}
	}
}

// accepted waits until done, and returns how many connections came.
func accepted(t *testing.T, b *ring, events []backend.Event, done func(e backend.Event) bool) (n int) {
	t.Helper()
	for limit := b.Now() + 10*time.Second; b.Now() < limit; {
		got, err := b.Wait(events, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events[:got] {
			if e.Res >= 0 {
				n++
				unix.Close(int(e.Res))
			}
			if done(e) {
				return n
			}
		}
	}
	t.Fatal("nothing comes any more")
	return 0
}

// Two rings, of two processes in earnest, wait for connections of one socket. One alone
// is told of a connection, and cancels its accept before it has taken it: the connection
// comes all the same.
func TestCancelledAcceptLeavesNoConnectionBehind(t *testing.T) {
	mustHave(t)
	for _, n := range []int{1, 5, 20} {
		for _, size := range []int{1, 3, 64} {
			t.Run(fmt.Sprintf("%d connections, %d events", n, size), func(t *testing.T) {
				one, two, addr := listener(t, 0)
				first, second := start(t, 4, 512), start(t, 4, 512)
				events := make([]backend.Event, size)
				first.Accept(firstKey, one)
				if _, err := first.Wait(events, 0); err != nil {
					t.Fatal(err)
				}
				second.Accept(secondKey, two)
				if _, err := second.Wait(events, 0); err != nil {
					t.Fatal(err)
				}
				connect(t, addr, n)
				first.Cancel(firstKey)
				var last backend.Event
				got := accepted(t, first, events, func(e backend.Event) bool { last = e; return !e.More })
				if last.Key != firstKey || last.Err() != syscall.ECANCELED {
					t.Errorf("the last event is %+v, want ECANCELED", last)
				}
				if got < n { // the rest must be the other's
					left := n - got
					accepted(t, second, events, func(e backend.Event) bool { left--; return left == 0 })
				}
				// From now on all connections are the other's.
				connect(t, addr, 3)
				left := 3
				accepted(t, second, events, func(backend.Event) bool { left--; return left == 0 })
			})
		}
	}
}

// A listening socket may be another process's too: it is non-blocking, or an accept that
// finds nothing would stop that process.
func TestListeningSocketStaysNonBlocking(t *testing.T) {
	mustHave(t)
	for _, nonblock := range []int{0, unix.SOCK_NONBLOCK} {
		fd, other, _ := listener(t, nonblock)
		b := start(t, 4, 512)
		b.fixed.size = 1 // as with registered memory
		if err := b.Attach(fd); err != nil {
			t.Fatal(err)
		}
		if nonblock != 0 && blocks(t, other) {
			t.Error("Attach made it blocking")
		}
		b.Accept(firstKey, fd)
		if blocks(t, other) {
			t.Error("it blocks though connections are accepted")
		}
		b.fixed.size = 0
	}
}

func blocks(t *testing.T, fd int) bool {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return flags&unix.O_NONBLOCK == 0
}
