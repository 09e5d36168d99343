//go:build linux

package ring

import (
	"errors"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/sgmsg"
)

// told is a ticket that notes what it was told.
type told struct {
	Ticket
	calls, accepted int
}

func newTold() *told {
	k := new(told)
	k.Settled = func(n int) { k.calls, k.accepted = k.calls+1, n }
	return k
}

func pushTicket(t *testing.T, s *Stream, k *told, p []byte) bool {
	t.Helper()
	m := message(t, s.loop, p)
	whole, err := s.PushTicket(m, &k.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	if m.Live() && m.Len() > 0 {
		t.Fatal("PushTicket left the message")
	}
	return whole
}

// The peer takes the message bit by bit; only with its last byte the ticket is settled.
func TestTicketIsSettledByTheLastByte(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	want := random(1, 4000)
	k := newTold()
	if pushTicket(t, r.s, k, want) {
		t.Fatal("accepted at once, by a loop that has not had a turn")
	}
	b.quiet()
	if k.calls != 0 {
		t.Fatalf("settled with %d bytes before the peer had room", k.accepted)
	}
	m := message(t, r.s.loop, []byte("again"))
	if _, err := r.s.PushTicket(m, &newTold().Ticket); !errors.Is(err, syscall.EBUSY) || m.Len() != 5 {
		t.Errorf("the second ticket: %v, the message has %d bytes", err, m.Len())
	}
	m.Release()
	push(t, r.s, []byte("behind")) // does not count for the ticket
	b.expect(peer, append(want, "behind"...))
	b.quiet()
	if k.calls != 1 || k.accepted != len(want) {
		t.Errorf("settled %d times, with %d of %d bytes", k.calls, k.accepted, len(want))
	}
	if !pushTicket(t, r.s, k, []byte("direct")) || k.calls != 1 {
		t.Error("a message that the kernel took at once was settled, or not taken")
	}
	b.expect(peer, []byte("direct"))
}

// A stream that ends tells how much was accepted: of a message that a guest left, that waits
// in the box, or of which nothing is known yet.
func TestTicketOfAStreamThatEnds(t *testing.T) {
	for name, end := range map[string]func(s *Stream){
		"close":      func(s *Stream) { s.Close(errOurs) },
		"detach now": func(s *Stream) { s.DetachNow(func(fd int, _ *sgmsg.Message, _ error) { s.loop.Discard(fd) }) },
	} {
		for _, inBox := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				b := newBed(t, small())
				r, peer := b.pair()
				peer.SetReadBuffer(1000)
				r.s.KeepBoundaries()
				if !inBox { // the door comes free with the end of the first
					push(t, r.s, []byte("first"))
					b.quiet()
					b.expect(peer, []byte("first"))
				}
				k := newTold()
				pushTicket(t, r.s, k, random(1, 4000))
				push(t, r.s, []byte("behind"))
				if !inBox {
					b.quiet()
				}
				var unsent []byte
				ticketed := 0
				r.onClosed = func(s *Stream) {
					if k.calls != 1 {
						t.Errorf("settled %d times before Closed", k.calls)
					}
					ticketed = s.Ticketed()
					s.Unsent(func(part *sgmsg.Message) { unsent = part.AppendTo(unsent) })
				}
				accepted := r.s.Written()
				end(r.s)
				b.quiet()
				if accepted = r.s.Written(); !inBox {
					accepted -= 5
				}
				if r.closes != 1 || k.calls != 1 || k.accepted != int(accepted) || ticketed != 4000-k.accepted {
					t.Errorf("closed %d times, settled %d times with %d of %d accepted bytes, %d left", r.closes, k.calls, k.accepted, accepted, ticketed)
				}
				if inBox == (k.accepted > 0) {
					t.Errorf("%d bytes were accepted", k.accepted)
				}
				if string(unsent) != "behind" || r.rest != ticketed+len(unsent) {
					t.Errorf("unsent %q, in all %d bytes", unsent, r.rest)
				}
			})
		}
	}
}

func TestPushTicketOnAStreamThatEnded(t *testing.T) {
	b := newBed(t, small())
	r, _ := b.pair()
	r.s.Close(nil)
	b.quiet()
	k, m := newTold(), message(t, r.s.loop, []byte("late"))
	if _, err := r.s.PushTicket(m, &k.Ticket); !errors.Is(err, ErrClosed) || m.Len() != 4 || k.calls != 0 {
		t.Errorf("%v, the message has %d bytes, settled %d times", err, m.Len(), k.calls)
	}
	m.Release()
}

// DetachNow does not wait for what is queued, and loses nothing that was received.
func TestDetachNowLeavesTheQueue(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	peer.SetReadBuffer(1000)
	want := random(5, 4000)
	send(t, r.s, want)
	r.keep = true
	b.write(peer, []byte("theirs"))
	b.quiet()
	var d detached
	r.s.DetachNow(d.fn)
	mine := b.detached(r, &d)
	if string(d.rest) != "theirs" {
		t.Errorf("handed over %q", d.rest)
	}
	sent := int(r.s.Written())
	if sent == 0 || sent+r.rest != len(want) {
		t.Errorf("%d bytes sent, %d not, of %d", sent, r.rest, len(want))
	}
	b.expect(peer, want[:sent])
	mine.Write([]byte("more"))
	b.expect(peer, []byte("more"))
	var again detached
	r.s.DetachNow(again.fn)
	if again.calls != 1 || !errors.Is(again.err, ErrClosed) {
		t.Errorf("the second: %+v", again)
	}
}

// A message with a ticket does not count for Crowded, nor does what of it has left already
// make room for others: what counts is what others have queued.
func TestTicketCountsForNobody(t *testing.T) {
	o := small()
	b := newBed(t, o)
	r, peer := b.pair()
	o = b.l.Options()
	peer.SetReadBuffer(1000)
	k := newTold()
	pushTicket(t, r.s, k, random(1, o.SendSoft))
	b.quiet()
	if r.s.Written() == 0 || r.s.Crowded() || r.s.Overdrawn() {
		t.Fatalf("%d bytes are written, crowded %v, overdrawn %v", r.s.Written(), r.s.Crowded(), r.s.Overdrawn())
	}
	push(t, r.s, random(2, o.SendSoft+1))
	if !r.s.Crowded() {
		t.Error("not crowded by what others left in the box")
	}
	b.quiet()
	if !r.s.Crowded() || !r.s.Overdrawn() {
		t.Errorf("in the out queue: crowded %v, overdrawn %v", r.s.Crowded(), r.s.Overdrawn())
	}
}

// Nor does it take room of what others may queue before the stream ends.
func TestTicketTakesNoRoomFromTheHardLimit(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	o := b.l.Options()
	peer.SetReadBuffer(1000)
	k := newTold()
	push(t, r.s, random(1, o.SendHard)) // the most there may be
	b.quiet()
	pushTicket(t, r.s, k, random(2, o.SendHard))
	b.quiet()
	if r.closes > 0 || r.s.Failed() != nil {
		t.Fatalf("a message with a ticket ended the stream: %v", r.s.Failed())
	}
	m := message(t, r.s.loop, random(3, o.SendHard))
	if err := r.s.Push(m); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("twice the limit: %v, want ENOBUFS", err)
	}
	m.Release()
	b.quiet()
}

func TestPushTicketAllocatesNothing(t *testing.T) {
	if invariants.Race || invariants.Enabled {
		t.Skip("the checks of this build allocate")
	}
	l, s, e := instantPush(t)
	var m sgmsg.Message
	pushElement(t, s, &m, e)
	for range 3 {
		l.Turn()
	}
	k := newTold()
	if n := testing.AllocsPerRun(100, func() {
		m.Reset()
		m.AppendShared(e)
		if whole, err := s.PushTicket(&m, &k.Ticket); !whole || err != nil {
			t.Fatal(whole, err)
		}
	}); n > 0 {
		t.Errorf("a direct PushTicket makes %v allocations", n)
	}
	calls := k.calls
	if n := testing.AllocsPerRun(100, func() {
		m.Reset()
		m.AppendShared(e)
		if err := s.Send(&m); err != nil { // takes the door
			t.Fatal(err)
		}
		m.Reset()
		m.AppendShared(e)
		if whole, err := s.PushTicket(&m, &k.Ticket); whole || err != nil {
			t.Fatal(whole, err)
		}
		for range 3 {
			l.Turn()
		}
	}); n > 0 {
		t.Errorf("a PushTicket through the box makes %v allocations", n)
	}
	if n := k.calls - calls; n != 101 {
		t.Errorf("settled %d times, want 101", n)
	}
}
