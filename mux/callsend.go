package mux

import (
	"context"

	"github.com/kcm-go/kcm/sgmsg"
)

// What transmit does for calls: it tells them where their requests are, and gives up those
// of calls that have ended. All of it but sendCall and resendCall under its lock.

// sendCall is Send for the request of a call; TrySend when ctx is nil. The socket is for
// requests only.
func (s *Socket) sendCall(ctx context.Context, msg *sgmsg.Message, r callRef) error {
	f := Flags(0)
	if ctx == nil {
		ctx, f = context.Background(), DontWait
	}
	tx := s.mux.tx
	tx.lock()
	defer tx.unlock()
	defer s.out.rouse(tx)
	if err := tx.gate(ctx, s, f); err != nil {
		return err
	}
	if msg.Len() > tx.most {
		return errOutsized
	}
	tx.queueCall(s, msg, r)
	return nil
}

// resendCall is sendCall for a request that was sent before: it does not wait for room.
func (s *Socket) resendCall(msg *sgmsg.Message, r callRef) error {
	tx := s.mux.tx
	tx.lock()
	defer tx.unlock()
	if s.out.refuses {
		return errGone
	}
	tx.queueCall(s, msg, r)
	return nil
}

func (tx *transmit) queueCall(s *Socket, msg *sgmsg.Message, r callRef) {
	o := &s.out
	tx.made.Add(1)
	o.stats.bytes += uint64(msg.Len())
	o.append(msg)
	o.end()
	o.queue.tail.call = r
	tx.start(s)
}

// depart reports whether s has something to send on k, and tells the call whose request is
// the first. Requests of calls that have ended are dropped.
func (tx *transmit) depart(k *sending, s *Socket) bool {
	o := &s.out
	if o.queue.head == nil {
		return false
	}
	for !o.queue.head.call.departs(k.psock) {
		tx.drop(o.queue.pop(), o)
		if o.queue.head == nil {
			if o.waiting() == 0 {
				o.tellDrained()
				tx.tellIdle()
			}
			o.rouse(tx)
			return false
		}
	}
	return true
}

// recall puts the train back in front of the queue.
func (o *outbound) recall() {
	for p := o.train.head; p != nil; p = p.next {
		p.call.recalled()
	}
	o.queue.putBack(&o.train)
}

// drop discards a parcel.
func (tx *transmit) drop(p *parcel, o *outbound) {
	o.finish(p)
	o.stats.discarded++
	tx.stats.discarded++
}

// memory is where requests of the socket are copied to.
func (s *Socket) memory() sgmsg.Allocator { return s.mux.loops[s.index%len(s.mux.loops)] }
