//go:build linux

package mux_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/strparser"
)

// A connection waits for its peer to read before it is given back; meanwhile it, or
// the whole Mux, is told to end in order. What arrives all that time is in the
// connection that comes back.
func TestEndOfADetachingConnectionLosesNothing(t *testing.T) {
	for _, how := range []string{"drain", "shutdown"} {
		t.Run(how, func(t *testing.T) {
			each(t, func(t *testing.T, b ring.Backend) {
				m := newMux(t, mux.Options{Loops: 1, MaxMessage: 8 << 20, Ring: ring.Options{Backend: b}}, echo)
				c, s := loopback(t)
				small(t, c)
				p := attachConn(t, m, s)
				_, idle := attach(t, m)
				// A reply that the peer does not read yet, and a message begun.
				reply := make([]byte, 8<<20-4)
				if err := p.SendPayload(reply); err != nil {
					t.Fatal(err)
				}
				begun := append([]byte{0, 0, 1, 0}, "begun, "...)
				if _, err := c.Write(begun); err != nil {
					t.Fatal(err)
				}
				until(t, "the beginning is received", func() bool { return m.Loops()[0].Stats().BytesIn == uint64(len(begun)) })
				back := make(chan net.Conn, 1)
				p.DetachTo(func(c net.Conn, err error) {
					if err != nil {
						t.Errorf("detach: %v", err)
					}
					back <- c
				})
				ended := make(chan error, 1)
				if how == "drain" {
					p.Drain()
					idle.Close()
				} else {
					go func() { ended <- m.Shutdown(context.Background()) }()
					if _, err := idle.Read(make([]byte, 1)); err != io.EOF { // the same task drains all
						t.Fatal(err)
					}
					idle.Close()
				}
				if _, err := c.Write([]byte("then more")); err != nil {
					t.Fatal(err)
				}
				until(t, "the rest is received", func() bool { return m.Loops()[0].Stats().BytesIn >= uint64(len(begun))+9 })
				if _, err := io.CopyN(io.Discard, c, int64(len(reply)+4)); err != nil {
					t.Fatal(err)
				}
				got := within(t, "detached", back)
				if got == nil {
					return
				}
				defer got.Close()
				if _, err := c.Write([]byte(", the end")); err != nil {
					t.Fatal(err)
				}
				c.(*net.TCPConn).CloseWrite()
				rest, err := io.ReadAll(got)
				if want := slices.Concat(begun, []byte("then more, the end")); err != nil || !slices.Equal(rest, want) {
					t.Errorf("the detached connection read %q, %v; want %q", rest, err, want)
				}
				if how == "shutdown" {
					if err := within(t, "shutdown", ended); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// A connection that was given back may come again at once, before OnClose for its
// former life has returned.
func TestDetachedConnectionMayBeAttachedAgainAtOnce(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		again := make(chan error, 1)
		m := newMux(t, mux.Options{
			Loops: 2, Ring: ring.Options{Backend: b},
			OnClose: func(p *mux.Psock, _ error) {
				if p.Value() != "first" {
					return
				}
				select {
				case err := <-again:
					if err != nil {
						t.Error(err)
					}
				case <-time.After(20 * time.Second):
					t.Error("attach waits for OnClose")
				}
			},
		}, echo)
		// Three on the first loop, so that one that comes later goes to the other.
		var p *mux.Psock
		var c net.Conn
		for range 3 {
			far, s := loopback(t)
			var err error
			if e := m.Loops()[0].Do(func() { p, err = m.Attach(s) }); e != nil || err != nil {
				t.Fatal(e, err)
			}
			c = far
		}
		p.SetValue("first")
		roundTrip(t, c, "here")
		done := make(chan struct{})
		p.DetachTo(func(c net.Conn, err error) {
			defer close(done)
			if err == nil {
				if _, err = m.Attach(c); err != nil {
					c.Close()
				}
			}
			again <- err
		})
		<-done
		roundTrip(t, c, "and here again")
	})
}

// A connection can be given back once. Who comes later is told.
func TestDetachTwice(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		p, _ := attach(t, m)
		got, err := p.Detach()
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		if _, err := p.Detach(); !errors.Is(err, mux.ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	})
}

// A message that the format declines, behind two that workers have: these are answered,
// and then the connection is OnDecline's, from the declined message on. KC-23.
func TestDeclinedConnectionIsHandedOver(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		handed := make(chan net.Conn, 1)
		m := newMux(t, mux.Options{
			Format: strparser.ParseFunc(func(v *strparser.View) (int, error) {
				if v.Head()[0] == 'G' {
					return 0, strparser.ErrDecline
				}
				return strparser.Length32.Parse(v)
			}),
			OnDecline: func(c net.Conn) { handed <- c },
			OnClose: func(_ *mux.Psock, err error) {
				if err != nil {
					t.Errorf("ended with %v", err)
				}
			},
			Ring: ring.Options{Backend: b},
		}, nil)
		g := newGate(t)
		startGate(t, m, 1, g)
		_, c := attach(t, m)
		if _, err := c.Write(slices.Concat(numbered(0), numbered(1), []byte("GET /"))); err != nil {
			t.Fatal(err)
		}
		<-g.reached
		select {
		case <-handed:
			t.Error("handed over before its messages were answered")
		default:
		}
		g.open()
		if got := readNumbers(t, c, 2); !slices.Equal(got, upTo(0, 2)) {
			t.Errorf("replies to %d", got)
		}
		h := <-handed
		defer h.Close()
		got := make([]byte, 9)
		if _, err := c.Write([]byte(" now")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(h, got); err != nil || string(got) != "GET / now" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A connection that cannot be given back, because it can send no more, ends all the same,
// although it has bytes that nobody will read.
func TestDetachOfAConnectionThatCannotSendEndsIt(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Loops: 1, MaxMessage: 4 << 10, Ring: ring.Options{Backend: b, SendSoft: 8 << 10, SendHard: 16 << 10}}, nil)
		s := openSocket(t, m)
		c, srv := loopback(t)
		small(t, c)
		p := attachConn(t, m, srv)
		writeNumbers(t, c, 0, 1)
		r, _ := recv(t, s)
		back := make(chan error, 1)
		p.DetachTo(func(_ net.Conn, err error) { back <- err }) // waits for the worker
		before := m.Loops()[0].Stats().BytesIn
		writeNumbers(t, c, 1, 2)
		until(t, "what nobody reads has come", func() bool { return m.Loops()[0].Stats().BytesIn > before })
		c.(*net.TCPConn).CloseWrite()
		for range 100 { // the end is told; without that it ends anyway
			if err := m.Loops()[0].Do(func() {}); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "too much is queued", func() bool {
			p.Send(framed(t, p, make([]byte, 4<<10-4)))
			return m.Stats().LostMessages > 0
		})
		r.Done()
		if err := within(t, "the end of the detach", back); err == nil {
			t.Error("it was given back")
		}
		until(t, "the connection has ended", func() bool { return p.State() == mux.Ended })
	})
}
