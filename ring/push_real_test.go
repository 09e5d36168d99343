//go:build linux

package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/uring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

// pushed is message seq of a sender, as it is in the stream.
func pushed(sender, seq int) []byte {
	n := 16 + (seq*seq*7+sender*13)%700
	if seq%97 == 0 {
		n += 150_000 // more than one Write
	}
	p := bytes.Repeat([]byte{byte(sender*31 + seq)}, n)
	binary.BigEndian.PutUint32(p, uint32(sender))
	binary.BigEndian.PutUint32(p[4:], uint32(seq))
	binary.BigEndian.PutUint32(p[8:], uint32(n))
	return p
}

// checkPushed reads messages until the stream ends and returns how many of each
// sender came, which must be whole and in order.
func checkPushed(r io.Reader, senders int) ([]int, error) {
	seen := make([]int, senders)
	var head [12]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return seen, nil
		} else if err != nil {
			return seen, err
		}
		sender, seq, n := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint32(head[8:])
		if int(sender) >= senders || int(seq) != seen[sender] {
			return seen, fmt.Errorf("message %d of sender %d after %v", seq, sender, seen)
		}
		want := pushed(int(sender), int(seq))
		got := append(bytes.Clone(head[:]), make([]byte, int(n)-len(head))...)
		if _, err := io.ReadFull(r, got[len(head):]); err != nil {
			return seen, err
		}
		if !bytes.Equal(got, want) {
			return seen, fmt.Errorf("message %d of sender %d is torn", seq, sender)
		}
		seen[sender]++
	}
}

// Several goroutines push while the loop sends, to a peer that is slow at first; then
// the stream is drained in their midst. What was taken comes, each message once and
// whole, those of each sender in order.
func TestPushFromManyGoroutines(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		const senders, messages = 4, 400
		l := start(t, Options{Backend: be, SendSoft: 64 << 10})
		r := &rec{t: t}
		peer := attach(t, l, r)
		closed := make(chan struct{})
		r.onClosed = func(*Stream) { close(closed) }
		var taken [senders + 1]int // the last one is the loop
		var begun [senders]atomic.Int32
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() {
				for seq := range messages {
					var m sgmsg.Message
					for r.s.Crowded() {
						runtime.Gosched()
					}
					if err := m.AppendCopy(l, pushed(i, seq), 0); err != nil {
						t.Error(err)
						return
					}
					if err := r.s.Push(&m); err != nil {
						if m.Release(); !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
					taken[i]++
					begun[i].Store(int32(taken[i]))
				}
			})
		}
		wg.Go(func() {
			for seq := range messages {
				var err error
				do(t, l, func() {
					if r.s.Overdrawn() {
						err = errOurs
						return
					}
					var m sgmsg.Message
					if err = m.AppendCopy(l, pushed(senders, taken[senders]), 0); err != nil {
						return
					}
					if err = r.s.Send(&m); err != nil {
						m.Release()
						return
					}
					taken[senders]++
				})
				if err != nil && err != errOurs && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				if seq == messages*3/4 {
					for i := range begun {
						for begun[i].Load() < messages/4 {
							runtime.Gosched()
						}
					}
					do(t, l, func() { r.s.Drain(nil) })
				}
			}
		})
		seen, err := checkPushed(&slowReader{Conn: peer, slow: 100}, senders+1)
		if err != nil {
			t.Error(err)
		}
		wg.Wait()
		peer.Close()
		<-closed
		if r.rest != 0 {
			t.Errorf("a rest of %d bytes", r.rest)
		}
		for i, n := range seen {
			if n != taken[i] || n == 0 {
				t.Errorf("sender %d: %d messages came, %d were taken", i, n, taken[i])
			}
		}
	})
}

// slowReader reads a few bytes at a time at first.
type slowReader struct {
	net.Conn
	slow int
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.slow > 0 {
		r.slow--
		p = p[:min(len(p), 512)]
		runtime.Gosched()
	}
	return r.Conn.Read(p)
}

// Connections are closed, reset and given away while others push to them.
func TestPushAcrossTheEnd(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		for round := range 24 {
			r := &rec{t: t}
			peer := attach(t, l, r)
			closed := make(chan struct{})
			unsent := 0
			do(t, l, func() {
				r.s.KeepBoundaries()
				r.onClosed = func(s *Stream) {
					s.Unsent(func(part *sgmsg.Message) { unsent += part.Len() })
					close(closed)
				}
			})
			var begun atomic.Int32
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					for {
						if r.s.Crowded() {
							runtime.Gosched()
							continue
						}
						var m sgmsg.Message
						if err := m.AppendCopy(l, make([]byte, 300), 0); err != nil {
							runtime.Gosched() // the peer does not read
							continue
						}
						begun.Add(1)
						if r.s.Push(&m) != nil {
							m.Release()
							return
						}
					}
				})
			}
			wait(t, "they push", func() bool { return begun.Load() > int32(10*(round%8)) })
			switch round % 4 {
			case 0:
				do(t, l, func() { r.s.Close(nil) })
			case 1:
				peer.Close()
			case 2:
				do(t, l, func() { r.s.Drain(nil) })
				go io.Copy(io.Discard, peer)
				wg.Wait()
				peer.(interface{ CloseWrite() error }).CloseWrite()
			case 3:
				do(t, l, func() {
					r.s.Detach(func(fd int, _ *sgmsg.Message, err error) {
						if err == nil {
							l.Discard(fd)
						}
					})
				})
				go io.Copy(io.Discard, peer)
			}
			wg.Wait()
			<-closed
			peer.Close()
			if unsent != r.rest {
				t.Errorf("%d bytes unsent, rest of %d", unsent, r.rest)
			}
		}
	})
}

// counting counts what the loop asks of its back end.
type counting struct {
	backend.Backend
	waits, wakes, writes, sends atomic.Int64
}

func (c *counting) Wait(ev []backend.Event, d time.Duration) (int, error) {
	c.waits.Add(1)
	return c.Backend.Wait(ev, d)
}
func (c *counting) Wake() { c.wakes.Add(1); c.Backend.Wake() }
func (c *counting) Send(k backend.Key, fd int, v []sgmsg.Element) {
	c.sends.Add(1)
	c.Backend.Send(k, fd, v)
}
func (c *counting) Write(fd int, v []sgmsg.Element) (n int, e syscall.Errno) {
	c.writes.Add(1)
	return c.Backend.Write(fd, v)
}

// A Push to an idle stream is one Write, and the loop sleeps on.
func TestPushLeavesTheLoopAsleep(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		descriptors(t)
		var c counting
		l, err := newLoop(func(cfg backend.Config) (_ backend.Backend, err error) {
			c.Backend, err = open(be, uring.AllSwitches)(cfg)
			return &c, err
		}, small())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		r := &rec{t: t}
		peer := attach(t, l, r)
		got := make([]byte, 100)
		push(t, r.s, got) // the loop gives the door free
		readFull(t, peer, got)
		wait(t, "the door is free", func() bool { return r.s.box.Load().door.Load() == doorFree })
		asleep(t, l)
		waits, wakes, sends := c.waits.Load(), c.wakes.Load(), c.sends.Load()
		for range 50 {
			push(t, r.s, got)
			readFull(t, peer, got)
		}
		if w := c.writes.Load(); w != 50 {
			t.Errorf("%d writes, want 50", w)
		}
		// The wait it sleeps in may have been counted late, and a signal may interrupt it.
		if a, b, d := c.waits.Load()-waits, c.wakes.Load()-wakes, c.sends.Load()-sends; a > 10 || b+d != 0 {
			t.Errorf("%d waits, %d wakes and %d sends of the loop, want next to none", a, b, d)
		}
	})
}

// instantPush returns a stream over a back end without a system.
func instantPush(t testing.TB) (*Loop, *Stream, sgmsg.Element) {
	l, err := NewWith(ringtest.NewInstant(nil).Open, Options{RegionBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Attach(1, &rec{t: t})
	if err != nil {
		t.Fatal(err)
	}
	e, err := l.Alloc(64)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Buf.Release()
		l.Close()
	})
	return l, s, e
}

func pushElement(t testing.TB, s *Stream, m *sgmsg.Message, e sgmsg.Element) {
	m.Reset()
	m.AppendShared(e)
	if err := s.Push(m); err != nil {
		t.Fatal(err)
	}
}

func TestPushAllocatesNothing(t *testing.T) {
	if invariants.Race || invariants.Enabled {
		t.Skip("the checks of this build allocate")
	}
	for _, keep := range []bool{false, true} {
		l, s, e := instantPush(t)
		if keep {
			s.KeepBoundaries()
		}
		var m sgmsg.Message
		pushElement(t, s, &m, e)
		for range 3 {
			l.Turn()
		}
		before := l.Stats().Direct
		if n := testing.AllocsPerRun(100, func() { pushElement(t, s, &m, e) }); n > 0 {
			t.Errorf("a direct Push makes %v allocations", n)
		}
		if d := l.Stats().Direct - before; d != 101 {
			t.Fatalf("%d direct writes, want 101", d)
		}
		batch := func() {
			m.Reset()
			m.AppendShared(e)
			if err := s.Send(&m); err != nil { // takes the door
				t.Fatal(err)
			}
			for range 16 {
				pushElement(t, s, &m, e)
			}
			for range 3 {
				l.Turn()
			}
		}
		batch()
		before = l.Stats().Direct
		if n := testing.AllocsPerRun(100, batch); n > 0 {
			t.Errorf("16 Pushes through the box make %v allocations", n)
		}
		if d := l.Stats().Direct - before; d != 0 {
			t.Fatalf("%d direct writes, want none", d)
		}
	}
}

// BenchmarkPush is what Push costs without the kernel, by itself and through the box
// in batches of 16, beside Send.
func BenchmarkPush(b *testing.B) {
	b.Run("direct", func(b *testing.B) {
		l, s, e := instantPush(b)
		var m sgmsg.Message
		pushElement(b, s, &m, e)
		for range 3 {
			l.Turn()
		}
		b.ReportAllocs()
		for b.Loop() {
			pushElement(b, s, &m, e)
		}
		if n := l.Stats().Direct; n < uint64(b.N) {
			b.Fatalf("%d direct writes of %d", n, b.N)
		}
	})
	for _, c := range []struct {
		name string
		send func(*Stream, *sgmsg.Message) error
	}{{"box", (*Stream).Push}, {"send", (*Stream).Send}} {
		b.Run(c.name, func(b *testing.B) {
			l, s, e := instantPush(b)
			var m sgmsg.Message
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				m.Reset()
				m.AppendShared(e)
				if err := c.send(s, &m); err != nil {
					b.Fatal(err)
				}
				if n%16 == 15 {
					l.Turn()
					l.Turn()
				}
			}
		})
	}
}

// BenchmarkPushSocket is a Push of 64 bytes to a socket somebody reads, with an idle
// loop.
func BenchmarkPushSocket(b *testing.B) {
	for _, be := range []Backend{URing, Epoll} {
		b.Run(be.String(), func(b *testing.B) {
			l, err := New(Options{Backend: be})
			if err != nil {
				b.Skip(err)
			}
			if err := l.Start(); err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			r := &rec{t: b}
			peer := attach(b, l, r)
			go io.Copy(io.Discard, peer)
			e, err := l.Alloc(64)
			if err != nil {
				b.Fatal(err)
			}
			defer e.Buf.Release()
			var m sgmsg.Message
			b.ReportAllocs()
			for b.Loop() {
				for r.s.Crowded() {
					runtime.Gosched()
				}
				pushElement(b, r.s, &m, e)
			}
			b.ReportMetric(float64(l.Stats().Direct)/float64(b.N), "direct/op")
		})
	}
}
