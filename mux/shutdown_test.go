//go:build linux

package mux_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// However many end a Mux at once, each of them returns, and the Mux has ended then.
func TestShutdownAndCloseAtOnce(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		for name, ends := range map[string][]func(*mux.Mux) error{
			"two Shutdowns":   {shutdown, shutdown},
			"two Closes":      {(*mux.Mux).Close, (*mux.Mux).Close},
			"Shutdown, Close": {shutdown, (*mux.Mux).Close, shutdown},
		} {
			for _, whose := range []string{"own loops", "another's loops"} {
				t.Run(name+", "+whose, func(t *testing.T) {
					o := mux.Options{Loops: 2, Ring: ring.Options{Backend: b, Buffers: 64, Linger: 20 * time.Millisecond}}
					if whose != "own loops" {
						o = mux.Options{On: loops(t, b, 2)}
					}
					m := newMux(t, o, echo)
					for range 4 {
						_, c := attach(t, m)
						roundTrip(t, c, "x")
						if len(o.On) > 0 { // with no short linger: the peer ends too
							go func() { c.Read(make([]byte, 1)); c.Close() }()
						}
					}
					done := make(chan error, len(ends))
					for _, end := range ends {
						go func() { done <- end(m) }()
					}
					for range ends {
						if err := within(t, "the end", done); err != nil {
							t.Error(err)
						}
					}
					if n := m.Psocks(); n > 0 {
						t.Errorf("%d connections left", n)
					}
					if _, err := m.Dial(context.Background(), "tcp", "127.0.0.1:1"); !errors.Is(err, mux.ErrClosed) {
						t.Errorf("Dial afterwards: %v, want ErrClosed", err)
					}
					for i, l := range o.On {
						if err := l.Do(func() {}); err != nil {
							t.Errorf("loop %d of the test's own: %v", i, err)
						}
					}
				})
			}
		}
	})
}

func shutdown(m *mux.Mux) error { return m.Shutdown(context.Background()) }

// fullListener returns the address of a socket whose queue of connections is full:
// whoever dials it waits.
func fullListener(t *testing.T) string {
	t.Helper()
	const flags = syscall.SOCK_STREAM | syscall.SOCK_CLOEXEC | syscall.SOCK_NONBLOCK
	fd, err := syscall.Socket(syscall.AF_INET, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	name := &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := errors.Join(syscall.Bind(fd, name), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	name = sa.(*syscall.SockaddrInet4)
	for range 4 {
		c, err := syscall.Socket(syscall.AF_INET, flags, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(c) })
		if err := syscall.Connect(c, name); err != nil && err != syscall.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(name.Port))
}

// A Mux ends while a connection is being made: that fails with ErrClosed, and is
// not waited for.
func TestEndWhileDialling(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		addr := fullListener(t)
		for name, end := range map[string]func(*mux.Mux) error{"Shutdown": shutdown, "Close": (*mux.Mux).Close} {
			t.Run(name, func(t *testing.T) {
				m := newMux(t, mux.Options{
					Loops: 1, Ring: ring.Options{Backend: b},
					OnOpen:  func(*mux.Psock) { t.Error("OnOpen for a connection that never stood") },
					OnClose: func(*mux.Psock, error) { t.Error("OnClose for a connection that never stood") },
				}, echo)
				dialled := make(chan error, 1)
				go func() {
					_, err := m.Dial(context.Background(), "tcp", addr)
					dialled <- err
				}()
				until(t, "the dial is under way", func() bool { return m.Stats().Psocks == 1 })
				ended := make(chan error, 1)
				go func() { ended <- end(m) }()
				if err := within(t, "Dial", dialled); !errors.Is(err, mux.ErrClosed) {
					t.Errorf("Dial: %v, want ErrClosed", err)
				}
				if err := within(t, name, ended); err != nil {
					t.Error(err)
				}
			})
		}
		t.Run("context", func(t *testing.T) {
			m := newMux(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, echo)
			ctx, cancel := context.WithCancel(context.Background())
			dialled := make(chan error, 1)
			go func() {
				_, err := m.Dial(ctx, "tcp", addr)
				dialled <- err
			}()
			until(t, "the dial is under way", func() bool { return m.Stats().Psocks == 1 })
			cancel()
			if err := within(t, "Dial", dialled); !errors.Is(err, context.Canceled) {
				t.Errorf("Dial: %v, want what the context says", err)
			}
			until(t, "nothing is left", func() bool { return m.Stats().Psocks == 0 })
		})
	})
}

// A worker that is at a message when the Mux is shut down still sends on its socket.
func TestShutdownLetsWorkersSend(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Loops: 2, Ring: ring.Options{Backend: b}}, nil)
		s := openSocket(t, m)
		_, c := attach(t, m)
		writeNumbers(t, c, 0, 1)
		r, n := recv(t, s)
		done := make(chan error, 1)
		go func() { done <- m.Shutdown(context.Background()) }()
		until(t, "nothing more is delivered", func() bool { return m.Snapshot().Psocks[0].RxStop })
		sendBytes(t, s, numbered(n+7), 0)
		r.Done()
		if got := readNumbers(t, c, 1); got[0] != n+7 {
			t.Errorf("got %v", got)
		}
		c.Close()
		if err := within(t, "the end", done); err != nil {
			t.Error(err)
		}
	})
}
