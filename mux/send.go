package mux

import (
	"slices"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// Send sends the message: its content moves and msg is gone, whatever happens.
// It never blocks and has no failure the caller could retry; a message that
// cannot be sent, now or later, goes to Options.OnLost. No byte is copied.
//
// Messages of one sender to one connection leave in the order of their Sends.
// Called from a handler with a connection (of the same Mux) that takes less than it
// is given, Send makes the handler's own connection wait: no more of its messages
// are delivered until the queue has drained.
func (p *Psock) Send(msg *sgmsg.Message) {
	if p.local(msg) {
		p.send(msg, p.shard.current)
		return
	}
	p.across(msg)
}

// TrySend is Send unless the out queue is over its limit or the connection is
// ending: then it reports false and msg is still the caller's.
func (p *Psock) TrySend(msg *sgmsg.Message) bool {
	if p.dead.Load() || p.overdrawn.Load() ||
		p.posted.Load() > int64(p.shard.loop.Options().SendSoft) {
		return false
	}
	if p.local(msg) {
		if p.leaving {
			return false
		}
		p.send(msg, p.shard.current)
		return true
	}
	p.across(msg)
	return true
}

// SendPayload sends a copy of payload as one message, with the header that
// Options.Format writes. Errors: ENOMEM when private memory is used up, EMSGSIZE
// when the header cannot express the length or the message exceeds MaxMessage,
// ErrUnsupported when the Format writes no headers. Then nothing was sent.
func (p *Psock) SendPayload(payload []byte) error {
	var msg sgmsg.Message
	if err := p.mux.frame(p.shard.loop, &msg, payload); err != nil {
		return err
	}
	p.Send(&msg)
	return nil
}

// local reports whether the caller is on the connection's loop. A lent message
// says so itself; only for others the system is asked.
func (p *Psock) local(msg *sgmsg.Message) bool {
	return msg.Origin() == p.shard.origin || p.shard.loop.OnThread()
}

// send queues the message on the stream and makes the producer wait if that was
// too much. Loop's thread. producer is the connection whose message caused it,
// if any.
func (p *Psock) send(msg *sgmsg.Message, producer *Psock) {
	n := msg.Len()
	if n == 0 {
		msg.Release()
		return
	}
	if err := p.stream.Send(msg); err != nil {
		p.refuse(msg, err)
		return
	}
	st := &p.shard.stats
	st.txMessages++
	st.txBytes += uint64(n)
	if p.mux.opt.OnLost != nil {
		p.sends.add(n, p.stream.Written())
	}
	if p.stream.Overdrawn() {
		p.overdrawn.Store(true)
		p.stream.Await(&p.waiter)
		if producer != nil {
			p.charge(producer)
		}
	}
}

// refuse reports a message that was not queued.
func (p *Psock) refuse(msg *sgmsg.Message, err error) {
	p.mux.lostDirect.Add(1)
	if f := p.mux.opt.OnLost; f != nil {
		f(p, msg, err)
	}
	if msg.Live() {
		msg.Release()
	}
}

// charge makes producer wait for our out queue. Loop's thread; the producer may
// be another loop's, then it holds already.
func (p *Psock) charge(producer *Psock) {
	if slices.Contains(p.debtors, producer) {
		if producer.shard != p.shard { // one hold a debt
			producer.shard.loop.Post(producer.unhold)
		}
		return
	}
	p.debtors = append(p.debtors, producer)
	if producer.shard == p.shard {
		producer.hold()
	}
}

// drained lets the producers go on: half the limit is free again, or the
// connection has ended. Loop's thread.
func (p *Psock) drained() {
	p.overdrawn.Store(false)
	debtors := p.debtors
	p.debtors = nil
	for _, q := range debtors {
		if q.shard == p.shard {
			q.unhold()
		} else {
			q.shard.loop.Post(q.unhold)
		}
	}
}

// across sends from another goroutine, or from another loop's handler, whose
// connection then waits if ours has too much to send.
func (p *Psock) across(msg *sgmsg.Message) {
	producer := p.mux.producer()
	n := int64(msg.Len())
	m := msg.Take()
	if p.posted.Add(n) > int64(p.shard.loop.Options().SendHard) {
		p.posted.Add(-n)
		p.refuse(m, errPosted)
		p.onLoop(func() { p.leave(errPosted, false) })
		return
	}
	if producer != nil && (p.overdrawn.Load() || p.posted.Load() > int64(p.shard.loop.Options().SendSoft)) {
		producer.hold()
	} else {
		producer = nil
	}
	ok := p.shard.loop.Post(func() {
		p.posted.Add(-n)
		p.send(m, nil)
		if producer == nil {
			return
		}
		if p.stream.Overdrawn() {
			p.charge(producer)
		} else {
			producer.shard.loop.Post(producer.unhold)
		}
	})
	if !ok {
		p.posted.Add(-n)
		if producer != nil {
			producer.unhold() // its loop is the one we are on
		}
		p.refuse(m, ErrClosed)
	}
}

// producer returns the connection whose handler the caller is in, if any.
func (m *Mux) producer() *Psock {
	for _, sh := range m.shards {
		if sh.loop.OnThread() {
			return sh.current
		}
	}
	return nil
}

// frame appends header and payload to msg in one buffer of al.
func (m *Mux) frame(l *ring.Loop, msg *sgmsg.Message, payload []byte) error {
	head := m.opt.Format.HeaderLen()
	b, err := msg.Reserve(l, head, len(payload))
	if err != nil {
		return err
	}
	copy(b, payload)
	var hdr [64]byte
	h := hdr[:]
	if head > len(h) {
		h = make([]byte, head)
	}
	k, err := m.opt.Format.PutHeader(h, len(payload))
	if err == nil && k+len(payload) > m.opt.MaxMessage {
		err = errTooLong
	}
	if err == nil {
		err = msg.Prepend(l, h[:k])
	}
	if err != nil {
		msg.Reset()
	}
	return err
}

// sendLog remembers where in the stream each queued message ends, so that it can
// be said which ones were accepted by the kernel and which were lost.
type sendLog struct {
	ends   []uint64 // stream positions, ascending
	head   int      // first one not known to be accepted
	queued uint64   // bytes queued since the connection began
}

func (g *sendLog) add(n int, written uint64) {
	for g.head < len(g.ends) && g.ends[g.head] <= written {
		g.head++
	}
	switch {
	case g.head == len(g.ends):
		g.ends, g.head = g.ends[:0], 0
	case g.head >= 64 && g.head*2 >= len(g.ends):
		g.ends = g.ends[:copy(g.ends, g.ends[g.head:])]
		g.head = 0
	}
	g.queued += uint64(n)
	g.ends = append(g.ends, g.queued)
}

// lost reports what the kernel did not accept, message by message.
func (g *sendLog) lost(p *Psock, rest *sgmsg.Message, err error, st *Stats) {
	at := p.stream.Written()
	off := 0
	for _, end := range g.ends[g.head:] {
		if end <= at {
			continue
		}
		n := int(end - at)
		at = end
		st.LostMessages++
		var part sgmsg.Message
		if rest.Clone(&part, off, n) == nil {
			p.mux.opt.OnLost(p, &part, err)
			part.Reset()
		}
		off += n
	}
}
