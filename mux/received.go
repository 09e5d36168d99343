package mux

import (
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// Received is a message in the hands of a reader: from [Socket.Recv] until Done, from
// [Reader.Next] until the next Next, in a [Work] function until it returns. It is
// for one goroutine at a time.
type Received struct {
	// From is the connection it came on, which may have ended since.
	From *Psock
	// Msg is the message. What Recv returned is owned, by whoever has the
	// Received; elsewhere it is lent. Either way Reply, Send and Take move it, and
	// Done or the next call releases what is left. Its bytes may be shared with
	// its neighbours in the stream and are not to be written.
	Msg *sgmsg.Message

	reader  *Reader // nil for Recv
	socket  *Socket
	next    *Received // in the socket's pool
	msg     sgmsg.Message
	number  uint64        // ordered replies
	nth     uint64        // as burst.nth
	waited  time.Duration // as recorded
	replies sgmsg.Message
	times   Times
	open    bool
	late    bool // see Overdue
}

// Times are the stations of one message, by the clock (ring.Loop's Now) of the Mux's first
// loop. Zero where nothing was recorded.
type Times struct {
	Arrived time.Duration // its connection was found readable, in the turn that completed it
	Queued  time.Duration // it was handed to the workers; with Options.Timestamps
	Started time.Duration // a reader took it, alone or with others
}

// Times returns the stations so far.
func (r *Received) Times() Times { return r.times }

// Waited returns how long the message waited for a reader.
func (r *Received) Waited() time.Duration { return r.times.Started - r.times.Arrived }

// Reply sends msg to where the message came from; msg is gone. With
// Options.OrderedReplies it leaves when the replies to all earlier messages of that
// connection have. Else, with other messages of the same batch still to be handled, it
// may wait for their replies, for 0.1 ms as long as there is traffic and about 1 ms when
// there is none, so that they leave in one system call. What is sent to that connection
// in another way meanwhile, by [Psock.Send] or another worker, overtakes it. Nothing else
// distinguishes it from Send.
func (r *Received) Reply(msg *sgmsg.Message) {
	p := r.From
	switch {
	case msg.Len() == 0:
		msg.Release()
	case p.order != nil:
		msg.MoveTo(&r.replies)
	case r.reader != nil:
		r.reader.reply(msg)
	default:
		p.pushFrom(msg, p)
	}
}

// ReplyPayload sends a copy of payload, framed, as Reply does. The errors are those of
// [Psock.SendPayload].
func (r *Received) ReplyPayload(payload []byte) error {
	var msg sgmsg.Message
	if err := r.From.mux.frame(r.From.shard.loop, &msg, payload); err != nil {
		return err
	}
	r.Reply(&msg)
	return nil
}

// Send sends msg to any connection of the same Mux; msg is gone. If that takes less
// than it is given, the connection r came from is made to wait for it, as with a
// handler on a loop: no more of its messages are received until the queue has
// drained.
func (r *Received) Send(to *Psock, msg *sgmsg.Message) {
	if to == r.From {
		r.Reply(msg)
		return
	}
	to.pushFrom(msg, r.From)
}

// Release gives the message's memory back early. Its handling goes on.
func (r *Received) Release() {
	if r.Msg.Live() {
		r.Msg.Release()
	}
}

// Done ends the handling of a message that Recv returned: its connection may hand out
// the next one, ordered replies may leave, and r may be used no more: it will serve
// another message, and a second Done, where it does not panic, ends that one. Every
// message is to be ended, or its connection waits for ever. For
// messages of a Reader or a Work function Done is called by their next step.
func (r *Received) Done() {
	if r.reader != nil {
		panic("mux: Done of a message that its Reader ends")
	}
	if !r.open {
		panic("mux: Done of a message that is done")
	}
	m := r.From.mux
	if slow := m.opt.SlowHandler; slow > 0 && m.steer.clock()-r.times.Started > slow {
		m.steer.slow.Add(1)
	}
	r.finish()
}

// finish ends the handling of a message that Socket.receive returned.
func (r *Received) finish() {
	p := r.From
	r.end()
	st := p.mux.steer
	st.lock()
	r.From = nil
	r.next, r.socket.pool = r.socket.pool, r
	st.free(p)
	st.unlock()
	p.settle(1)
}

// end is what ends every handling: nothing is left of the message, and its replies
// have taken their place.
func (r *Received) end() {
	r.open = false
	r.msg.Reset()
	if r.From.order != nil {
		r.From.order.finish(r.From, r.number, &r.replies)
	}
}
