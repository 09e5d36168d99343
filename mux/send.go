package mux

import (
	"context"
	"fmt"
	"slices"

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
	if !p.local(msg) {
		p.across(msg)
		return
	}
	if p.inline && p.shard.current == p {
		msg.MoveTo(&p.order.inline)
		return
	}
	p.send(msg, p.shard.current)
}

// TrySend is Send unless the out queue is over its limit or the connection is
// ending: then it reports false and msg is still the caller's.
func (p *Psock) TrySend(msg *sgmsg.Message) bool {
	ok, err := p.trySend(msg)
	return ok && err == nil
}

// trySend is TrySend that tells why: an error if waiting is no use.
func (p *Psock) trySend(msg *sgmsg.Message) (ok bool, err error) {
	switch {
	case p.dead.Load():
		return false, ErrClosed
	case p.crowded():
		return false, nil
	case !p.local(msg):
		return true, p.push(msg, p.mux.producer())
	case p.leaving && p.side.later == nil, p.stream.Failed() != nil:
		return false, ErrClosed
	}
	p.Send(msg)
	return true, nil
}

// SendWait is Send that first waits for room in the out queue, until ctx ends: for
// producers that are no connection, which nothing else slows down. On error msg is
// still the caller's: ctx.Err, ErrClosed when the connection has ended or is ending,
// ENOBUFS when that is because of what was sent before, EDEADLK on a loop's thread, where
// room could never come.
func (p *Psock) SendWait(ctx context.Context, msg *sgmsg.Message) error {
	if p.mux.onThread() {
		return fmt.Errorf("send: %w", ErrDeadlock)
	}
	for {
		ok, err := p.trySend(msg)
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if ok {
			return nil
		}
		room := make(chan struct{})
		if !p.shard.loop.Post(func() { p.callWhenRoom(room) }) {
			return fmt.Errorf("send: %w", ErrClosed)
		}
		select {
		case <-room:
		case <-ctx.Done():
			p.shard.loop.Post(func() { p.forgetRoom(room) })
			return ctx.Err()
		}
	}
}

// callWhenRoom closes ch when the out queue is within its limit. Loop's thread.
func (p *Psock) callWhenRoom(ch chan struct{}) {
	if p.dead.Load() || !p.stream.Overdrawn() {
		close(ch)
		return
	}
	p.watch()
	x := p.ownSide()
	x.waiting = append(x.waiting, ch) // if the connection is ending, Closed lets them go
}

// forgetRoom takes callWhenRoom back. Loop's thread.
func (p *Psock) forgetRoom(ch chan struct{}) {
	x := p.side
	if i := slices.Index(x.waiting, ch); i >= 0 {
		x.waiting = slices.Delete(x.waiting, i, i+1)
	}
}

// watch sees to it that drained is called when the out queue, if it is over its
// limit, is no longer; it reports whether drained is going to be called. Loop's thread.
func (p *Psock) watch() bool {
	if !p.stream.Overdrawn() {
		return false
	}
	x := p.ownSide()
	if x.waiter.Wake == nil {
		x.waiter.Wake = p.drained
	}
	if p.stream.Await(&x.waiter) {
		p.overdrawn.Store(true)
	}
	return p.stream.Overdrawn() && p.overdrawn.Load() // else the connection is ending
}

// crowded reports whether more waits to be sent than should. Any goroutine.
func (p *Psock) crowded() bool {
	return (p.overdrawn.Load() || p.stream.Crowded()) && !p.dead.Load()
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
	if p.watch() && producer != nil {
		p.charge(producer)
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

// charge makes producer wait for our out queue. Loop's thread.
func (p *Psock) charge(producer *Psock) {
	x := p.ownSide()
	if slices.Contains(x.debtors, producer) {
		return
	}
	x.debtors = append(x.debtors, producer)
	producer.onLoop(producer.hold)
}

// drained lets those who wait go on: half the limit is free again, or the connection
// has ended. Loop's thread.
func (p *Psock) drained() {
	p.overdrawn.Store(false)
	p.unbar()
	debtors := p.side.debtors
	p.side.debtors = nil
	for _, q := range debtors {
		q.onLoop(q.unhold)
	}
	p.letGo()
}

// letGo wakes those who wait in SendWait. Loop's thread.
func (p *Psock) letGo() {
	x := p.side
	if x.waiting == nil {
		return
	}
	for _, ch := range x.waiting {
		close(ch)
	}
	x.waiting = nil
}

// across sends from another goroutine, or from a handler on another loop, whose
// connection then waits if ours has too much to send.
func (p *Psock) across(msg *sgmsg.Message) { p.pushFrom(msg, p.mux.producer()) }

// pushFrom sends from any goroutine. producer is the connection that is made to wait
// if that was too much, if any.
func (p *Psock) pushFrom(msg *sgmsg.Message, producer *Psock) {
	if err := p.push(msg, producer); err != nil {
		p.refuse(msg, err)
	}
}

// push is pushFrom that leaves the message to the caller if it is refused.
func (p *Psock) push(msg *sgmsg.Message, producer *Psock) error {
	n := msg.Len()
	if n == 0 {
		msg.Release()
		return nil
	}
	if p.dead.Load() {
		return ErrClosed
	}
	if err := p.stream.Push(msg); err != nil {
		return err
	}
	p.mux.sent.messages.Add(1)
	p.mux.sent.bytes.Add(uint64(n))
	if producer != nil && p.crowded() {
		p.bill(producer)
	}
	return nil
}

// bill has the producer charged by our loop. A producer on its own thread stops
// meanwhile, so that it cannot run away.
func (p *Psock) bill(producer *Psock) {
	here := producer.shard != p.shard && producer.shard.loop.OnThread()
	if here {
		producer.hold()
	} else if !producer.billed.CompareAndSwap(false, true) {
		return // it is about to be stopped
	}
	ok := p.shard.loop.Post(func() {
		if p.watch() {
			p.charge(producer)
		}
		if here {
			producer.onLoop(producer.unhold)
		} else {
			producer.billed.Store(false)
		}
	})
	switch {
	case ok:
	case here:
		producer.unhold()
	default:
		producer.billed.Store(false)
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
func (m *Mux) frame(l sgmsg.Allocator, msg *sgmsg.Message, payload []byte) error {
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
