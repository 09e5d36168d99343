//go:build linux

package ring

import (
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

func TestMessagesOfOneTurnLeaveInOneSend(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	var want []byte
	for i := range 10 {
		p := random(uint64(i), 100+i)
		send(t, r.s, p)
		want = append(want, p...)
	}
	if r.s.Queued() != len(want) || r.s.Written() != 0 {
		t.Errorf("Queued %d, Written %d, want %d and 0", r.s.Queued(), r.s.Written(), len(want))
	}
	b.expect(peer, want)
	if b.spy.sends != 1 || b.spy.maxVector != 10 {
		t.Errorf("%d sends of up to %d elements, want one of 10", b.spy.sends, b.spy.maxVector)
	}
	if r.s.Queued() != 0 || r.s.Written() != uint64(len(want)) {
		t.Errorf("Queued %d, Written %d, want 0 and %d", r.s.Queued(), r.s.Written(), len(want))
	}
}

// Messages cut from one chunk become one element again.
func TestNeighboursCoalesce(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.onReady = func(s *Stream) {
		for e, ok := s.Peek(); ok; e, ok = s.Peek() {
			e.Len = min(e.Len, 16)
			var m sgmsg.Message
			m.AppendShared(e)
			if err := s.Send(&m); err != nil {
				t.Error(err)
			}
			s.Consume(int(e.Len))
		}
	}
	want := random(1, 1000)
	peer.Write(want)
	b.expect(peer, want)
	if b.spy.sends != 1 || b.spy.maxVector != 1 {
		t.Errorf("%d sends of up to %d elements, want one of 1", b.spy.sends, b.spy.maxVector)
	}
}

func TestMoreElementsThanAVectorHolds(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	var m sgmsg.Message
	want := random(2, 200*3)
	for i := range 200 {
		e, err := b.l.Alloc(3)
		if err != nil {
			t.Fatal(err)
		}
		copy(e.Bytes(), want[3*i:])
		m.Append(e)
	}
	if err := r.s.Send(&m); err != nil {
		t.Fatal(err)
	}
	b.expect(peer, want)
	if b.spy.sends != 4 || b.spy.maxVector != backend.MaxVector {
		t.Errorf("%d sends of up to %d elements, want 4 of up to %d", b.spy.sends, b.spy.maxVector, backend.MaxVector)
	}
}

// Written and Queued agree with what the far end got, at every moment.
func TestWrittenAndQueued(t *testing.T) {
	faults := []ringtest.Fault{ringtest.ShortSend, ringtest.LateSend, ringtest.SendAgain, ringtest.PollHint}
	for i := range len(faults) + 1 {
		net := ringtest.Calm()
		for _, f := range faults[:i] {
			net.Odds[f] = 0.5
		}
		b := newBedOn(t, ringtest.New(1, net), small())
		r, peer := b.pair()
		peer.SetReadBuffer(1000)
		want := random(3, 30_000)
		var got []byte
		queued := 0
		b.until("all has come", func() bool {
			if n := min(500, len(want)-queued); n > 0 && !r.s.Overdrawn() {
				send(t, r.s, want[queued:queued+n])
				queued += n
			}
			if q, w := r.s.Queued(), int(r.s.Written()); q+w != queued || w < len(got) || w > len(got)+1000 {
				t.Fatalf("%d bytes were sent and %d came, Queued %d, Written %d", queued, len(got), q, w)
			}
			b.read(peer, &got)
			return len(got) == len(want)
		})
		same(t, "the peer", got, want)
		if b.spy.polls == 0 {
			t.Error("no Poll although the stream was full")
		}
	}
}

// A send that found no space at all goes on once there is some.
func TestFullStreamIsPolled(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(500)
	want := random(4, 3000)
	send(t, r.s, want)
	b.quiet()
	if r.s.Written() != 500 || r.s.Queued() != 2500 || b.spy.polls != 1 {
		t.Fatalf("Written %d, Queued %d, %d polls, want 500, 2500 and 1", r.s.Written(), r.s.Queued(), b.spy.polls)
	}
	sends := b.spy.sends
	send(t, r.s, random(5, 10))
	b.quiet()
	if b.spy.sends != sends {
		t.Error("a send was tried on a full stream")
	}
	b.expect(peer, append(want, random(5, 10)...))
}

func TestHardLimitEndsTheStream(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	send(t, r.s, make([]byte, 60<<10))
	b.quiet()
	m := message(t, b.l, make([]byte, 8<<10))
	err := r.s.Send(m)
	if !isErrno(err, syscall.ENOBUFS) {
		t.Fatalf("Send: %v, want ENOBUFS", err)
	}
	if !m.Live() || m.Len() != 8<<10 {
		t.Error("the refused message is not the caller's any more")
	}
	if again := r.s.Send(m); !errors.Is(again, ErrClosed) || !m.Live() {
		t.Errorf("the next Send: %v, want ErrClosed", again)
	}
	m.Release()
	b.quiet()
	if r.closes != 1 || !isErrno(r.cause, syscall.ENOBUFS) || r.rest != 60<<10-1000 {
		t.Errorf("Closed %d times, with %v and %d bytes", r.closes, r.cause, r.rest)
	}
}

// One message may cross the soft limit, and the hard limit is a length that can
// be reached.
func TestLimitsAreInclusive(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1)
	send(t, r.s, make([]byte, 8<<10))
	if r.s.Overdrawn() {
		t.Error("overdrawn at the soft limit")
	}
	send(t, r.s, make([]byte, 56<<10))
	if !r.s.Overdrawn() {
		t.Error("not overdrawn above the soft limit")
	}
	b.quiet()
	if r.closes != 0 {
		t.Errorf("closed at the hard limit: %v", r.cause)
	}
}

func TestEmptyMessage(t *testing.T) {
	b := newBed(t, small())
	r, _ := b.pair()
	var m sgmsg.Message
	if err := r.s.Send(&m); err != nil {
		t.Fatal(err)
	}
	b.quiet()
	if b.spy.sends != 0 {
		t.Error("nothing was sent")
	}
}

func TestSendTimeout(t *testing.T) {
	o := small()
	o.SendTimeout = 50 * time.Millisecond
	b := newBed(t, o)
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	send(t, r.s, make([]byte, 20_000))
	// A peer that reads now and then keeps its connection.
	var got []byte
	for range 5 {
		at := b.l.Now()
		b.until("some time has passed", func() bool {
			if b.l.Now() < at+40*time.Millisecond {
				b.sim.After(time.Millisecond, func() {})
				return false
			}
			return true
		})
		b.read(peer, &got)
	}
	if r.closes != 0 {
		t.Fatalf("closed while the peer reads: %v", r.cause)
	}
	at := b.l.Now()
	b.until("the stream is closed", func() bool { return r.closes > 0 })
	if d := b.l.Now() - at; d < 49*time.Millisecond || d > 60*time.Millisecond {
		t.Errorf("closed %v after the last progress", d)
	}
	if !isErrno(r.cause, syscall.ETIMEDOUT) || r.rest == 0 {
		t.Errorf("Closed with %v and %d bytes", r.cause, r.rest)
	}
}

// waiter counts its wake-ups.
type waiter struct {
	Waiter
	woken int
}

func newWaiter() *waiter {
	w := new(waiter)
	w.Wake = func() { w.woken++ }
	return w
}

func TestWaiterIsWokenAtHalfTheLimitOnce(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	w, other := newWaiter(), newWaiter()
	if r.s.Await(&w.Waiter) {
		t.Fatal("Await on an empty queue")
	}
	send(t, r.s, make([]byte, 9<<10))
	if !r.s.Await(&w.Waiter) || !r.s.Await(&other.Waiter) {
		t.Fatal("Await is refused on an overdrawn queue")
	}
	if r.s.Await(&w.Waiter) {
		t.Fatal("Await of one who waits")
	}
	var got []byte
	b.until("the waiters are woken", func() bool {
		if w.woken == 0 && r.s.Queued() <= 4<<10 {
			t.Fatalf("not woken with %d bytes queued", r.s.Queued())
		}
		b.read(peer, &got)
		return w.woken > 0
	})
	if r.s.Queued() > 4<<10 || other.woken != 1 {
		t.Errorf("woken with %d bytes queued, the other %d times", r.s.Queued(), other.woken)
	}
	b.until("all has come", func() bool { b.read(peer, &got); return len(got) == 9<<10 })
	r.s.Close(nil)
	b.quiet()
	if w.woken != 1 || other.woken != 1 {
		t.Errorf("woken %d and %d times, want once", w.woken, other.woken)
	}
}

func TestWaiterMayWaitAgain(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	var w Waiter
	woken := 0
	w.Wake = func() {
		if woken++; woken < 4 {
			send(t, r.s, make([]byte, 9<<10))
			if !r.s.Await(&w) {
				t.Error("Await is refused inside Wake")
			}
		}
	}
	send(t, r.s, make([]byte, 9<<10))
	r.s.Await(&w)
	var got []byte
	b.until("all has come", func() bool { b.read(peer, &got); return len(got) == 4*9<<10 })
	if woken != 4 {
		t.Errorf("woken %d times, want 4", woken)
	}
}

func TestWaiterIsWokenWhenTheStreamEnds(t *testing.T) {
	for what, end := range map[string]func(r *rec, p *ringtest.Peer){
		"close": func(r *rec, _ *ringtest.Peer) { r.s.Close(nil) },
		"reset": func(r *rec, p *ringtest.Peer) { p.Reset() },
		"drain": func(r *rec, _ *ringtest.Peer) { r.s.Drain(nil) },
		"limit": func(r *rec, _ *ringtest.Peer) {
			m := message(r.t, r.s.loop, make([]byte, 64<<10))
			r.s.Send(m)
			m.Release()
		},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBed(t, small())
			r, peer := b.pair()
			r.onState = func(s *Stream, err error) { s.Close(err) }
			peer.SetReadBuffer(1000)
			w := newWaiter()
			closedBefore := false
			w.Wake = func() {
				w.woken++
				closedBefore = r.closes > 0
				if r.s.Await(&w.Waiter) {
					t.Error("Await of an ended stream")
				}
			}
			send(t, r.s, make([]byte, 20<<10))
			b.quiet()
			r.s.Await(&w.Waiter)
			end(r, peer)
			if what == "drain" {
				var got []byte
				b.until("the end has come", func() bool { return b.read(peer, &got) })
			}
			b.quiet()
			if w.woken != 1 || r.closes != 1 || closedBefore {
				t.Errorf("woken %d times (after Closed: %v), Closed %d times, want once each", w.woken, closedBefore, r.closes)
			}
			if r.s.Await(&w.Waiter) {
				t.Error("Await of a closed stream")
			}
		})
	}
}

// Whatever a waiter does to the stream that wakes it is legal.
func TestWaiterMayEndTheStream(t *testing.T) {
	for what, end := range map[string]func(s *Stream){
		"close":  func(s *Stream) { s.Close(nil) },
		"drain":  func(s *Stream) { s.Drain(nil) },
		"detach": func(s *Stream) { s.Detach(func(fd int, _ *sgmsg.Message, err error) { s.loop.Discard(fd) }) },
	} {
		t.Run(what, func(t *testing.T) {
			b := newBed(t, small())
			r, peer := b.pair()
			peer.SetReadBuffer(10_000)
			var w Waiter
			w.Wake = func() { end(r.s) }
			send(t, r.s, make([]byte, 9000))
			r.s.Await(&w)
			b.quiet()
			peer.Close()
			b.until("the stream is closed", func() bool { return r.closes == 1 })
		})
	}
}

func TestSendErrorEndsTheStream(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.keep = true
	peer.Reset()
	b.sim.Settle()
	send(t, r.s, make([]byte, 100))
	b.quiet()
	if r.closes != 1 || r.rest != 100 || !isErrno(r.cause, syscall.EPIPE) && !isErrno(r.cause, syscall.ECONNRESET) {
		t.Errorf("Closed %d times, with %v and %d bytes", r.closes, r.cause, r.rest)
	}
}

// A slow reader of many elements on real sockets: vectors, short sends, polls.
func TestSendOnRealBackEnds(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		o := small()
		o.Backend, o.SendHard, o.SpillBytes = be, 16<<20, 16<<20
		l := start(t, o)
		r := &rec{t: t}
		peer := attach(t, l, r)
		want := random(6, 2<<20)
		w := newWaiter()
		do(t, l, func() {
			for p := range slices.Chunk(want, 3000) {
				send(t, r.s, p)
			}
			if !r.s.Await(&w.Waiter) {
				t.Error("not overdrawn")
			}
		})
		got := make([]byte, len(want))
		readFull(t, peer, got)
		same(t, "the peer", got, want)
		waitOn(t, l, "the queue is empty", func() bool { return r.s.Queued() == 0 })
		do(t, l, func() {
			if w.woken != 1 || r.s.Written() != uint64(len(want)) {
				t.Errorf("woken %d times, Written %d of %d", w.woken, r.s.Written(), len(want))
			}
		})
		if n := l.Stats().BytesOut; n != uint64(len(want)) {
			t.Errorf("Stats.BytesOut is %d, want %d", n, len(want))
		}
	})
}
