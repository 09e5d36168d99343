package ring

import (
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/sgmsg"
)

// Ticket follows one message through a stream, for a sender that keeps the message to send
// it again elsewhere if this stream does not get rid of it. A Ticket may be used again once
// it is settled.
type Ticket struct {
	// Settled is called once, on the loop's thread: with the message's length when the kernel
	// has accepted all of it, with how much of it was accepted when the stream has ended
	// before. Then the rest is not counted as unsent by Stream.Unsent, but is in the rest of
	// Handler.Closed, which is called afterwards; see Ticketed.
	Settled func(accepted int)
}

// PushTicket is Push that tells what becomes of m. whole: the kernel has accepted all of it
// already, and Settled is not called. A stream takes one message with a ticket at a time:
// EBUSY. Who waits for the last to be settled needs no other limit, so these messages do not
// count for Overdrawn and Crowded, nor for Options.SendHard, which none may exceed by itself.
// On any error m is still the caller's and Settled is not called. Settled may run on
// the loop's thread before PushTicket has returned. Safe for concurrent use.
func (s *Stream) PushTicket(m *sgmsg.Message, t *Ticket) (whole bool, err error) {
	return s.push(m, t)
}

// Ticketed returns how many of the bytes in the rest of Handler.Closed belong to a message
// with a ticket, whose sender has been told. It works inside Handler.Closed.
func (s *Stream) Ticketed() int {
	if !s.ticketed {
		return 0
	}
	return s.box.Load().ticket.missing(s.written)
}

var errTicketOut error = fmt.Errorf("push: the last message with a ticket is still on its way: %w", syscall.EBUSY)

// ticketed is a box's record of the message with a ticket that is on its way. While the
// message is in the box it belongs to the box's mutex, afterwards to the loop; t is nil when
// there is none, and everybody may look at that.
type ticketed struct {
	t     atomic.Pointer[Ticket]
	boxed atomic.Int64 // how much of box.bytes is the message's
	size  int
	at    ticketPlace
	end   uint64 // of the message: in the box's queue, later in the stream as written counts
}

type ticketPlace uint8

const (
	inOut   ticketPlace = iota // the out queue
	inHand                     // a guest's, who is writing it
	inLeft                     // box.left
	inQueue                    // box.queue
)

// take makes t the ticket that is out, of a message that ends at end of where it is.
func (k *ticketed) take(t *Ticket, at ticketPlace, size, end int) {
	k.size, k.at, k.end = size, at, uint64(end)
	if at == inQueue {
		k.boxed.Store(int64(size))
	}
	k.t.Store(t)
}

// done notes that there is none any more.
func (k *ticketed) done() { k.t.Store(nil) }

// leave notes that its guest leaves n bytes of the message to the loop.
func (k *ticketed) leave(n int) {
	if n == 0 {
		k.done()
		return
	}
	k.at, k.end = inLeft, uint64(n)
	k.boxed.Store(int64(n))
}

// gatherLeft: what a guest left is now the front of the out queue, up to end in the stream.
func (k *ticketed) gatherLeft(end uint64) {
	if k.t.Load() != nil && k.at == inLeft {
		k.at, k.end = inOut, end
	}
}

// gatherQueue: the box's queue comes behind start in the stream. While the message is in
// the out queue the loop holds the door, so no guest's rest comes before it.
func (k *ticketed) gatherQueue(start uint64) {
	if k.t.Load() != nil && k.at == inQueue {
		k.at, k.end = inOut, k.end+start
	}
}

// missing returns the message's bytes that the kernel has not accepted.
func (k *ticketed) missing(written uint64) int {
	if written >= k.end {
		return 0
	}
	return min(k.size, int(k.end-written))
}

// settle tells the ticket's owner if the kernel has accepted the whole message.
func (s *Stream) settle() {
	k := &s.box.Load().ticket
	if s.written < k.end {
		return
	}
	s.ticketed = false
	t, n := k.t.Load(), k.size
	k.done()
	t.Settled(n)
}

// settleLast tells it at the end of the stream.
func (s *Stream) settleLast() {
	if !s.ticketed {
		return
	}
	k := &s.box.Load().ticket
	invariants.Check(k.at == inOut, "ring: a message with a ticket is in the box of a stream that is gone")
	t := k.t.Load()
	if t == nil { // told when the stream failed
		return
	}
	k.done()
	t.Settled(k.size - k.missing(s.written))
}
