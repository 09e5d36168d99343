package mux

import (
	"sync/atomic"

	"github.com/kcm-go/kcm/ring"
)

// flow is a connection to the steering, made when it passes its first message: at most steer.cap readers are at work on it at a
// time, each with a slot, which it keeps from burst to burst. A burst that may start
// has a slot too; those that find none wait in the backlog, by order of admission.
//
//	             a slot is free                    taken by a reader
//	admitted ----------------------> in a queue --------------------> being read
//	    |                               ^   | barred                      |
//	    |  none is, or barred           |   v                             | barred
//	    +----------------------------> backlog <--------------------------+
//
// What is in a backlog is not charged to a queue but to its flow: a slow flow fills its
// own backlog, is parked, and keeps nobody else from being queued.
//
// A flow whose replies are not taken is barred: nothing of it starts, so that one message
// may cross a limit and no more. It is let in again when there is room for replies.
type flow struct {
	behind  atomic.Int64 // charged to the backlog
	gate    atomic.Uint32
	next    *Psock      // in steer.freed, with gateFreed
	over    atomic.Bool // a Work function returned End: no more messages are handled
	looking atomic.Bool // look is posted
	look    ring.Task   // has the loop see to it that the flow is let in
	resume  ring.Task   // ends the pause of a parked connection
	bound   *Socket     // FIFO: who gets the messages of this callback; loop's thread

	// Under steer.mu.
	admitted uint64    // messages so far
	slots    int       // readers at work, and bursts that may start
	backlog  burstList // bursts that wait for a slot; the last may be parked

	// Written by the loop and by readers for each burst: away from what they read.
	owed    atomic.Int64 // messages passed and not handled
	lingers atomic.Bool  // side.later is to run when owed is 0
}

// noFlow stands for that of a connection that has passed nothing. It is never written to.
var noFlow flow

// A flow's gate is shut by bars and opened by admitFreed, both under steer.mu; unbar, which
// anybody may call, asks for the latter.
const (
	gateOpen   uint32 = iota
	gateBarred        // nothing of the flow starts
	gateFreed         // likewise, but it is in steer.freed
)

// blank reports whether nothing is set, as far as anything would use it.
func (f *flow) blank() bool {
	return f.behind.Load() == 0 && f.gate.Load() == gateOpen && f.owed.Load() == 0 && !f.lingers.Load() && f.next == nil &&
		!f.over.Load() && !f.looking.Load() && f.look.Run == nil && f.resume.Run == nil && f.bound == nil &&
		f.admitted == 0 && f.slots == 0 && f.backlog == burstList{}
}

// spare returns how many more messages of p may start at a time.
func (st *steer) spare(p *Psock) int {
	if p.flow.gate.Load() != gateOpen {
		return 0
	}
	return st.cap - p.flow.slots
}

// stuffed reports whether p has to park rather than add to its backlog. Any goroutine.
func (st *steer) stuffed(p *Psock) bool {
	n := p.flow.behind.Load()
	return n >= st.flowLimit || n > 0 && st.behind.Load() >= st.limit
}

// shelve puts a burst that has no slot, and is charged to no queue, in its backlog. One
// that was there or in a queue before has its old place.
func (st *steer) shelve(b *burst) {
	p := b.psock
	if b.seq == 0 {
		st.number(b)
	}
	n := int64(b.charge)
	p.flow.behind.Add(n)
	st.behind.Add(n)
	st.waiting += b.rest()
	p.flow.backlog.insert(b)
}

// unshelve takes the first burst of a backlog, nil if there is none. Its connection goes
// on if it is parked and half of its backlog is free.
func (st *steer) unshelve(p *Psock) *burst {
	f := p.flow
	b := f.backlog.pop()
	if b == nil {
		return nil
	}
	n := int64(b.charge)
	f.behind.Add(-n)
	st.behind.Add(-n)
	st.waiting -= b.rest()
	switch last := f.backlog.tail; {
	case b.parked:
		st.unpark(b)
	case last != nil && last.parked && f.behind.Load()-int64(last.charge) <= st.flowLimit/2 && st.behind.Load() < st.limit:
		st.unpark(last)
	}
	return b
}

// admitToFlow takes a burst from the inbox whose flow has no slot for it.
func (st *steer) admitToFlow(q *queue, b *burst) {
	switch {
	case !b.parked:
		q.charge.Add(-int64(b.charge))
	case !st.stuffed(b.psock):
		st.unpark(b)
	}
	st.shelve(b)
}

// free gives back a slot of a flow, to its own backlog first.
func (st *steer) free(p *Psock) {
	p.flow.slots--
	st.fill(p)
}

// fill gives free slots to the backlog.
func (st *steer) fill(p *Psock) {
	for st.spare(p) > 0 {
		b := st.unshelve(p)
		if b == nil {
			return
		}
		p.flow.slots++
		switch {
		case st.closed:
			st.drop(b)
		case st.fifo && (b.socket == nil || b.socket.shut()):
			st.rehome(b)
		default:
			q := st.queueOf(b)
			q.charge.Add(int64(b.charge))
			q.resumed.push(b)
		}
	}
}

// first returns the burst of a queue whose turn it is and whose flow is not barred.
func (st *steer) first(q *queue) *burst {
	for b := q.head(); b != nil; b = q.head() {
		if !st.bars(b) {
			return b
		}
		q.remove(b)
		b.psock.flow.slots--
		n := int64(b.charge)
		st.shelve(b)
		st.relax(q, b.socket, q.charge.Add(-n))
	}
	return nil
}

// bars reports whether the next message of b may not start because too much waits to be
// sent. From then on nothing of its flow starts until somebody calls unbar.
func (st *steer) bars(b *burst) bool {
	if !b.full() {
		return false
	}
	p := b.psock
	f := p.flow
	// Who makes room does so first and looks at the gate second; we the other way round.
	shut := f.gate.CompareAndSwap(gateOpen, gateBarred)
	crowded := p.crowded()
	if !crowded && !b.early() {
		if shut {
			f.gate.CompareAndSwap(gateBarred, gateOpen) // else admitFreed does it
		}
		return false
	}
	if crowded { // what others pushed leaves and nobody is told
		p.lookSoon()
	}
	return true
}

// full reports whether there is a next message and it may not start: too much waits to be
// sent, or it is too early. Any reader of b.
func (b *burst) full() bool { return b.rest() > 0 && b.psock.crowded() || b.early() }

// early reports whether too many replies wait for those to messages before the next one.
// If so, one of these is being handled, or is free to start: its end lets the flow in.
func (b *burst) early() bool {
	p, n := b.psock, int(b.claimed.Load())
	return p.order != nil && n < len(b.lens) && p.order.full(b.first+uint64(n)) && !p.dead.Load()
}

// lookSoon has the loop find out whether the out queue is over its limit, in which case
// drained comes later. If it is not, or not any more, that was all.
func (p *Psock) lookSoon() {
	f := p.flow
	if !f.looking.CompareAndSwap(false, true) {
		return
	}
	if f.look.Run == nil {
		f.look.Run = func() {
			f.looking.Store(false)
			if !p.watch() {
				p.unbar()
			}
		}
	}
	p.shard.loop.PostTask(&f.look) // a closed loop has ended its connections
}

// unbar lets a flow start again. Any goroutine; it does not wait.
func (p *Psock) unbar() {
	f := p.flow
	if f.gate.Load() != gateBarred || !f.gate.CompareAndSwap(gateBarred, gateFreed) {
		return
	}
	st := p.mux.steer
	for {
		h := st.freed.Load()
		f.next = h
		if st.freed.CompareAndSwap(h, p) {
			break
		}
	}
	st.drain()
}

// admitFreed lets in the flows that unbar was called for.
func (st *steer) admitFreed() {
	for p := st.freed.Swap(nil); p != nil; {
		f := p.flow
		next := f.next
		f.next = nil
		f.gate.Store(gateOpen)
		if st.closed {
			for b := st.unshelve(p); b != nil; b = st.unshelve(p) {
				st.discard(b)
			}
		} else {
			st.fill(p)
		}
		p = next
	}
}
