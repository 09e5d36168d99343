//go:build linux

package ring

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/epoll"
	"github.com/kcm-go/kcm/ring/internal/uring"
)

var errBroken = errors.New("broken")

// A back end that fails ends every endpoint with its error, in whatever state.
func TestFailingBackEnd(t *testing.T) {
	b := newBed(t, small())
	b.spy.refuse = []syscall.Errno{syscall.EMFILE}
	paused := b.listen()
	b.quiet()
	fd, err := b.sim.Listen("10.0.0.2:80")
	if err != nil {
		t.Fatal(err)
	}
	ended := 0
	if _, err := b.l.Listen(fd, b.l.Discard, func(err error) {
		if ended++; !errors.Is(err, errBroken) {
			t.Errorf("the listener ended with %v", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	idle, _ := b.pair()
	body, peer := b.pair()
	body.need = 30_000
	b.write(peer, make([]byte, 100))
	b.quiet()
	stuck, peer := b.pair()
	peer.SetReadBuffer(10)
	send(t, stuck.s, make([]byte, 100))
	unread, peer := b.pair()
	unread.keep = true
	b.write(peer, make([]byte, 5000))
	b.quiet()
	leaving, peer := b.pair()
	peer.SetReadBuffer(10)
	send(t, leaving.s, make([]byte, 100))
	b.quiet()
	var d detached
	leaving.s.Detach(d.fn)
	connecting := &rec{t: t}
	if _, err := b.l.Dial(simTo("10.0.0.2:80"), connecting); err != nil {
		t.Fatal(err)
	}
	w := newWaiter()
	send(t, idle.s, make([]byte, 9<<10))
	idle.s.Await(&w.Waiter)

	b.spy.waitErr = errBroken
	for !b.over {
		b.turn()
	}
	<-b.l.Done()
	if !errors.Is(b.l.Err(), errBroken) {
		t.Errorf("Err: %v", b.l.Err())
	}
	for i, r := range []*rec{idle, body, stuck, unread, leaving, connecting} {
		if r.closes != 1 || !errors.Is(r.cause, errBroken) {
			t.Errorf("stream %d: Closed %d times, with %v", i, r.closes, r.cause)
		}
	}
	if ended != 1 || len(paused.ended) != 1 || w.woken != 1 {
		t.Errorf("listeners ended %d and %d times, the waiter was woken %d times", ended, len(paused.ended), w.woken)
	}
	if d.calls != 1 || d.fd != -1 || !errors.Is(d.err, errBroken) {
		t.Errorf("detach: %+v", d)
	}
	b.balanced()
	if b.l.Post(func() {}) {
		t.Error("Post is accepted")
	}
	if err := b.l.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// A detach that was under way when the back end failed is told so.
func TestFailingBackEndDuringDetach(t *testing.T) {
	b := newBed(t, small())
	r, _ := b.pair()
	b.turn()
	var d detached
	r.s.Detach(d.fn)
	b.spy.waitErr = errBroken
	for !b.over {
		b.turn()
	}
	if d.calls != 1 || d.fd != -1 || !errors.Is(d.err, errBroken) {
		t.Errorf("detach: %+v", d)
	}
}

// broken is a real back end whose Wait fails on demand.
type broken struct {
	backend.Backend
	now atomic.Bool
}

func (b *broken) Wait(ev []backend.Event, d time.Duration) (int, error) {
	if b.now.Load() {
		return 0, errBroken
	}
	return b.Backend.Wait(ev, d)
}

func TestFailingRealBackEnd(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		descriptors(t)
		open := epoll.New
		if be == URing {
			open = func(c backend.Config) (backend.Backend, error) { return uring.New(c, uring.AllSwitches) }
		}
		bk := new(broken)
		l, err := newLoop(func(c backend.Config) (_ backend.Backend, err error) {
			bk.Backend, err = open(c)
			return bk, err
		}, small())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		idle, body := &rec{t: t}, &rec{t: t, need: 30_000}
		attach(t, l, idle)
		attach(t, l, body).Write(make([]byte, 100))
		waitOn(t, l, "a body is read", func() bool { return body.s.ops&bit(backend.OpRead) != 0 })
		bk.now.Store(true)
		l.Post(func() {})
		select {
		case <-l.Done():
		case <-time.After(patience):
			t.Fatal("the loop goes on")
		}
		for _, r := range []*rec{idle, body} {
			if r.closes != 1 || !errors.Is(r.cause, errBroken) {
				t.Errorf("Closed %d times, with %v", r.closes, r.cause)
			}
		}
		if st := l.Stats(); st.BuffersFree != st.Buffers || st.RegionUsed != 0 || st.Streams != 0 || !errors.Is(l.Err(), errBroken) {
			t.Errorf("%+v, %v", st, l.Err())
		}
	})
}

// Nothing can be sent any more on a stream whose handler leaves bytes unread: whoever waits
// for its out queue goes on at once, the handler gets what had come, more of it than the
// credit too, and then the reason. What was not sent is in Closed.
func TestFailedStreamIsReadToItsEnd(t *testing.T) {
	for _, told := range []bool{false, true} { // the receive side ends before
		o := small()
		o.SendTimeout = time.Second
		b := newBed(t, o)
		r, peer := b.opened()
		r.keep = true
		b.write(peer, make([]byte, 20<<10))
		b.quiet()
		if told {
			r.keep = false
			r.s.Kick()
			r.onCheck = func(s *Stream) { r.take(s) }
			b.quiet()
			if err := peer.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			b.quiet()
		}
		peer.SetReadBuffer(10)
		var settled []int
		tick := &Ticket{Settled: func(n int) { settled = append(settled, n) }}
		send(t, r.s, make([]byte, 30<<10))
		if _, err := r.s.PushTicket(message(t, b.l, make([]byte, 100)), tick); err != nil {
			t.Fatal(err)
		}
		w := newWaiter()
		if !r.s.Await(&w.Waiter) {
			t.Fatal("the out queue is short")
		}
		// Until the peer has not read for too long.
		if err := b.sim.Run(func() bool { return w.woken > 0 }, b.turn); err != nil {
			t.Fatal(err)
		}
		m := message(t, b.l, []byte("late"))
		if err := r.s.Send(m); err != ErrClosed {
			t.Errorf("Send: %v, want ErrClosed", err)
		}
		if err := r.s.Push(m); err != ErrClosed {
			t.Errorf("Push: %v, want ErrClosed", err)
		}
		m.Release()
		if !isErrno(r.s.Failed(), syscall.ETIMEDOUT) || r.s.Overdrawn() || r.s.Crowded() {
			t.Errorf("failed: %v, overdrawn %v, crowded %v", r.s.Failed(), r.s.Overdrawn(), r.s.Crowded())
		}
		b.quiet()
		if len(settled) != 1 || settled[0] != 0 {
			t.Errorf("the ticket was settled with %d, want 0 once", settled)
		}
		if !told {
			if r.closes > 0 {
				t.Error("Closed before the handler has had what was received")
			}
			r.keep = false
			r.onCheck = func(s *Stream) { r.take(s) }
			r.s.Kick()
			b.quiet()
			if r.ended != r.cause {
				t.Errorf("StateChange has %v", r.ended)
			}
		}
		if len(r.got) != 20<<10 || r.states != 1 || r.closes != 1 || !isErrno(r.cause, syscall.ETIMEDOUT) {
			t.Errorf("%d bytes received, StateChange %d times, Closed %d times with %v", len(r.got), r.states, r.closes, r.cause)
		}
		if want := 30<<10 + 100 - 10; r.rest != want {
			t.Errorf("%d bytes were not sent, want %d", r.rest, want)
		}
	}
}
