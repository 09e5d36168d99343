package mux

import (
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// passing is what a loop has of messages on their way to the workers.
//
//	message -> filling -> sealed, sealed, ... -> steer.push
//	           (one connection's)     (of this turn)
//
// With the policy Idle bursts are handed over at the end of the turn, together; with FIFO
// at the end of the callback, because a socket is bound until then. Loop's thread.
type passing struct {
	pool           burstPool
	filling        *burst
	newest, oldest *burst
	charge         int64 // of sealed bursts, Idle
	now            time.Duration
	hooked         bool
}

// pass gives a message to the workers; if there is no room the message is parked
// and its connection paused. Loop's thread.
func (p *Psock) pass(msg *sgmsg.Message) {
	sh := p.shard
	ps := &sh.passing
	if p.flow == &noFlow {
		p.flow = new(flow)
	}
	if b := ps.filling; b != nil && (b.psock != p || len(b.lens) == maxBurst) {
		sh.seal(bound)
	}
	if !sh.room(p) {
		sh.park(p, msg)
		return
	}
	b := ps.filling
	if b == nil {
		b = sh.fill(p)
	}
	b.add(msg)
}

// fill begins a burst.
func (sh *shard) fill(p *Psock) *burst {
	ps := &sh.passing
	if ps.now == 0 {
		ps.now = sh.mux.steer.clock()
		sh.hook()
	}
	b := ps.pool.get()
	b.psock, b.socket, b.arrived = p, p.flow.bound, ps.now
	ps.filling = b
	return b
}

// room reports whether a message of p may be queued; for FIFO p is bound to a socket
// that has room then.
func (sh *shard) room(p *Psock) bool {
	st, ps := sh.mux.steer, &sh.passing
	if st.stuffed(p) {
		return false
	}
	var filling int64
	if b := ps.filling; b != nil {
		filling = int64(b.charge)
	}
	if !st.fifo {
		return !st.crowded.Load() && st.shared.charge.Load()+ps.charge+filling < st.limit
	}
	for {
		if p.flow.bound == nil {
			if p.flow.bound = st.bind(); p.flow.bound == nil {
				return false
			}
		}
		if p.flow.bound.own.charge.Load()+filling < p.flow.bound.limit {
			return true
		}
		sh.unbind(p, refused)
		filling = 0
	}
}

// unbind ends the binding of p to a socket, with the messages it has been given last.
func (sh *shard) unbind(p *Psock, how unbinding) {
	if sh.passing.filling == nil {
		sh.fill(p) // an empty one says so
	}
	sh.seal(how)
	p.flow.bound = nil
	sh.handOver()
}

// seal ends the burst that is being filled.
func (sh *shard) seal(how unbinding) {
	ps := &sh.passing
	b := ps.filling
	ps.filling = nil
	b.unbind = how
	if n := len(b.lens); n > 0 {
		p := b.psock
		p.flow.owed.Add(int64(n))
		if p.order != nil {
			b.first = p.order.issue(n)
		}
		if sh.loop.Short() {
			_ = sh.loop.Unpin(&b.msg) // without memory it stays where it is
		}
	}
	if sh.mux.opt.Timestamps {
		b.queued = sh.mux.steer.clock()
	}
	switch {
	case b.socket != nil:
		b.socket.own.charge.Add(int64(b.charge))
	case !b.parked:
		ps.charge += int64(b.charge)
	}
	b.next, ps.newest = ps.newest, b
	if ps.oldest == nil {
		ps.oldest = b
	}
}

// hook has turnEnds called.
func (sh *shard) hook() {
	if !sh.passing.hooked {
		sh.passing.hooked = true
		sh.loop.EachTurn(sh.turnEnds)
	}
}

// turnEnds is called at the end of each turn, until the last connection has gone: the
// loop may outlive the Mux.
func (sh *shard) turnEnds() (again bool) {
	sh.handOver()
	if st := sh.mux.steer; st.watched.Load() {
		st.relieve(st.clock())
	}
	sh.sendTurnEnds()
	sh.passing.hooked = len(sh.psocks) > 0
	return sh.passing.hooked
}

// handOver pushes what is sealed.
func (sh *shard) handOver() {
	ps := &sh.passing
	if ps.filling != nil {
		sh.seal(bound)
	}
	ps.now = 0
	if ps.newest == nil {
		return
	}
	st := sh.mux.steer
	if ps.charge != 0 {
		st.shared.charge.Add(ps.charge)
	}
	newest, oldest := ps.newest, ps.oldest
	ps.newest, ps.oldest, ps.charge = nil, nil, 0
	if st.push(newest, oldest) && st.scarce.Load() {
		sh.loop.Yield()
	}
}

// park makes p wait with a message for which there is no room: it is paused, and goes
// on when the message has been admitted.
func (sh *shard) park(p *Psock, msg *sgmsg.Message) {
	if sh.passing.filling != nil {
		sh.seal(bound)
	}
	b := sh.fill(p)
	b.parked, b.socket = true, nil
	b.add(msg)
	if p.flow.resume.Run == nil {
		p.flow.resume.Run = p.unhold
	}
	sh.stats.parks++
	p.hold()
	sh.seal(bound)
	sh.handOver()
}

// callbackEnds is called after each ready callback of p. In the delivery phase of a turn
// (not from a task before it) the hook of handOver is still to come.
func (sh *shard) callbackEnds(p *Psock, delivery bool) {
	switch {
	case p.flow.bound != nil:
		sh.unbind(p, ended)
	case sh.passing.filling == nil && sh.passing.newest == nil:
	case !delivery:
		sh.handOver()
	}
}

// unpark lets a parked connection go on. Any goroutine.
func (p *Psock) unpark() { p.shard.loop.PostTask(&p.flow.resume) }

// settle notes that n messages passed to the workers have been handled. Any
// goroutine.
func (p *Psock) settle(n int) {
	if p.flow.owed.Add(-int64(n)) == 0 && p.flow.lingers.CompareAndSwap(true, false) {
		p.shard.loop.Post(p.goOn) // a closed loop has ended its connections
	}
}

// afterWork runs fn once every message of p that was passed to the workers has been
// handled: now if there is none. p delivers no more messages. Loop's thread.
func (p *Psock) afterWork(fn func()) {
	if p.side.later != nil { // it ends already
		return
	}
	p.ownSide().later = fn
	if p.shard.current != p { // else the present message may be passed as well: guard sees to it
		p.awaitWork()
	}
}

// awaitWork runs later when nothing is owed. p passes no more messages. Loop's thread.
func (p *Psock) awaitWork() {
	if b := p.shard.passing.filling; b != nil && b.psock == p {
		p.shard.seal(bound)
	}
	if p.flow == &noFlow {
		p.goOn()
		return
	}
	p.flow.lingers.Store(true)
	if p.flow.owed.Load() == 0 && p.flow.lingers.CompareAndSwap(true, false) {
		p.goOn()
	}
}

func (p *Psock) goOn() {
	if fn := p.side.later; fn != nil {
		p.side.later = nil
		fn()
	}
}
