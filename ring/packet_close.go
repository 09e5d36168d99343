package ring

import (
	"github.com/kcm-go/kcm/ring/internal/backend"
)

// Close ends the endpoint at once: what is queued is lost, and counted as dropped. Closing
// a closing endpoint does nothing.
func (p *Packet) Close(cause error) { p.end(cause) }

// Drain ends the endpoint after what is queued has been sent, or when nothing of it could be
// for Options.Linger and the rest is lost; datagrams that still arrive are discarded.
func (p *Packet) Drain(cause error) {
	if p.state >= draining {
		return
	}
	p.state, p.cause = draining, cause
	p.rest()
	p.cancel(backend.OpRecvMsg)
	if p.out.n == 0 {
		p.end(cause)
		return
	}
	p.loop.StartTimer(&p.linger, p.loop.opt.Linger, p)
}

// rest ends the receiving: nothing is told any more.
func (p *Packet) rest() {
	l := p.loop
	l.packets[packetReady].remove(p)
	l.packets[packetStarved].remove(p)
	for _, e := range p.got {
		e.Buf.Release()
	}
	p.got = p.got[:0]
	p.sick = false
}

func (p *Packet) cancel(op backend.Op) {
	if p.ops&bit(op) != 0 && p.ending&bit(op) == 0 {
		p.ending |= bit(op)
		p.loop.be.Cancel(p.key(op))
	}
}

// end starts the closing: no callback but Closed comes after it, and that comes when the
// last operation in flight has ended.
func (p *Packet) end(cause error) {
	if p.state >= closing {
		return
	}
	l := p.loop
	p.countLost()
	p.state, p.cause = closing, cause
	p.rest()
	l.packets[packetDirty].remove(p)
	l.packets[packetStuck].remove(p)
	l.StopTimer(&p.pause)
	l.StopTimer(&p.linger)
	p.cancel(backend.OpRecvMsg)
	p.cancel(backend.OpPoll)
	if p.ops == 0 {
		l.packets[packetDying].push(p)
	}
}

// bury is the last step: nothing is in flight any more.
func (p *Packet) bury() {
	l := p.loop
	p.state = gone
	if p.fd >= 0 {
		_ = l.be.CloseFD(p.fd)
		p.fd = -1
	}
	p.stats.Dropped += uint64(p.out.n)
	l.stats.DatagramsDropped += uint64(p.out.n)
	p.out.drop(p.out.n)
	p.out.items = nil
	l.dismiss(p.id)
	p.h.Closed(p, p.cause)
}

// abandon follows end when the backend has failed and is closed: the operations in flight
// are forgotten.
func (p *Packet) abandon() {
	_ = p.loop.be.CloseFD(p.fd)
	p.fd = -1
	p.loop.packets[packetDying].push(p)
}
