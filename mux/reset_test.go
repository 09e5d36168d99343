//go:build linux

package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// A connection that is reset, or on which nothing can be sent any more, while it is made to
// wait: what it had received is delivered all the same, and then it ends with the cause.

// line is a Mux with one real connection.
type line struct {
	t      *testing.T
	m      *Mux
	p      *Psock
	peer   *net.TCPConn
	closed chan error // of OnClose
}

func newLine(t *testing.T, b ring.Backend, o Options) *line {
	w := &line{t: t, closed: make(chan error, 2)}
	o.Format, o.Loops, o.Ring.Backend = strparser.Length32, 1, b
	o.OnClose = func(_ *Psock, err error) { w.closed <- err }
	var err error
	if w.m, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.m.Close(); err != nil {
			t.Error(err)
		}
		if st := w.m.loops[0].Stats(); st.BuffersFree != st.Buffers || st.RegionUsed+st.SpillUsed != 0 {
			t.Errorf("not everything came back: %+v", st)
		}
		if len(w.closed) > 0 {
			t.Error("OnClose a second time")
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	w.peer = c.(*net.TCPConn)
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if w.p, err = w.m.Attach(s); err != nil {
		t.Fatal(err)
	}
	return w
}

// until looks again and again, each time after a turn of the loop.
func (w *line) until(what string, done func() bool) {
	w.t.Helper()
	for end := time.Now().Add(5 * time.Second); ; {
		ok := false
		if err := w.m.loops[0].Do(func() { ok = done() }); err != nil {
			w.t.Fatal(err)
		}
		if ok {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("waiting until %s takes too long", what)
		}
	}
}

// say sends the messages with the numbers 0 to n, not including n, and extra bytes.
func (w *line) say(n uint32, extra ...byte) {
	w.t.Helper()
	if _, err := w.peer.Write(append(plain(n), extra...)); err != nil {
		w.t.Fatal(err)
	}
}

func plain(n uint32) (b []byte) {
	for i := range n {
		b = binary.BigEndian.AppendUint32(b, 4)
		b = binary.BigEndian.AppendUint32(b, i)
	}
	return b
}

func (w *line) reset() {
	w.t.Helper()
	if err := w.peer.SetLinger(0); err != nil {
		w.t.Fatal(err)
	}
	w.peer.Close()
}

// ends checks how the connection ended.
func (w *line) ends(dropped int) {
	w.t.Helper()
	var err error
	select {
	case err = <-w.closed:
	case <-time.After(5 * time.Second):
		w.t.Fatal("the connection does not end")
	}
	var e *PsockError
	if !errors.As(err, &e) || !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) || e.Dropped != dropped {
		w.t.Errorf("OnClose got %v, want a reset and %d bytes dropped", err, dropped)
	}
}

// The connection is parked, because readers are slow.
func TestResetOfAParkedConnectionLosesNoMessage(t *testing.T) {
	for _, b := range []ring.Backend{ring.URing, ring.Epoll} {
		for _, policy := range []Policy{Idle, FIFO} {
			for _, sends := range []bool{false, true} {
				name := b.String() + "/" + policy.String()
				if sends {
					name += "/sending"
				}
				t.Run(name, func(t *testing.T) {
					w := newLine(t, b, Options{Policy: policy, QueueBytes: 1, FlowCap: -1})
					s, err := w.m.Socket()
					if err != nil {
						t.Fatal(err)
					}
					w.say(6, 0, 0, 0, 4, 7) // and the beginning of a seventh
					w.until("it is parked", func() bool { return w.p.holds > 0 && w.p.stream.Readable() > 0 })
					w.reset()
					if sends {
						w.until("nothing can be sent", func() bool {
							var m sgmsg.Message
							if err := m.AppendCopy(w.p.stream, []byte("reply"), 0); err != nil {
								t.Fatal(err)
							}
							ok := w.p.TrySend(&m)
							m.Reset()
							return !ok
						})
					} else {
						w.until("the reset has come", w.p.stream.Ended)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					for i := range uint32(6) {
						r, err := s.Recv(ctx)
						if err != nil {
							t.Fatalf("message %d: %v", i, err)
						}
						if n := number(r.Msg); n != i {
							t.Errorf("message %d, want %d", n, i)
						}
						r.Done()
					}
					w.ends(5)
				})
			}
		}
	}
}

// The connection is paused, because its peer does not read the replies.
func TestResetOfAPausedConnectionLosesNoMessage(t *testing.T) {
	for _, b := range []ring.Backend{ring.URing, ring.Epoll} {
		t.Run(b.String(), func(t *testing.T) {
			w := newLine(t, b, Options{Ring: ring.Options{SendSoft: 64 << 10, SendHard: 64 << 20}})
			var got []uint32
			w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict {
				got = append(got, number(msg))
				if err := p.SendPayload(make([]byte, 512<<10)); err != nil {
					t.Error(err)
				}
				return Done
			})
			const n = 200
			w.say(n)
			w.until("it is paused", func() bool { return w.p.holds > 0 && w.p.stream.Readable() > 0 })
			w.reset()
			w.ends(0)
			if len(got) != n || !slices.IsSorted(got) || got[n-1] != n-1 {
				t.Errorf("messages %d were handled, want all %d", got, n)
			}
		})
	}
}

// The same in a storm that resets connections: what has arrived when it happens is handled,
// though a worker may be slow, or replies are not taken.
func TestSimulatorResetLosesNoMessage(t *testing.T) {
	o := ringtest.Storm()
	o.Odds[ringtest.Reset], o.Odds[ringtest.ResetDrops] = 0, 0
	ringtest.Seeds(t, *simSeeds, o, func(t *testing.T, s *ringtest.Sim) {
		rng := s.Rand()
		l, err := ring.NewWith(s.Open, simRing())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		m, err := New(Options{
			Format: strparser.Length32, MaxMessage: 32 << 10, On: []*ring.Loop{l},
			Policy: Policy(rng.IntN(2)), FlowCap: 1 - 2*rng.IntN(2), QueueBytes: 1 + rng.IntN(2000),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		sock, err := m.Socket()
		if err != nil {
			t.Fatal(err)
		}
		p, peer := simPeer(t, s, m)
		n := uint32(1 + rng.IntN(40))
		if _, err := peer.Write(plain(n)); err != nil {
			t.Fatal(err)
		}
		s.Settle() // all has arrived
		for range rng.IntN(30) {
			s.Step(func() { l.Turn() })
		}
		peer.Reset()
		var next uint32
		var work func()
		work = func() {
			if r, ok := sock.TryRecv(); ok {
				if k := number(r.Msg); k != next {
					t.Fatalf("message %d, want %d", k, next)
				}
				next++
				if rng.IntN(2) == 0 {
					r.Reply(r.Msg)
				}
				r.Done()
			}
			if next < n {
				s.After(time.Duration(1+rng.IntN(100))*time.Microsecond, work)
			}
		}
		work()
		err = s.Run(func() bool { return m.Psocks() == 0 && next == n }, func() { l.Turn() })
		if err != nil {
			t.Fatalf("%d of %d messages came: %v; holds %d, %d bytes unread", next, n, err, p.holds, p.stream.Readable())
		}
	})
}
