//go:build linux

package mux_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// crowded returns a listening socket of which the queue of connections is full, and a
// socket that is connecting to it.
func crowded(t *testing.T) (ln, fd int) {
	t.Helper()
	const flags = unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	ln, err := unix.Socket(unix.AF_INET, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(ln, 0)); err != nil {
		t.Fatal(err)
	}
	to, err := unix.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		fd, err := unix.Socket(unix.AF_INET, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Connect(fd, to); err != unix.EINPROGRESS {
			t.Fatalf("connect: %v", err)
		}
		if _, err := unix.Getpeername(fd); err == unix.ENOTCONN {
			return ln, fd
		}
		t.Cleanup(func() { unix.Close(fd) }) // it has connected
	}
	t.Fatal("the queue takes all connections")
	return
}

// listenerOf returns a listener of package net with the descriptor's socket.
func listenerOf(t *testing.T, fd int) net.Listener {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(dup), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Sockets that are still connecting are taken. Once one stands it sends what was given to
// it meanwhile, by the program and by a Socket, and receives; one that does not come to
// stand ends with the error of its connect.
//
// Proves E2, in part.
func TestAttachWhileConnecting(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		type end struct {
			p   *mux.Psock
			err error
		}
		opened, closed := make(chan *mux.Psock, 4), make(chan end, 4)
		m, err := mux.New(mux.Options{
			Format: strparser.Length32, Loops: 1, Ring: ring.Options{Backend: b},
			OnOpen:  func(p *mux.Psock) { opened <- p },
			OnClose: func(p *mux.Psock, err error) { closed <- end{p, err} },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		got := make(chan string, 1)
		m.Handle(func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			got <- string(msg.AppendTo(nil)[4:])
			return mux.Done
		})
		port := 0 // ours
		attach := func() (p *mux.Psock, ln int) {
			t.Helper()
			ln, fd := crowded(t)
			if local, err := unix.Getsockname(fd); err != nil {
				t.Fatal(err)
			} else {
				port = local.(*unix.SockaddrInet4).Port
			}
			p, err := m.AttachFD(fd)
			if err != nil {
				t.Fatal(err)
			}
			if p.State() != mux.Connecting || p.RemoteAddr() != nil {
				t.Errorf("it is %v to %v, want connecting to nowhere", p.State(), p.RemoteAddr())
			}
			if _, err := m.AttachFD(fd); !errors.Is(err, syscall.EALREADY) {
				t.Errorf("attached twice: %v, want EALREADY", err)
			}
			if _, err := p.Detach(); !errors.Is(err, syscall.ENOTCONN) {
				t.Errorf("Detach: %v, want ENOTCONN", err)
			}
			return p, ln
		}
		ends := map[*mux.Psock]error{}
		endOf := func(p *mux.Psock) error {
			for {
				if err, ok := ends[p]; ok {
					return err
				}
				e := <-closed
				ends[e.p] = e.err
			}
		}
		refused, lost := attach()
		unix.Close(lost)
		dropped, other := attach()
		defer unix.Close(other)
		dropped.Close()
		if err := endOf(dropped); err != nil {
			t.Errorf("OnClose of a connection that we closed: %v", err)
		}

		p, ln := attach()
		defer unix.Close(ln)
		if err := p.SendPayload([]byte("by hand")); err != nil {
			t.Fatal(err)
		}
		sock, err := m.Socket()
		if err != nil {
			t.Fatal(err)
		}
		if err := sock.SendPayload(t.Context(), []byte("by a socket")); err != nil {
			t.Fatal(err)
		}
		select {
		case q := <-opened:
			t.Fatalf("OnOpen of connection %d, which does not stand", q.Index())
		default:
		}
		// Let the queue empty. The kernel asks again after a second.
		mine := make(chan net.Conn, 1)
		l := listenerOf(t, ln)
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				if c.RemoteAddr().(*net.TCPAddr).Port == port {
					mine <- c
				} else {
					c.Close()
				}
			}
		}()
		if q := <-opened; q != p {
			t.Fatalf("OnOpen of connection %d, want %d", q.Index(), p.Index())
		}
		if p.State() != mux.Open || p.RemoteAddr() == nil {
			t.Errorf("it is %v to %v", p.State(), p.RemoteAddr())
		}
		if err := endOf(refused); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the other ended with %v, want ECONNREFUSED", err)
		}
		far := <-mine
		defer far.Close()
		far.SetDeadline(time.Now().Add(10 * time.Second))
		want := "\x00\x00\x00\x07by hand\x00\x00\x00\x0bby a socket"
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(far, buf); err != nil || string(buf) != want {
			t.Fatalf("the far end reads %q, %v", buf, err)
		}
		if _, err := io.WriteString(far, "\x00\x00\x00\x04back"); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s != "back" {
			t.Errorf("received %q", s)
		}
		far.Close()
		if err := endOf(p); err != nil {
			t.Errorf("OnClose: %v", err)
		}
	})
}
