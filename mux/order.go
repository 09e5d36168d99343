package mux

import (
	"sync"
	"sync/atomic"

	"github.com/kcm-go/kcm/sgmsg"
)

// order keeps the replies of one connection in the order of its messages although
// these are handled in parallel. Each message has a number and a slot, in which its
// replies wait until all earlier messages are done:
//
//	number   head               tail
//	slots  |  .  | done | done |  .  |      . = being handled, or queued
//
// Whoever ends the message at head sends its replies and those behind it that wait;
// the others leave theirs. Nobody sends under the lock.
//
// What waits behind the head is bounded: when it is more than soft no other message of
// the connection is started, and the loop delivers none.
type order struct {
	soft  int64
	first atomic.Uint64 // as head
	held  atomic.Int64  // charged to slots that are done
	waits atomic.Bool   // the connection holds for held

	mu      sync.Mutex
	head    uint64        // first message not done
	tail    uint64        // number of the next message
	slots   []slot        // a ring, by number; its length is a power of two
	sending bool          // somebody is sending from head on
	out     sgmsg.Message // what it sends
	inline  sgmsg.Message // loop's: replies of the handler that is running
	ended   bool          // the connection has: replies are lost
}

type slot struct {
	replies sgmsg.Message
	charge  int
	done    bool
}

// full reports whether message number may not be started: too many replies wait, and for
// those to an earlier one. Any goroutine.
func (o *order) full(number uint64) bool {
	return o.held.Load() > o.soft && number > o.first.Load()
}

// issue numbers the next n messages and returns the first number.
func (o *order) issue(n int) uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	first := o.tail
	o.tail += uint64(n)
	if need := int(o.tail - o.head); need > len(o.slots) {
		size := max(4, len(o.slots))
		for size < need {
			size *= 2
		}
		o.resize(size, first)
	}
	return first
}

// keptSlots bounds what a connection keeps that had many messages with the workers.
const keptSlots = 256

// resize makes a ring of size slots, and moves those up to number end to it.
func (o *order) resize(size int, end uint64) {
	slots := make([]slot, size)
	for i := o.head; i < end; i++ {
		from, to := &o.slots[i&uint64(len(o.slots)-1)], &slots[i&uint64(size-1)]
		to.done, to.charge = from.done, from.charge
		if from.replies.Len() > 0 {
			from.replies.MoveTo(&to.replies)
		}
	}
	o.slots = slots
}

// pending reports whether a message has not been answered, or a reply may still be on
// its way to the stream.
func (o *order) pending() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.head != o.tail || o.sending
}

// finish ends message number; its replies are moved out of the argument, which is
// empty afterwards.
func (o *order) finish(p *Psock, number uint64, replies *sgmsg.Message) {
	o.mu.Lock()
	if o.ended {
		o.mu.Unlock()
		p.lose(replies)
		return
	}
	s := &o.slots[number&uint64(len(o.slots)-1)]
	s.done = true
	s.charge = replies.Len() + chargeOverMsg
	o.held.Add(int64(s.charge))
	if replies.Len() > 0 {
		replies.MoveTo(&s.replies)
		replies.Reset()
	}
	if o.sending || number != o.head {
		o.mu.Unlock()
		return
	}
	o.sending = true
	for o.head != o.tail && !o.ended {
		n := 0
		for o.head != o.tail {
			s := &o.slots[o.head&uint64(len(o.slots)-1)]
			if !s.done {
				break
			}
			if s.replies.Len() > 0 {
				s.replies.MoveTo(&o.out)
				n++
			}
			s.replies.Reset()
			s.done = false
			o.held.Add(-int64(s.charge))
			o.head++
			if n > 0 && (p.mux.opt.OnLost != nil || int64(o.out.Len()) > o.soft) {
				break // for the record one message at a time; else not too many at once
			}
		}
		o.first.Store(o.head)
		if n == 0 {
			break
		}
		o.mu.Unlock()
		p.mux.sent.messages.Add(uint64(n - 1)) // pushFrom counts one
		p.pushFrom(&o.out, p)
		o.out.Reset()
		o.mu.Lock()
	}
	o.sending = false
	if len(o.slots) > keptSlots && o.tail-o.head <= keptSlots/2 {
		o.resize(keptSlots, o.tail)
	}
	o.mu.Unlock()
	p.unbar() // the head has moved
	o.release(p)
}

// restrain holds the connection, on its loop, while too many replies wait.
func (o *order) restrain(p *Psock) {
	if o.held.Load() <= o.soft || o.waits.Swap(true) {
		return
	}
	p.hold()
	o.release(p) // if they have left meanwhile
}

// release ends the hold when half of what is allowed is free.
func (o *order) release(p *Psock) {
	if o.waits.Load() && o.held.Load() <= o.soft/2 && o.waits.CompareAndSwap(true, false) {
		p.onLoop(p.unhold)
	}
}

// end gives up the replies that wait, of a connection that has ended. Loop's thread.
func (o *order) end(p *Psock) {
	o.mu.Lock()
	o.ended = true
	slots := o.slots
	o.slots = nil
	o.mu.Unlock()
	for i := range slots {
		p.lose(&slots[i].replies)
	}
	p.lose(&o.inline)
}

// lose refuses replies that nobody can get any more, and empties the message.
func (p *Psock) lose(replies *sgmsg.Message) {
	if replies.Len() > 0 {
		p.refuse(replies, ErrClosed)
	}
	replies.Reset()
}
