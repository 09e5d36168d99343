//go:build linux

package ring

import (
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

var errOurs = errors.New("ours")

// A state in which a stream can be closed: make brings it about on a calm network.
var closeStates = map[string]func(b *bed) *rec{
	"connecting": func(b *bed) *rec {
		fd, err := b.sim.Listen("10.0.0.1:80")
		if err != nil {
			b.t.Fatal(err)
		}
		if _, err := b.l.Listen(fd, b.l.Discard, func(error) {}); err != nil {
			b.t.Fatal(err)
		}
		r := &rec{t: b.t}
		if r.s, err = b.l.Dial(netAddr(ringtest.ParseAddr("10.0.0.1:80")), r); err != nil {
			b.t.Fatal(err)
		}
		send(b.t, r.s, []byte("too early"))
		b.in(r, backend.OpConnect)
		return r
	},
	"receiving": func(b *bed) *rec {
		r, _ := b.pair()
		b.turn()
		b.in(r, backend.OpRecv)
		return r
	},
	"not yet submitted": func(b *bed) *rec {
		r, _ := b.pair()
		b.in(r, backend.OpRecv)
		return r
	},
	"with unread bytes and no credit": func(b *bed) *rec {
		r, peer := b.pair()
		r.keep = true
		b.write(peer, make([]byte, 5000))
		b.quiet()
		b.in(r)
		return r
	},
	"reading a body": func(b *bed) *rec {
		r, peer := b.pair()
		r.need = 30_000
		b.write(peer, make([]byte, 1000))
		b.quiet()
		b.write(peer, make([]byte, 1000))
		b.quiet()
		b.in(r, backend.OpRead)
		return r
	},
	"waiting for the region": func(b *bed) *rec {
		holder, _ := b.fillRegion(50_000)
		greedy := b.shortage()
		r := b.waitForRegion(50_000)
		b.in(r)
		holder.s.Close(nil)
		greedy.s.Close(nil)
		return r
	},
	"starved": func(b *bed) *rec {
		holder := b.takeBuffers(b.l.opt.Buffers)
		r, peer := b.pair()
		b.write(peer, make([]byte, 100))
		b.quiet()
		b.in(r)
		holder.onClosed = func(*Stream) { holder.hold.Reset() }
		holder.s.Close(nil)
		return r
	},
	"dirty": func(b *bed) *rec {
		r, _ := b.pair()
		b.turn()
		send(b.t, r.s, make([]byte, 100))
		b.in(r, backend.OpRecv)
		return r
	},
	"stuck": func(b *bed) *rec {
		r, peer := b.pair()
		peer.SetReadBuffer(10)
		send(b.t, r.s, make([]byte, 100))
		b.quiet()
		b.in(r, backend.OpRecv, backend.OpPoll)
		return r
	},
	"draining": func(b *bed) *rec {
		r, peer := b.pair()
		peer.SetReadBuffer(10)
		send(b.t, r.s, make([]byte, 100))
		b.quiet()
		r.s.Drain(nil)
		b.in(r, backend.OpRecv, backend.OpPoll)
		return r
	},
	"lingering": func(b *bed) *rec {
		r, _ := b.pair()
		r.s.Drain(nil)
		b.turn()
		b.in(r, backend.OpRecv)
		return r
	},
	"after the end": func(b *bed) *rec {
		r, peer := b.pair()
		peer.CloseWrite()
		b.quiet()
		b.in(r)
		return r
	},
	"after a reset": func(b *bed) *rec {
		r, peer := b.pair()
		peer.Reset()
		b.quiet()
		b.in(r)
		return r
	},
	"with a detach that waits": func(b *bed) *rec {
		r, peer := b.pair()
		peer.SetReadBuffer(10)
		send(b.t, r.s, make([]byte, 100))
		b.quiet()
		calls := 0
		r.s.Detach(func(fd int, rest *sgmsg.Message, err error) {
			if calls++; calls > 1 || fd != -1 || rest != nil || err != errOurs && !errors.Is(err, ErrClosed) {
				b.t.Errorf("call %d of the detach function: %d, %v", calls, fd, err)
			}
		})
		b.t.Cleanup(func() {
			if calls != 1 {
				b.t.Errorf("the detach function was called %d times", calls)
			}
		})
		return r
	},
}

// in checks that exactly these operations are in flight.
func (b *bed) in(r *rec, ops ...backend.Op) {
	b.t.Helper()
	var want uint16
	for _, op := range ops {
		want |= bit(op)
	}
	if r.s.ops != want {
		b.t.Fatalf("operations %b are in flight, want %b", r.s.ops, want)
	}
}

// Closing in any state is one call of Closed, one close of the descriptor, and
// brings all memory back, whatever the cancels do.
func TestCloseInEveryState(t *testing.T) {
	for name, bring := range closeStates {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, small())
			r := bring(b)
			before := b.spy.closed
			queued := r.s.Queued()
			r.s.Close(errOurs)
			r.s.Close(io.EOF) // too late
			r.s.Drain(io.EOF)
			var m sgmsg.Message
			if err := r.s.Send(&m); !errors.Is(err, ErrClosed) {
				t.Errorf("Send: %v, want ErrClosed", err)
			}
			if r.closes != 0 {
				t.Error("Closed is called from inside Close")
			}
			b.until("Closed is called", func() bool { return r.closes == 1 })
			b.quiet()
			want := errOurs
			if r.cause != want || r.rest != queued {
				t.Errorf("Closed with %v and %d bytes, want %v and %d", r.cause, r.rest, want, queued)
			}
			if n := b.spy.closed - before; n < 1 || r.s.fd != -1 {
				t.Errorf("%d descriptors were closed", n)
			}
			if st := b.l.Stats(); st.Streams > 1 { // the listener
				t.Errorf("%d endpoints are left", st.Streams)
			}
			b.noMemory()
		})
	}
}

// The same when the loop is closed.
func TestLoopCloseInEveryState(t *testing.T) {
	for name, bring := range closeStates {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, small())
			r := bring(b)
			b.close()
			if r.closes != 1 || !errors.Is(r.cause, ErrClosed) {
				t.Errorf("Closed %d times, with %v, want once with ErrClosed", r.closes, r.cause)
			}
		})
	}
}

// A send that is in flight keeps its memory until it has ended.
func TestCloseWithASendInFlight(t *testing.T) {
	for _, faults := range [][]ringtest.Fault{{ringtest.LateSend}, {ringtest.LateSend, ringtest.LateCancel}} {
		b := newFaultyBed(t, small(), faults...)
		r, peer := b.pair()
		send(t, r.s, make([]byte, 100))
		b.sim.Step(b.turn) // a turn that moves no time
		b.in(r, backend.OpRecv, backend.OpSend)
		r.s.Close(errOurs)
		b.until("Closed is called", func() bool { return r.closes == 1 })
		var got []byte
		b.sim.Settle()
		b.read(peer, &got)
		if len(got) != int(r.s.Written()) || r.rest != 100-len(got) {
			t.Errorf("%d bytes came, Written %d, Closed with %d", len(got), r.s.Written(), r.rest)
		}
	}
}

func TestLateCancels(t *testing.T) {
	for _, op := range []string{"recv", "read", "poll"} {
		b := newFaultyBed(t, small(), ringtest.LateCancel)
		r, peer := b.pair()
		switch op {
		case "read":
			r.need = 30_000
			b.write(peer, make([]byte, 1000))
			b.until("a body is read", func() bool { return r.s.ops&bit(backend.OpRead) != 0 })
		case "poll":
			peer.SetReadBuffer(1)
			send(t, r.s, make([]byte, 100))
			b.until("the stream is full", func() bool { return r.s.ops&bit(backend.OpPoll) != 0 })
		}
		b.write(peer, make([]byte, 100))
		r.s.Close(nil)
		b.until("Closed is called", func() bool { return r.closes == 1 })
	}
}

// On real sockets, in the states that need no simulator.
func TestCloseOnRealBackEnds(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		o := small()
		o.Backend = be
		l := start(t, o)
		var all []*rec
		for range 3 {
			idle := &rec{t: t}
			attach(t, l, idle)

			stuck := &rec{t: t}
			attach(t, l, stuck)
			do(t, l, func() {
				for range 2 {
					send(t, stuck.s, make([]byte, 30<<10))
				}
			})

			full := &rec{t: t, keep: true}
			peer := attach(t, l, full)
			peer.Write(make([]byte, 3<<10))
			waitOn(t, l, "bytes are unread", func() bool { return full.s.Readable() > 0 })

			body := &rec{t: t, need: 10_000}
			peer = attach(t, l, body)
			peer.Write(make([]byte, 100))
			waitOn(t, l, "a body is read", func() bool { return body.s.ops&bit(backend.OpRead) != 0 })
			peer.Write(make([]byte, 1000))

			lingers := &rec{t: t}
			attach(t, l, lingers)
			do(t, l, func() { lingers.s.Drain(nil) })
			all = append(all, idle, stuck, full, body, lingers)
		}
		do(t, l, func() {
			for _, r := range all {
				r.s.Close(errOurs)
			}
		})
		waitOn(t, l, "all are closed", func() bool { return l.Stats().Closed == uint64(len(all)) })
		do(t, l, func() {
			for i, r := range all {
				if r.closes != 1 || r.cause != errOurs && r.s.shut == false {
					t.Errorf("stream %d: Closed %d times, with %v", i, r.closes, r.cause)
				}
			}
		})
	})
}

// Drain: what is queued arrives, then the end; the peer's end closes the stream.
func TestDrain(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	want := random(1, 7000)
	send(t, r.s, want)
	r.s.Drain(errOurs)
	m := message(t, b.l, []byte("late"))
	if err := r.s.Send(m); !errors.Is(err, ErrClosed) {
		t.Errorf("Send while draining: %v, want ErrClosed", err)
	}
	m.Release()
	var got []byte
	b.until("the end has come", func() bool { return b.read(peer, &got) })
	same(t, "the peer", got, want)
	if r.closes != 0 {
		t.Fatal("closed before the peer's end")
	}
	// What still arrives is discarded.
	b.write(peer, make([]byte, 20_000))
	b.until("it has been discarded", func() bool { return peer.Room() > 60_000 })
	b.noMemory()
	at := b.l.Now()
	peer.Close()
	b.until("Closed is called", func() bool { return r.closes == 1 })
	if r.cause != errOurs || r.rest != 0 || len(r.got) != 0 || b.l.Now()-at > 100*time.Millisecond {
		t.Errorf("Closed after %v with %v, %d bytes left, %d received", b.l.Now()-at, r.cause, r.rest, len(r.got))
	}
}

func TestDrainLingers(t *testing.T) {
	o := small()
	o.Linger = 30 * time.Millisecond
	b := newBed(t, o)
	r, _ := b.pair()
	at := b.l.Now()
	r.s.Drain(nil)
	b.until("Closed is called", func() bool { return r.closes == 1 })
	if d := b.l.Now() - at; d < o.Linger || d > 2*o.Linger || r.cause != nil {
		t.Errorf("closed after %v with %v, want %v", d, r.cause, o.Linger)
	}
}

func TestDrainAfterThePeersEnd(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	peer.CloseWrite()
	want := random(2, 5000)
	send(t, r.s, want)
	r.onState = func(s *Stream, err error) { s.Drain(err) }
	var got []byte
	b.until("the end has come", func() bool { return b.read(peer, &got) })
	same(t, "the peer", got, want)
	b.until("Closed is called", func() bool { return r.closes == 1 })
	if b.l.Now() > 100*time.Millisecond {
		t.Errorf("closed after %v, the linger", b.l.Now())
	}
}

// The peer's end may come before the queue is empty.
func TestPeersEndDuringDrain(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	want := random(3, 5000)
	send(t, r.s, want)
	b.quiet()
	r.s.Drain(nil)
	peer.CloseWrite()
	var got []byte
	b.until("the end has come", func() bool { return b.read(peer, &got) })
	same(t, "the peer", got, want)
	b.until("Closed is called", func() bool { return r.closes == 1 })
	if b.l.Now() > 100*time.Millisecond || r.states != 0 {
		t.Errorf("closed after %v, StateChange %d times", b.l.Now(), r.states)
	}
}

func TestErrorDuringDrain(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	send(t, r.s, make([]byte, 5000))
	b.quiet()
	r.s.Drain(nil)
	peer.Reset()
	b.until("Closed is called", func() bool { return r.closes == 1 })
	if r.rest != 4000 {
		t.Errorf("Closed with %v and %d bytes, want 4000", r.cause, r.rest)
	}
}

func TestSendTimeoutDuringDrain(t *testing.T) {
	o := small()
	o.SendTimeout = 20 * time.Millisecond
	b := newBed(t, o)
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	send(t, r.s, make([]byte, 5000))
	r.s.Drain(nil)
	b.until("Closed is called", func() bool { return r.closes == 1 })
	if !isErrno(r.cause, syscall.ETIMEDOUT) || r.rest != 4000 || b.l.Now() > 100*time.Millisecond {
		t.Errorf("Closed after %v with %v and %d bytes", b.l.Now(), r.cause, r.rest)
	}
}

// Drain inside DataReady: the chunk that is looked at stays valid for the call.
func TestDrainInDataReady(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	want := random(4, 500)
	r.onReady = func(s *Stream) {
		e, _ := s.Peek()
		var m sgmsg.Message
		m.AppendShared(e)
		if err := s.Send(&m); err != nil {
			t.Error(err)
		}
		s.Drain(nil)
		same(t, "the chunk after Drain", e.Bytes(), want)
	}
	peer.Write(want)
	var got []byte
	b.until("the end has come", func() bool { return b.read(peer, &got) })
	same(t, "the peer", got, want)
	peer.Close()
	b.until("Closed is called", func() bool { return r.closes == 1 })
}

// detached is what a function given to Detach was told.
type detached struct {
	calls int
	fd    int
	rest  []byte
	err   error
}

func (d *detached) fn(fd int, rest *sgmsg.Message, err error) {
	d.calls++
	d.fd, d.err = fd, err
	if rest != nil {
		d.rest = rest.AppendTo(nil)
	}
}

// detached runs until r's stream is given away and returns it as a peer.
func (b *bed) detached(r *rec, d *detached) *ringtest.Peer {
	b.t.Helper()
	b.until("the stream is given away", func() bool { return d.calls > 0 })
	if d.calls != 1 || d.err != nil || r.closes != 1 || r.cause != nil || b.spy.closed != 0 {
		b.t.Fatalf("%d calls, error %v; Closed %d times, with %v; %d descriptors closed", d.calls, d.err, r.closes, r.cause, b.spy.closed)
	}
	return b.sim.Take(d.fd)
}

func TestDetachAtOnce(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	b.turn()
	var d, again detached
	r.s.Detach(d.fn)
	r.s.Detach(again.fn)
	if again.calls != 1 || !errors.Is(again.err, ErrClosed) || again.fd != -1 {
		t.Errorf("the second Detach: %+v", again)
	}
	mine := b.detached(r, &d)
	b.noMemory()
	if _, err := mine.Write([]byte("ours")); err != nil {
		t.Fatal(err)
	}
	b.expect(peer, []byte("ours"))
}

func TestDetachSendsWhatIsQueuedFirst(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	want := random(5, 4000)
	send(t, r.s, want)
	var d detached
	r.s.Detach(d.fn)
	b.quiet()
	if d.calls != 0 {
		t.Fatal("given away before the queue was empty")
	}
	b.expect(peer, want)
	mine := b.detached(r, &d)
	mine.Write([]byte("more"))
	b.expect(peer, []byte("more"))
}

// Every byte reaches the new owner: unread, on its way into an operation that is
// cancelled, or still to come.
func TestDetachHandsOverEveryByte(t *testing.T) {
	for name, faults := range map[string][]ringtest.Fault{"calm": nil, "late cancel": {ringtest.LateCancel}} {
		for _, need := range []int{0, 30_000} {
			t.Run(name, func(t *testing.T) {
				b := newFaultyBed(t, small(), faults...)
				r, peer := b.pair()
				want := random(6, 12_000)
				r.need = need
				b.write(peer, want[:500])
				b.until("the first bytes came", func() bool { return len(r.got) == 500 })
				if need > 0 {
					b.until("a body is read", func() bool { return r.s.ops&bit(backend.OpRead) != 0 })
				}
				r.keep = true
				b.write(peer, want[500:1500])
				b.until("the peer's bytes have come", func() bool { return peer.Room() == 64<<10 })
				var d detached
				r.s.Detach(d.fn)
				b.write(peer, want[1500:4000])
				b.sim.Settle()
				mine := b.detached(r, &d)
				b.write(peer, want[4000:])
				b.sim.Settle()
				got := append(r.got, d.rest...)
				b.read(mine, &got)
				same(t, "all bytes", got, want)
				if need > 0 && len(d.rest) < 1000 {
					t.Errorf("%d bytes were handed over", len(d.rest))
				}
				b.noMemory()
			})
		}
	}
}

func TestDetachOfADyingStream(t *testing.T) {
	for name, end := range map[string]func(r *rec, p *ringtest.Peer){
		"reset": func(r *rec, p *ringtest.Peer) { p.Reset() },
		"close": func(r *rec, p *ringtest.Peer) { r.s.Close(nil) },
		"loop":  func(r *rec, p *ringtest.Peer) { r.s.loop.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, small())
			r, peer := b.pair()
			peer.SetReadBuffer(1000)
			send(t, r.s, make([]byte, 4000))
			b.quiet()
			var d detached
			r.s.Detach(d.fn)
			if name == "loop" {
				b.over = true
			}
			end(r, peer)
			b.quiet()
			if d.calls != 1 || d.fd != -1 || d.err == nil || r.closes != 1 || r.cause != d.err && r.cause != nil {
				t.Errorf("detach: %+v; Closed %d times, with %v", d, r.closes, r.cause)
			}
		})
	}
	b := newBed(t, small())
	r, _ := b.pair()
	r.s.Close(nil)
	var d detached
	r.s.Detach(d.fn)
	if d.calls != 1 || d.fd != -1 || !errors.Is(d.err, ErrClosed) {
		t.Errorf("Detach of a closing stream: %+v", d)
	}
}

// Message bytes that are handed over may be moved and outlive the stream.
func TestDetachMovesTheRest(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.keep = true
	want := random(7, 1500)
	peer.Write(want)
	b.quiet()
	var mine sgmsg.Message
	r.s.Detach(func(fd int, rest *sgmsg.Message, err error) {
		rest.MoveTo(&mine)
		b.l.Discard(fd)
	})
	b.until("Closed is called", func() bool { return r.closes == 1 })
	same(t, "the rest", mine.AppendTo(nil), want)
	mine.Release()
}

func TestDetachOnRealBackEnds(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		r := &rec{t: t, keep: true}
		peer := attach(t, l, r)
		want := random(8, 5000)
		peer.Write(want[:2000])
		waitOn(t, l, "bytes are unread", func() bool { return r.s.Readable() == 2000 })
		given := make(chan detached, 1)
		do(t, l, func() {
			send(t, r.s, []byte("queued"))
			r.s.Detach(func(fd int, rest *sgmsg.Message, err error) {
				var d detached
				d.fn(fd, rest, err)
				given <- d
			})
		})
		d := <-given
		if d.err != nil {
			t.Fatal(d.err)
		}
		if flags, err := unix.FcntlInt(uintptr(d.fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags of the descriptor: %#x, %v, want O_NONBLOCK", flags, err)
		}
		mine := conn(t, d.fd)
		peer.Write(want[2000:])
		got := append(d.rest, make([]byte, len(want)-len(d.rest))...)
		readFull(t, mine, got[len(d.rest):])
		same(t, "all bytes", got, want)
		if _, err := mine.Write([]byte(" and more")); err != nil {
			t.Fatal(err)
		}
		all := make([]byte, 15)
		readFull(t, peer, all)
		same(t, "the peer", all, []byte("queued and more"))
	})
}

func TestDrainOnRealBackEnds(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Linger: patience})
		r := &rec{t: t}
		peer := attach(t, l, r)
		want := random(9, 1<<20)
		do(t, l, func() {
			send(t, r.s, want)
			r.s.Drain(nil)
		})
		got, err := io.ReadAll(peer)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "the peer", got, want)
		peer.Close()
		waitOn(t, l, "Closed is called", func() bool { return r.closes == 1 })
		if r.cause != nil || r.rest != 0 {
			t.Errorf("Closed with %v and %d bytes", r.cause, r.rest)
		}
	})
}
