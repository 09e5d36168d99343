package mux

import (
	"context"
	"fmt"
	"syscall"

	"github.com/kcm-go/kcm/internal/park"
	"github.com/kcm-go/kcm/sgmsg"
)

// outbound is the sending side of a socket, all of it under transmit.mu:
//
//	open --end of message--> queue --reservation--> train --accepted--> gone
//	                           ^                      |
//	                           +--- connection died --+
//
// The messages of the train stay here until the kernel has accepted them; what travels are
// references to their bytes.
type outbound struct {
	limit int64 // of unsent, from which who begins a message waits
	wait  WaitPsock

	open   sgmsg.Message // not ended: of More, or without EOR
	queue  parcelList    // whole messages, in order
	train  parcelList    // those that are with psock
	unsent int64         // charged to all three
	more   bool          // a batch is being collected: what is queued may wait
	later  bool          // it ends with a loop's turn
	waits  bool          // in transmit.waiters
	next   *Socket       // there
	psock  *sending      // reserved

	senders  senderList // who waits for room, first come, first served
	spare    *sender
	writable chan struct{} // Writable's, or nil
	armed    bool          // it is owed a token
	parcels  *parcel       // to be used again

	refuses bool          // no message is taken any more: ErrClosed
	gone    bool          // nor sent
	drained chan struct{} // CloseWithDrain waits until nothing is unsent

	stats struct{ messages, bytes, retries, discarded uint64 }
}

// parcel is a whole message on its way out.
type parcel struct {
	next *parcel
	msg  sgmsg.Message
	call callRef // whose request it is, if it is one
}

type parcelList struct {
	head, tail *parcel
	n          int
}

func (l *parcelList) push(p *parcel) {
	p.next = nil
	if l.tail != nil {
		l.tail.next = p
	} else {
		l.head = p
	}
	l.tail = p
	l.n++
}

func (l *parcelList) pop() *parcel {
	p := l.head
	l.head = p.next
	if l.head == nil {
		l.tail = nil
	}
	p.next = nil
	l.n--
	return p
}

// putBack puts all of o in front of l.
func (l *parcelList) putBack(o *parcelList) {
	if o.head == nil {
		return
	}
	o.tail.next = l.head
	if l.tail == nil {
		l.tail = o.tail
	}
	l.head = o.head
	l.n += o.n
	*o = parcelList{}
}

// sender is a goroutine that waits for room.
type sender struct {
	next   *sender
	parker park.Parker
}

type senderList struct{ head, tail *sender }

func (l *senderList) push(w *sender) {
	w.next = nil
	if l.tail != nil {
		l.tail.next = w
	} else {
		l.head = w
	}
	l.tail = w
}

func (l *senderList) remove(w *sender) {
	var last *sender
	for at := &l.head; *at != nil; at = &(*at).next {
		if *at == w {
			*at = w.next
			if l.tail == w {
				l.tail = last
			}
			return
		}
		last = *at
	}
}

var (
	errFull      error = fmt.Errorf("send: as much waits to be sent as may: %w", syscall.EAGAIN)
	errNoPsock   error = fmt.Errorf("send: no connection can take a message: %w", syscall.ENOTCONN)
	errGone      error = fmt.Errorf("send: %w", ErrClosed)
	errOutsized  error = fmt.Errorf("send: longer than a connection's out queue may be (Ring.SendHard less SendSoft): %w", syscall.EMSGSIZE)
	errSendBlock error = fmt.Errorf("send: %w", ErrDeadlock)
)

// gate waits, under the lock, which it lets go meanwhile, until a message may be begun or
// the open one continued.
func (tx *transmit) gate(ctx context.Context, s *Socket, f Flags) error {
	o := &s.out
	var me *sender
	err := o.may(tx, me)
	for err == errFull && f&DontWait == 0 {
		tx.flush(s) // else it might wait for its own batch
		if s.mux.onThread() {
			err = errSendBlock
			break
		}
		if me == nil {
			me = o.newSender()
			o.senders.push(me)
		}
		tx.unlock()
		done := !me.parker.WaitOr(ctx.Done())
		tx.lock()
		if err = o.may(tx, me); err == errFull && done {
			err = ctx.Err()
		}
	}
	if err == errFull {
		tx.flush(s)
		o.armed = o.writable != nil
	}
	if me != nil {
		o.senders.remove(me)
		me.next, o.spare = o.spare, me
	}
	return err
}

// may reports whether me, nil for one who does not wait, may begin or continue a message.
func (o *outbound) may(tx *transmit, me *sender) error {
	switch {
	case o.refuses:
		return errGone
	case o.open.Len() > 0:
		return nil
	case o.wait == Fail && tx.able == 0:
		return errNoPsock
	case o.unsent < o.limit && o.senders.head == me:
		return nil
	}
	return errFull
}

func (o *outbound) newSender() *sender {
	w := o.spare
	if w == nil {
		w = new(sender)
		w.parker.Init(false)
		return w
	}
	o.spare, w.next = w.next, nil // a wake that came too late makes it look once more
	return w
}

// rouse tells those who wait for room that there may be some. Who is woken looks again, so
// one too many does no harm.
func (o *outbound) rouse(tx *transmit) {
	if o.senders.head == nil && !o.armed {
		return
	}
	if o.may(tx, o.senders.head) == errFull {
		return
	}
	if w := o.senders.head; w != nil {
		w.parker.Wake() // does not block: the runtime's
	}
	if o.armed {
		o.armed = false
		select {
		case o.writable <- struct{}{}:
		default:
		}
	}
}

// append moves msg to the end of the open message. It is charged with its first byte.
func (o *outbound) append(msg *sgmsg.Message) {
	n := int64(msg.Len())
	if o.open.Len() == 0 {
		o.open.Reset()
		n += chargeOverMsg
	}
	msg.MoveTo(&o.open)
	o.unsent += n
}

// join copies p to the end of the open message: behind the bytes that are there, and else to
// new memory that has room for as much as the message has, so that this happens rarely.
func (o *outbound) join(al sgmsg.Allocator, p []byte) error {
	n := int64(len(p))
	if o.open.Len() == 0 {
		o.open.Reset()
		n += chargeOverMsg
	}
	if err := o.open.AppendCopy(al, p, min(o.open.Len(), copyRun)); err != nil {
		return err
	}
	o.unsent += n
	return nil
}

// dropOpen gives the open message up.
func (o *outbound) dropOpen() {
	if n := o.open.Len(); n > 0 {
		o.unsent -= int64(n) + chargeOverMsg
		o.open.Reset()
	}
}

// end queues the open message, if there is one.
func (o *outbound) end() {
	if o.open.Len() == 0 {
		return
	}
	p := o.parcels
	if p != nil {
		o.parcels = p.next
	} else {
		p = new(parcel)
	}
	o.open.MoveTo(&p.msg)
	o.open.Reset()
	o.queue.push(p)
	o.stats.messages++
}

// finish ends a parcel: it has been sent, or is discarded.
func (o *outbound) finish(p *parcel) {
	o.unsent -= int64(p.msg.Len()) + chargeOverMsg
	p.msg.Reset()
	p.call = callRef{}
	p.next, o.parcels = o.parcels, p
}

// discard gives up what is queued.
func (o *outbound) discard() (n uint64) {
	for o.queue.head != nil {
		o.finish(o.queue.pop())
		n++
	}
	o.stats.discarded += n
	return n
}

// waiting is the number of whole messages that no connection has taken yet.
func (o *outbound) waiting() int { return o.queue.n + o.train.n }
