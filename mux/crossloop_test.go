//go:build linux

package mux_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// A handler sends to a connection of another loop whose peer does not read: its
// own connection is made to wait, and when the peer reads everything is there and
// in order.
func TestProducerWaitsForAConsumerOnAnotherLoop(t *testing.T) {
	for _, how := range []struct {
		name string
		send func(to *mux.Psock, msg *sgmsg.Message) error
	}{
		{"lent", func(to *mux.Psock, msg *sgmsg.Message) error { to.Send(msg); return nil }},
		{"taken", func(to *mux.Psock, msg *sgmsg.Message) error { to.Send(msg.Take()); return nil }},
		{"payload", func(to *mux.Psock, msg *sgmsg.Message) error { return to.SendPayload(msg.AppendTo(nil)[4:]) }},
	} {
		t.Run(how.name, func(t *testing.T) {
			each(t, func(t *testing.T, b ring.Backend) {
				var sink atomic.Pointer[mux.Psock]
				m := newMux(t, mux.Options{
					Loops: 2,
					Ring:  ring.Options{Backend: b, SendSoft: 64 << 10, SendHard: 2 << 20},
					OnClose: func(p *mux.Psock, err error) {
						if errors.Is(err, syscall.ENOBUFS) {
							t.Errorf("connection %d ended where one should have waited: %v", p.Index(), err)
						}
					},
					OnLost: func(_ *mux.Psock, msg *sgmsg.Message, err error) {
						t.Errorf("a message of %d bytes was lost: %v", msg.Len(), err)
					},
				}, func(_ *mux.Psock, msg *sgmsg.Message) mux.Verdict {
					if err := how.send(sink.Load(), msg); err != nil {
						t.Error(err)
					}
					return mux.Done
				})
				from, in := attach(t, m)
				out, s := loopback(t)
				small(t, out)
				to := attachConn(t, m, s)
				if from.Loop() == to.Loop() {
					t.Fatal("both connections are on one loop")
				}
				sink.Store(to)
				const n, size = 1200, 10 << 10 // more than may be queued and the system takes
				sent := make(chan error, 1)
				go func() {
					msg := frame(make([]byte, size))
					for i := range uint32(n) {
						binary.BigEndian.PutUint32(msg[4:], i)
						if _, err := in.Write(msg); err != nil {
							sent <- err
							return
						}
					}
					sent <- nil
				}()
				until(t, "the producer waits", func() bool { return m.Stats().Pauses > 0 })
				got := make([]byte, 4+size)
				want := frame(make([]byte, size))
				for i := range uint32(n) {
					binary.BigEndian.PutUint32(want[4:], i)
					if _, err := io.ReadFull(out, got); err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
					if !bytes.Equal(got, want) {
						t.Fatalf("message %d is another one, or damaged", i)
					}
				}
				if err := <-sent; err != nil {
					t.Error(err)
				}
				awaitBuffers(t, m)
			})
		})
	}
}

// A message too long for what may be queued is posted to a loop that has ended: its
// producer is not left waiting.
func TestProducerGoesOnWhenTheOtherLoopHasEnded(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		var ls []*ring.Loop
		for range 2 {
			l, err := ring.New(ring.Options{Backend: b, SendSoft: 1 << 10})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if err := l.Start(); err != nil {
				t.Fatal(err)
			}
			ls = append(ls, l)
		}
		var sink atomic.Pointer[mux.Psock]
		lost := make(chan error, 1)
		m := newMux(t, mux.Options{
			Format: strparser.Length32, On: ls,
			OnLost: func(_ *mux.Psock, _ *sgmsg.Message, err error) { lost <- err },
		}, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			if msg.Len() > 2<<10 {
				sink.Load().Send(msg)
				return mux.Done
			}
			return echo(from, msg)
		})
		from, in := attach(t, m)
		to, _ := attach(t, m)
		if from.Loop() == to.Loop() {
			t.Fatal("both connections are on one loop")
		}
		sink.Store(to)
		roundTrip(t, in, "before")
		if err := to.Loop().Close(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := in.Write(frame(make([]byte, 4<<10))); err != nil {
				t.Fatal(err)
			}
			if err := within(t, "lost", lost); !errors.Is(err, mux.ErrClosed) {
				t.Errorf("lost because of %v, want ErrClosed", err)
			}
			roundTrip(t, in, "after")
		}
		// A new connection goes to the loop that is left.
		p, c := attach(t, m)
		if p.Loop() != from.Loop() {
			t.Error("a new connection was placed on the loop that has ended")
		}
		roundTrip(t, c, "new")
	})
}

// More than SendHard is posted before the loop gets to it. That ends the connection,
// and says why.
func TestMorePostedThanMayBeQueuedEndsWithENOBUFS(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		const payload, n, fit = 996, 9, 8 // of 1000 bytes each in 8 KiB
		closed := make(chan error, 1)
		lost := make(chan error, n)
		m := newMux(t, mux.Options{
			MaxMessage: 1 << 10, Loops: 1,
			Ring:    ring.Options{Backend: b, SendSoft: 1 << 10, SendHard: 8 << 10},
			OnClose: func(_ *mux.Psock, err error) { closed <- err },
			OnLost:  func(_ *mux.Psock, _ *sgmsg.Message, err error) { lost <- err },
		}, echo)
		p, c := attach(t, m)
		stopped, goOn := make(chan struct{}), make(chan struct{})
		m.Loops()[0].Post(func() { close(stopped); <-goOn })
		<-stopped
		for i := range n {
			if err := p.SendPayload(make([]byte, payload)); err != nil {
				t.Error(err)
			}
			if over := i >= fit; len(lost) > 0 != over {
				t.Errorf("after %d messages %d are lost", i+1, len(lost))
			}
		}
		close(goOn)
		io.Copy(io.Discard, c)
		if err := within(t, "closed", closed); !errors.Is(err, syscall.ENOBUFS) {
			t.Errorf("cause %v, want ENOBUFS", err)
		}
		if err := <-lost; !errors.Is(err, syscall.ENOBUFS) {
			t.Errorf("the message that was too much was lost because of %v, want ENOBUFS", err)
		}
	})
}

// awaitBuffers waits until every receive buffer is back.
func awaitBuffers(t *testing.T, m *mux.Mux) {
	t.Helper()
	for _, l := range m.Loops() {
		until(t, "every receive buffer is back", func() bool {
			st := l.Stats()
			return st.BuffersFree == st.Buffers
		})
	}
}

// One descriptor belongs to one connection, whichever loop that is on, and however
// many try at once.
func TestDescriptorIsAttachedOnceWhicheverLoop(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Loops: 2, Ring: ring.Options{Backend: b}}, echo)
		for range 20 {
			fd, far := descriptorPair(t)
			defer syscall.Close(far)
			var wg sync.WaitGroup
			var won atomic.Int32
			for range 4 {
				wg.Go(func() {
					switch _, err := m.AttachFD(fd); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, syscall.EALREADY):
						t.Errorf("%v, want EALREADY", err)
					}
				})
			}
			wg.Wait()
			if n := won.Load(); n != 1 {
				t.Fatalf("attached %d times", n)
			}
			for i, l := range m.Loops() {
				var err error
				if e := l.Do(func() { _, err = m.AttachFD(fd) }); e != nil || !errors.Is(err, syscall.EALREADY) {
					t.Errorf("attached again on loop %d: %v, %v; want EALREADY", i, e, err)
				}
			}
		}
	})
}

// Two Muxes cannot both read a connection; once it is given back, the other may.
func TestDescriptorBelongsToOneMuxOfTheProcess(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		first := newMux(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, echo)
		second := newMux(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, echo)
		fd, far := descriptorPair(t)
		defer syscall.Close(far)
		p, err := first.AttachFD(fd)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := second.AttachFD(fd); !errors.Is(err, syscall.EALREADY) {
			t.Fatalf("attached to a second Mux: %v, want EALREADY", err)
		}
		c, err := p.Detach()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := second.Attach(c); err != nil {
			t.Fatalf("given back, and not to be attached: %v", err)
		}
	})
}

// The number of a descriptor is free again as soon as its connection is closed,
// OnClose included: what then has it is another connection.
func TestNumberOfAClosedDescriptorMayBeAttachedAgain(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		const number = 700 // nobody else gets one so high by chance
		again := make(chan error, 1)
		var next int
		o := mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}
		o.OnClose = func(p *mux.Psock, _ error) {
			if p.Value() != "first" {
				return
			}
			fd, err := unix.FcntlInt(uintptr(next), unix.F_DUPFD_CLOEXEC, number)
			if err == nil && fd != number {
				err = fmt.Errorf("descriptor %d, want %d", fd, number)
			}
			if err == nil {
				_, err = p.Mux().AttachFD(fd)
			}
			if err != nil {
				syscall.Close(fd)
			}
			again <- err
		}
		m := newMux(t, o, echo)
		c, s := descriptorPair(t)
		c2, s2 := descriptorPair(t)
		next = s2
		fd, err := unix.FcntlInt(uintptr(s), unix.F_DUPFD_CLOEXEC, number)
		if err != nil {
			t.Fatal(err)
		}
		p, err := m.AttachFD(fd)
		if err != nil {
			t.Fatal(err)
		}
		p.SetValue("first")
		syscall.Close(s)
		syscall.Close(c)
		if err := within(t, "attached again", again); err != nil {
			t.Fatal(err)
		}
		// It is the second one's now, and stays so.
		if _, err := m.AttachFD(number); !errors.Is(err, syscall.EALREADY) {
			t.Errorf("attached a third time: %v, want EALREADY", err)
		}
		msg := frame([]byte("hello"))
		if _, err := syscall.Write(c2, msg); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(msg))
		if n, err := syscall.Read(c2, got); n != len(got) || !bytes.Equal(got, msg) {
			t.Errorf("got %q, %v", got[:max(n, 0)], err)
		}
		syscall.Close(c2)
		syscall.Close(s2)
	})
}

// descriptorPair returns two connected sockets. The caller closes them.
func descriptorPair(t *testing.T) (a, b int) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pair[0], pair[1]
}
