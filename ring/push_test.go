//go:build linux

package ring

import (
	"bytes"
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

// push pushes a copy of p.
func push(t testing.TB, s *Stream, p []byte) {
	t.Helper()
	m := message(t, s.loop, p)
	if err := s.Push(m); err != nil {
		m.Release()
		t.Fatal(err)
	}
	if m.Live() {
		t.Fatal("a pushed message is still the caller's")
	}
}

// opened returns a stream that has been pushed to and whose door is free, with what
// its peer has got.
func (b *bed) opened() (*rec, *ringtest.Peer) {
	b.t.Helper()
	r, peer := b.pair()
	push(b.t, r.s, []byte("first"))
	b.expect(peer, []byte("first"))
	b.quiet()
	if d := r.s.box.Load().door.Load(); d != doorFree {
		b.t.Fatalf("the door is in state %d after everything was sent", d)
	}
	return r, peer
}

func TestFirstPushGoesThroughTheBox(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	var want []byte
	for i := range 5 {
		p := random(uint64(i), 100+i)
		push(t, r.s, p)
		want = append(want, p...)
	}
	if r.s.Pushed() != len(want) || r.s.Queued() != 0 || r.s.Written() != 0 {
		t.Errorf("Pushed %d, Queued %d, Written %d, want %d, 0, 0", r.s.Pushed(), r.s.Queued(), r.s.Written(), len(want))
	}
	b.expect(peer, want)
	if b.spy.sends != 1 || b.spy.writes != 0 {
		t.Errorf("%d sends and %d writes, want one send", b.spy.sends, b.spy.writes)
	}
	if r.s.Pushed() != 0 || r.s.Written() != uint64(len(want)) {
		t.Errorf("Pushed %d, Written %d, want 0 and %d", r.s.Pushed(), r.s.Written(), len(want))
	}
}

func TestPushToAnIdleStreamIsOneWrite(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.opened()
	before := b.l.Stats()
	sends := b.spy.sends
	var want []byte
	for i := range 5 {
		p := random(uint64(i), 100+i)
		push(t, r.s, p)
		want = append(want, p...)
	}
	st := b.l.Stats()
	if b.spy.writes != 5 || b.spy.sends != sends || st.Turns != before.Turns || !b.l.inbox.empty() {
		t.Errorf("%d writes, %d sends, %d turns, something posted: %v, want 5 writes and nothing else",
			b.spy.writes, b.spy.sends-sends, st.Turns-before.Turns, !b.l.inbox.empty())
	}
	if st.Direct-before.Direct != 5 || st.BytesOut-before.BytesOut != uint64(len(want)) {
		t.Errorf("Stats: %d direct writes, %d bytes out, want 5 and %d", st.Direct-before.Direct, st.BytesOut-before.BytesOut, len(want))
	}
	if w := r.s.Written(); w != uint64(len(want)+5) {
		t.Errorf("Written %d, want %d", w, len(want)+5)
	}
	b.expect(peer, want)
}

// A message longer than one Write, of more elements than one takes.
func TestPushOfManyElements(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.opened()
	want := random(1, 30*100)
	var m sgmsg.Message
	for i := range 30 {
		e, err := b.l.Alloc(100)
		if err != nil {
			t.Fatal(err)
		}
		copy(e.Bytes(), want[100*i:])
		m.Append(e)
	}
	if err := r.s.Push(&m); err != nil {
		t.Fatal(err)
	}
	if w := (30 + backend.WriteElements - 1) / backend.WriteElements; b.spy.writes != w {
		t.Errorf("%d writes, want %d", b.spy.writes, w)
	}
	b.expect(peer, want)
}

func TestPushOfALentMessage(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.opened()
	chunk, err := b.l.Alloc(200)
	if err != nil {
		t.Fatal(err)
	}
	copy(chunk.Bytes(), random(9, 200))
	var m sgmsg.Message
	for _, direct := range []bool{true, false} {
		if !direct {
			send(t, r.s, []byte("!")) // the loop takes the door
		}
		m.Lend(chunk)
		if err := r.s.Push(&m); err != nil {
			t.Fatal(err)
		}
		m.Reclaim()
	}
	chunk.Buf.Release()
	b.expect(peer, slices.Concat(random(9, 200), []byte("!"), random(9, 200)))
}

// What does not fit goes on through the loop, before what came later.
func TestPushToAFullStream(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.opened()
	peer.SetReadBuffer(1000)
	var want []byte
	for i := range 8 {
		p := random(uint64(i), 400)
		push(t, r.s, p)
		want = append(want, p...)
	}
	if w := r.s.Written() - 5; w != 1000 || b.spy.writes != 3 || r.s.Pushed() != len(want)-1000 {
		t.Errorf("Written %d in %d writes, Pushed %d, want 1000, 3, %d", w, b.spy.writes, r.s.Pushed(), len(want)-1000)
	}
	b.expect(peer, want)
	b.quiet()
	push(t, r.s, []byte("once more"))
	if b.spy.writes != 4 {
		t.Error("the door was not freed again")
	}
	b.expect(peer, []byte("once more"))
}

// While a guest writes the loop runs: what it sends comes behind the whole message,
// what others push too.
func TestLoopAndOthersDuringAWrite(t *testing.T) {
	for _, accepted := range []int{0, 100, 1000} {
		for _, who := range []string{"loop", "others", "both"} {
			b := newBed(t, small())
			r, peer := b.opened()
			m, want := random(1, 1000), random(1, 1000)
			switch accepted {
			case 0:
				peer.SetReadBuffer(1)
				push(t, r.s, []byte("x")) // the stream is full now
				want = append([]byte("x"), want...)
			case 100:
				peer.SetReadBuffer(100)
			}
			if who != "others" {
				p := random(2, 50)
				want = append(want, p...)
				b.spy.entering = func() {
					send(t, r.s, p)
					b.quiet()
				}
			}
			if who != "loop" {
				p := random(3, 60)
				want = append(want, p...)
				b.spy.leaving = func() {
					push(t, r.s, p)
					b.quiet()
				}
			}
			sends := b.spy.sends
			push(t, r.s, m)
			if b.spy.sends != sends {
				t.Error("the loop sent while a guest was writing")
			}
			b.expect(peer, want)
		}
	}
}

func TestPushHardLimit(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	push(t, r.s, make([]byte, 60<<10))
	m := message(t, b.l, make([]byte, 8<<10))
	if err := r.s.Push(m); !isErrno(err, syscall.ENOBUFS) || !m.Live() || m.Len() != 8<<10 {
		t.Fatalf("Push: %v, message live: %v", err, m.Live())
	}
	if err := r.s.Push(m); !errors.Is(err, ErrClosed) || !m.Live() {
		t.Fatalf("the next Push: %v, want ErrClosed", err)
	}
	m.Release()
	b.quiet()
	if r.closes != 1 || !isErrno(r.cause, syscall.ENOBUFS) || r.rest != 60<<10 {
		t.Errorf("Closed %d times, with %v and %d bytes", r.closes, r.cause, r.rest)
	}
}

// The limit counts what waits in the out queue and in the box.
func TestPushAndSendShareTheHardLimit(t *testing.T) {
	b := newBed(t, small())
	for _, last := range []func(s *Stream, m *sgmsg.Message) error{(*Stream).Push, (*Stream).Send} {
		r, peer := b.opened()
		peer.SetReadBuffer(1)
		send(t, r.s, make([]byte, 30<<10))
		push(t, r.s, make([]byte, 30<<10))
		if !r.s.Crowded() {
			t.Error("not crowded")
		}
		m := message(t, b.l, make([]byte, 8<<10))
		if err := last(r.s, m); !isErrno(err, syscall.ENOBUFS) {
			t.Fatalf("%v, want ENOBUFS", err)
		}
		m.Release()
		b.quiet()
		if r.closes != 1 || !isErrno(r.cause, syscall.ENOBUFS) || r.rest < 60<<10-1 {
			t.Errorf("Closed %d times, with %v and %d bytes", r.closes, r.cause, r.rest)
		}
	}
}

func TestPushAfterTheEnd(t *testing.T) {
	ends := map[string]func(s *Stream){
		"close":  func(s *Stream) { s.Close(nil) },
		"drain":  func(s *Stream) { s.Drain(nil) },
		"detach": func(s *Stream) { s.Detach(func(fd int, _ *sgmsg.Message, _ error) { s.loop.Discard(fd) }) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, small())
			fresh, _ := b.pair()
			used, _ := b.opened()
			for _, r := range []*rec{fresh, used} {
				end(r.s)
				m := message(t, b.l, []byte("late"))
				for range 2 {
					if err := r.s.Push(m); !errors.Is(err, ErrClosed) || !m.Live() {
						t.Errorf("Push: %v, want ErrClosed", err)
					}
					b.quiet()
				}
				m.Release()
			}
		})
	}
}

// The stream ends while a guest writes: the descriptor stays until it has left.
func TestEndDuringAWrite(t *testing.T) {
	cause := errors.New("cause")
	for _, full := range []bool{false, true} {
		for _, c := range []struct {
			name string
			end  func(b *bed, s *Stream)
			rest int // bytes lost if the stream is full
		}{
			{"close", func(b *bed, s *Stream) { s.Close(cause) }, 900},
			{"drain", func(b *bed, s *Stream) { s.Drain(cause) }, 0},
			{"drain and close", func(b *bed, s *Stream) { s.Drain(nil); s.Close(cause) }, 900},
			{"loop's end", func(b *bed, s *Stream) { b.l.Post(func() { b.l.stop = true; b.l.endAll(cause) }) }, 900},
		} {
			t.Run(c.name, func(t *testing.T) {
				b := newBed(t, small())
				r, peer := b.opened()
				r.s.KeepBoundaries()
				var unsent []int
				r.onClosed = func(s *Stream) { s.Unsent(func(part *sgmsg.Message) { unsent = append(unsent, part.Len()) }) }
				if full {
					peer.SetReadBuffer(100)
				}
				m := random(1, 1000)
				b.spy.entering = func() {
					c.end(b, r.s)
					for range 5 {
						b.turn()
					}
					if r.closes != 0 || b.spy.shutdowns != 0 {
						t.Errorf("Closed %d times, %d shutdowns while a guest writes", r.closes, b.spy.shutdowns)
					}
				}
				push(t, r.s, m)
				var got []byte
				b.until("the peer has seen the end", func() bool { return b.read(peer, &got) })
				peer.Close()
				b.until("it is closed", func() bool { return r.closes > 0 })
				lost := 0
				if full {
					lost = c.rest
				}
				same(t, "the peer", got, m[:1000-lost])
				if r.cause != cause || r.rest != lost {
					t.Errorf("Closed with %v and %d bytes, want %v and %d", r.cause, r.rest, cause, lost)
				}
				if lost > 0 && !slices.Equal(unsent, []int{lost}) || lost == 0 && len(unsent) > 0 {
					t.Errorf("unsent %v, want one of %d", unsent, lost)
				}
			})
		}
	}
}

func TestDetachDuringAWrite(t *testing.T) {
	for _, full := range []bool{false, true} {
		for _, closed := range []bool{false, true} {
			b := newBed(t, small())
			r, peer := b.opened()
			if full {
				peer.SetReadBuffer(100)
			}
			given, failed := false, false
			b.spy.entering = func() {
				r.s.Detach(func(fd int, _ *sgmsg.Message, err error) {
					if failed = err != nil; failed {
						return
					}
					given = true
					b.l.Discard(fd)
				})
				for range 3 {
					b.turn()
				}
				if given || r.closes > 0 {
					t.Error("given away while a guest writes")
				}
				if closed {
					r.s.Close(nil)
				}
			}
			m := random(1, 1000)
			push(t, r.s, m)
			var got []byte
			b.until("the peer has seen the end", func() bool { return b.read(peer, &got) })
			if closed != failed || closed == given {
				t.Errorf("closed %v: given away %v, failed %v", closed, given, failed)
			}
			if !closed {
				same(t, "the peer", got, m)
			}
		}
	}
}

// A reset that a guest meets ends the stream, with everything in rest. The kernel
// tells it once: to the receive in flight, or to the guest if there is none.
func TestPushToADeadPeer(t *testing.T) {
	for _, receiving := range []bool{true, false} {
		b := newBed(t, small())
		r, peer := b.opened()
		if !receiving {
			r.keep = true
			b.write(peer, make([]byte, 8<<10))
			b.quiet()
			if r.s.ops != 0 {
				t.Fatalf("operations %b of a stream over its credit", r.s.ops)
			}
		}
		r.s.KeepBoundaries()
		var unsent []byte
		r.onClosed = func(s *Stream) { s.Unsent(func(part *sgmsg.Message) { unsent = part.AppendTo(unsent) }) }
		peer.Reset()
		b.sim.Settle()
		push(t, r.s, []byte("into the void"))
		push(t, r.s, []byte(", all of it"))
		b.quiet()
		want := syscall.EPIPE
		if !receiving {
			want = syscall.ECONNRESET
			if r.closes != 0 {
				t.Error("Closed before the handler has had what was received")
			}
			r.keep = false
			r.onCheck = func(s *Stream) { r.take(s) }
			r.s.Kick()
			b.quiet()
			if len(r.got) != 8<<10 || r.ended != r.cause {
				t.Errorf("%d bytes received, then %v", len(r.got), r.ended)
			}
		}
		if r.closes != 1 || !isErrno(r.cause, want) || string(unsent) != "into the void, all of it" {
			t.Errorf("Closed %d times with %v, want %v, unsent %q", r.closes, r.cause, want, unsent)
		}
	}
}

// The door is freed while the box is not empty: nobody passes what is in the box, nor
// what has come from there to the out queue.
func TestNobodyPassesTheBox(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.opened()
	send(t, r.s, []byte("one, "))
	b.spy.waiting = func() { push(t, r.s, []byte("two, ")) }
	b.turn()
	if d := r.s.box.Load().door.Load(); d != doorFree || r.s.Pushed() == 0 {
		t.Fatalf("the door is in state %d, %d bytes in the box", d, r.s.Pushed())
	}
	push(t, r.s, []byte("three, "))
	if !r.s.gather() {
		t.Fatal("the lock is taken")
	}
	push(t, r.s, []byte("four"))
	b.expect(peer, []byte("one, two, three, four"))
	if b.spy.writes != 0 {
		t.Errorf("%d direct writes, want none", b.spy.writes)
	}
}

func TestPushWhileConnecting(t *testing.T) {
	b := newBed(t, small())
	sv := b.listen()
	far := &rec{t: t}
	sv.conn = func(fd int) {
		if _, err := b.l.Attach(fd, far); err != nil {
			t.Error(err)
		}
	}
	r := &rec{t: t}
	s, err := b.l.Dial(simTo(simAddr), r)
	if err != nil {
		t.Fatal(err)
	}
	push(t, s, []byte("early, "))
	b.turn()
	if r.opened > 0 {
		t.Error("connected in no time")
	}
	push(t, s, []byte("later"))
	b.until("it has come", func() bool { return len(far.got) >= len("early, later") })
	same(t, "the far end", far.got, []byte("early, later"))
}

// Unsent tells message by message what became of a queue that was cut off.
func TestUnsent(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.s.KeepBoundaries()
	var unsent [][]byte
	r.onClosed = func(s *Stream) {
		s.Unsent(func(part *sgmsg.Message) { unsent = append(unsent, part.AppendTo(nil)) })
	}
	push(t, r.s, []byte("first"))
	b.expect(peer, []byte("first"))
	b.quiet()
	peer.SetReadBuffer(250)
	var msgs [][]byte
	for i := range 10 {
		msgs = append(msgs, random(uint64(i), 100))
	}
	for i, m := range msgs {
		switch {
		case i < 2:
			push(t, r.s, m) // by itself
		case i == 2: // half of it by itself
			b.spy.leaving = func() {
				send(t, r.s, msgs[8])
				send(t, r.s, msgs[9])
			}
			push(t, r.s, m)
		case i < 5:
			push(t, r.s, m)
		case i < 8:
			b.quiet()
			send(t, r.s, m)
		}
	}
	b.quiet()
	r.s.Close(nil)
	b.quiet()
	want := [][]byte{msgs[2][50:], msgs[8], msgs[9], msgs[3], msgs[4], msgs[5], msgs[6], msgs[7]}
	if len(unsent) != len(want) {
		t.Fatalf("%d messages unsent, want %d", len(unsent), len(want))
	}
	for i := range want {
		if !bytes.Equal(unsent[i], want[i]) {
			t.Errorf("unsent message %d is not what it should be", i)
		}
	}
	if r.rest != 750 {
		t.Errorf("rest of %d bytes, want 750", r.rest)
	}
}

func TestShort(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	r.hold = new(sgmsg.Message)
	if b.l.Short() {
		t.Error("short with all buffers free")
	}
	for i := 0; !b.l.Short(); i++ {
		if i > 16 {
			t.Fatal("never short")
		}
		b.write(peer, random(uint64(i), 1000))
		b.quiet()
	}
	if free := b.l.mem.free; free != 7 {
		t.Errorf("short with %d of 16 buffers free", free)
	}
	want := r.hold.AppendTo(nil)
	if err := b.l.Unpin(r.hold); err != nil {
		t.Fatal(err)
	}
	b.turn()
	if b.l.Short() {
		t.Error("short although the held messages are unpinned")
	}
	same(t, "the unpinned message", r.hold.AppendTo(nil), want)
	r.hold.Release()
}
