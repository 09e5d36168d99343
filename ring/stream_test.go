//go:build linux

package ring

import (
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

func TestDataReadyOncePerTurnHoweverManyChunks(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	want := random(1, 5<<10)
	peer.Write(want)
	b.sim.Settle()
	b.turn()
	if r.readies != 1 || len(r.chunks) != 5 {
		t.Fatalf("DataReady %d times with %d chunks, want once with 5", r.readies, len(r.chunks))
	}
	same(t, "received", r.got, want)
	b.turn()
	if r.readies != 1 {
		t.Error("DataReady without news")
	}
}

func TestPeekShowsWhatConsumeLeaves(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.onReady = func(*Stream) {}
	want := random(2, 1500)
	peer.Write(want)
	b.quiet()
	s := r.s
	if n := s.Readable(); n != 1500 {
		t.Fatalf("%d bytes are readable, want 1500", n)
	}
	a, _ := s.Peek()
	if again, _ := s.Peek(); again != a || a.Len != 1024 {
		t.Fatalf("Peek: %v, then %v, want a full buffer twice", a, again)
	}
	s.Consume(1000)
	e, _ := s.Peek()
	if e.Buf != a.Buf || e.Len != 24 {
		t.Fatalf("Peek after Consume: %v, want the last 24 bytes of the first", e)
	}
	same(t, "the rest of the first chunk", e.Bytes(), want[1000:1024])
	if free := b.l.Stats().BuffersFree; free != 14 {
		t.Errorf("%d buffers are free, want 14", free)
	}
	s.Consume(24)
	if free := b.l.Stats().BuffersFree; free != 15 {
		t.Errorf("%d buffers are free when a chunk is consumed, want 15", free)
	}
	s.Consume(476)
	if _, ok := s.Peek(); ok || s.Readable() != 0 {
		t.Errorf("Peek finds bytes when all are consumed")
	}
}

func TestCreditStopsReceiveAndLosesNothing(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.keep = true
	want := random(3, 60<<10)
	rest := want
	pump := func() {
		n, _ := peer.Write(rest)
		rest = rest[n:]
	}
	pump()
	b.quiet()
	credit := b.l.Options().Credit
	if n := r.s.Readable(); n <= credit || n >= len(want) || !r.s.Full() {
		t.Fatalf("%d bytes unread of %d at a credit of %d, full: %v", n, len(want), credit, r.s.Full())
	}
	if r.s.ops != 0 {
		t.Fatalf("operations %b are in flight without credit", r.s.ops)
	}
	held := r.s.Readable()
	pump()
	b.quiet()
	if r.s.Readable() != held {
		t.Fatalf("a full stream went on from %d to %d bytes", held, r.s.Readable())
	}
	r.onCheck = func(s *Stream) { r.keep = false; r.take(s) }
	r.s.Kick()
	b.until("all has come", func() bool { pump(); return len(r.got) >= len(want) })
	same(t, "received", r.got, want)
}

func TestFullAndReadableAtTheCredit(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.keep = true
	peer.Write(make([]byte, 2<<10-1))
	b.quiet()
	if r.s.Full() {
		t.Error("full one byte below the credit")
	}
	peer.Write(make([]byte, 1))
	b.quiet()
	if !r.s.Full() {
		t.Error("not full at the credit")
	}
}

// The body of a large message is one contiguous chunk, between chunks in receive
// buffers before and after it.
func TestWantReadsTheBodyInOnePiece(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	const size = 30_000
	want := random(4, size+700)
	r.need = size
	b.write(peer, want[:100])
	b.until("the head has come", func() bool { return len(r.got) == 100 })
	b.write(peer, want[100:])
	b.until("all has come", func() bool { return len(r.got) == len(want) })
	same(t, "received", r.got, want)
	var bodies []uint32
	for _, e := range r.chunks {
		if b.l.mem.region.Owns(e.Buf) {
			bodies = append(bodies, e.Len)
		}
	}
	if !slices.Equal(bodies, []uint32{size - 100}) {
		t.Errorf("bodies of %v bytes, want one of %d", bodies, size-100)
	}
	if n := b.l.Stats().Large; n != 1 {
		t.Errorf("Stats.Large is %d, want 1", n)
	}
}

// Bytes that come between Want and the end of the receive stay in order.
func TestBytesBetweenWantAndCancel(t *testing.T) {
	for _, faults := range [][]ringtest.Fault{nil, {ringtest.LateCancel}, {ringtest.LateCancel, ringtest.ShortRead}} {
		b := newFaultyBed(t, small(), faults...)
		r, peer := b.pair()
		const size = 30_000
		want := random(5, size+100)
		r.need = size
		b.write(peer, want[:50])
		b.until("Want was called", func() bool { return r.s.want > 0 })
		peer.Write(want[50:2050])
		b.sim.Settle()
		b.turn()
		peer.Write(want[2050:7000])
		b.quiet()
		b.write(peer, want[7000:])
		b.until("all has come", func() bool { return len(r.got) == len(want) })
		same(t, "received", r.got, want)
		if n := b.l.Stats().Large; n != 1 {
			t.Errorf("%v: Stats.Large is %d, want 1", faults, n)
		}
	}
}

// A message given up in the middle of its body gives its bytes back to unread.
func TestWantZeroInMidBody(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	const size = 30_000
	want := random(6, size)
	r.need = size
	b.write(peer, want[:5000])
	b.quiet()
	b.write(peer, want[5000:12_000])
	b.quiet()
	if len(r.got) == 12_000 || r.s.side.body.Buf == 0 {
		t.Fatalf("%d bytes were delivered, body %v: no body is in progress", len(r.got), r.s.side.body)
	}
	r.need = 0
	r.onCheck = func(s *Stream) { s.Want(0) }
	r.s.Kick()
	b.quiet()
	same(t, "received", r.got, want[:12_000])
	if n := b.l.Stats().RegionUsed; n != 0 {
		t.Errorf("%d bytes of the region are in use", n)
	}
	b.write(peer, want[12_000:])
	b.until("all has come", func() bool { return len(r.got) == size })
	same(t, "received", r.got, want)
}

// A body that ends in the middle is delivered as far as it came, then the end.
func TestEndInMidBody(t *testing.T) {
	for what, end := range map[string]func(*ringtest.Peer) error{
		"eof":   (*ringtest.Peer).CloseWrite,
		"reset": (*ringtest.Peer).Reset,
	} {
		t.Run(what, func(t *testing.T) {
			b := newBed(t, small())
			r, peer := b.pair()
			want := random(7, 9000)
			r.need = 30_000
			b.write(peer, want[:100])
			b.quiet()
			b.write(peer, want[100:])
			b.quiet()
			end(peer)
			b.until("the end has come", func() bool { return r.states == 1 })
			same(t, "received", r.got, want)
			if wrong := what == "reset" && r.ended != syscall.ECONNRESET || what == "eof" && r.ended != nil; wrong {
				t.Errorf("ended with %v", r.ended)
			}
			b.quiet()
			if n := b.l.Stats().RegionUsed; n != 0 {
				t.Errorf("%d bytes of the region are in use", n)
			}
		})
	}
}

func TestStateChangeOnceAfterTheLastDataReady(t *testing.T) {
	for what, end := range map[string]func(*ringtest.Peer) error{
		"eof":   (*ringtest.Peer).CloseWrite,
		"reset": (*ringtest.Peer).Reset,
	} {
		t.Run(what, func(t *testing.T) {
			b := newBed(t, small())
			r, peer := b.pair()
			want := random(8, 3000)
			peer.Write(want)
			if what == "reset" {
				b.sim.Settle() // a reset destroys what is on its way
			}
			end(peer)
			b.sim.Settle()
			b.until("the end has come", func() bool { return r.states == 1 })
			same(t, "received by then", r.got, want)
			if wrong := what == "reset" && r.ended != syscall.ECONNRESET || what == "eof" && r.ended != nil; wrong {
				t.Errorf("ended with %v", r.ended)
			}
			b.quiet()
			if r.states != 1 || r.closes != 0 {
				t.Errorf("StateChange %d times, Closed %d times, want 1 and 0", r.states, r.closes)
			}
		})
	}
}

// What is left unread at the end stays readable.
func TestUnreadBytesSurviveTheEnd(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.keep = true
	want := random(9, 1800)
	peer.Write(want)
	peer.CloseWrite()
	b.until("the end has come", func() bool { return r.states == 1 })
	if r.s.Readable() != len(want) || !r.s.Full() {
		t.Fatalf("%d bytes are readable, full: %v", r.s.Readable(), r.s.Full())
	}
	r.take(r.s)
	same(t, "received", r.got, want)
}

func TestKicksCollapse(t *testing.T) {
	b := newBed(t, small())
	r, _ := b.pair()
	for range 5 {
		r.s.Kick()
	}
	b.turn()
	if r.checks != 1 {
		t.Fatalf("Check was called %d times for 5 kicks, want 1", r.checks)
	}
	r.s.Kick()
	b.turn()
	if r.checks != 2 {
		t.Fatalf("Check was called %d times, want 2", r.checks)
	}
	r.s.Kick()
	r.s.Close(nil)
	b.quiet()
	if r.checks != 2 {
		t.Error("Check of a closed stream")
	}
	r.s.Kick() // legal
	b.quiet()
}

func TestStreamTimer(t *testing.T) {
	b := newBed(t, small())
	r, _ := b.pair()
	r.s.StartTimer(1000*tick, 1)
	r.s.StartTimer(20*tick, 2) // replaces it
	at := b.l.Now()
	b.until("the timer has fired", func() bool { return len(r.expired) > 0 })
	if d := b.l.Now() - at; d < 20*tick || d > 23*tick {
		t.Errorf("a timer of %v fired after %v", 20*tick, d)
	}
	r.s.StartTimer(tick, 3)
	r.s.StopTimer()
	r.onExpired = func(s *Stream) { s.StartTimer(tick, 5) }
	r.s.StartTimer(5*tick, 4)
	b.until("the timers have fired", func() bool { return len(r.expired) == 4 })
	if want := []uint32{2, 4, 5, 5}; !slices.Equal(r.expired, want) {
		t.Errorf("expired: %v, want %v", r.expired, want)
	}
	r.s.Close(nil)
	b.quiet() // with a timer armed
}

// Closed is the last call, also for one who arms the timer while the stream ends.
func TestTimerOfAClosingStream(t *testing.T) {
	b := newBed(t, small())
	r, _ := b.pair()
	r.s.Close(nil)
	r.s.StartTimer(tick, 1)
	r.onClosed = func(s *Stream) { s.StartTimer(tick, 2) }
	b.quiet()
	if r.closes != 1 || len(r.expired) != 0 {
		t.Errorf("Closed %d times, expired: %v", r.closes, r.expired)
	}
}

// Bytes consumed in any of the handler's calls bring the receive back.
func TestConsumeInExpiredGoesOn(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.keep = true
	want := random(10, 20<<10)
	peer.Write(want)
	b.quiet()
	r.onExpired = func(s *Stream) { r.keep = false; r.take(s) }
	r.s.StartTimer(tick, 1)
	b.until("all has come", func() bool { return len(r.got) == len(want) })
	same(t, "received", r.got, want)
}

func TestAddresses(t *testing.T) {
	b := newBed(t, small())
	r, _ := b.pair()
	local, ok1 := r.s.LocalAddr().(*net.TCPAddr)
	remote, ok2 := r.s.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 || local.Port == remote.Port || r.s.Loop() != b.l {
		t.Errorf("addresses %v and %v, loop %p", r.s.LocalAddr(), r.s.RemoteAddr(), r.s.Loop())
	}
	r.s.Close(nil)
	if r.s.LocalAddr() != nil || r.s.RemoteAddr().String() != remote.String() {
		t.Errorf("addresses of a closed stream: %v and %v", r.s.LocalAddr(), r.s.RemoteAddr())
	}
}

func TestAttachOfABadDescriptor(t *testing.T) {
	b := newBed(t, small())
	r := &rec{t: t}
	if _, err := b.l.Attach(3, r); !isErrno(err, syscall.EBADF) {
		t.Errorf("Attach: %v, want EBADF", err)
	}
	each(t, func(t *testing.T, be Backend) {
		if be == URing {
			t.Skip("io_uring tells with the first operation")
		}
		l := start(t, Options{Backend: be})
		do(t, l, func() {
			if _, err := l.Attach(-1, r); !isErrno(err, syscall.EBADF) {
				t.Errorf("Attach: %v, want EBADF", err)
			}
		})
	})
}

// A large message between small ones on real sockets.
func TestBodyOnRealBackEnds(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		const head, size = 1000, 3 << 20
		want := random(11, head+size+5000)
		r := &rec{t: t}
		r.need = head + size
		peer := attach(t, l, r)
		peer.Write(want[:head])
		waitOn(t, l, "the body has begun", func() bool { return r.s.side.body.Buf != 0 })
		go peer.Write(want[head:])
		waitOn(t, l, "all has come", func() bool { return len(r.got) >= len(want) })
		same(t, "received", r.got, want)
		region := uint32(0)
		for _, e := range r.chunks {
			if l.mem.region.Owns(e.Buf) {
				region = max(region, e.Len)
			}
		}
		if n := l.Stats().Large; n != 1 || region != size {
			t.Errorf("Stats.Large is %d, the longest piece has %d bytes", n, region)
		}
	})
}

// What is received can be sent on and comes back in order, with pauses.
func TestEchoOnRealBackEnds(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		for _, features := range []string{"", "vectored-send=off,huge-pages=off", "defer-taskrun=off,fixed-buffers=off"} {
			echoOn(t, be, features)
		}
	})
}

func echoOn(t *testing.T, be Backend, features string) {
	o := small()
	o.Backend, o.Features, o.SendHard = be, features, 8<<20
	l := start(t, o)
	r := &rec{t: t}
	r.onReady = func(s *Stream) {
		for e, ok := s.Peek(); ok; e, ok = s.Peek() {
			var m sgmsg.Message
			m.AppendShared(e)
			if err := s.Send(&m); err != nil {
				t.Error(err)
				m.Release()
				return
			}
			s.Consume(int(e.Len))
		}
	}
	peer := attach(t, l, r)
	want := random(12, 1<<20)
	go peer.Write(want)
	got := make([]byte, len(want))
	readFull(t, peer, got)
	same(t, "the echo", got, want)
	do(t, l, func() {
		if r.s.Written() != uint64(len(want)) || r.s.Queued() != 0 {
			t.Errorf("%q: Written %d, Queued %d, want %d and 0", features, r.s.Written(), r.s.Queued(), len(want))
		}
	})
}
