package ringtest

import (
	"math/bits"
	"time"
)

// pipe is one direction of a stream. Positions count bytes since its start:
//
//	head <= arrived <= tail
//	  |  readable |  on its way  |   room: limit - (tail - head)
//
// Bytes on their way are divided into segments, each with a time of arrival.
// The memory is a ring that grows up to the limit.
type pipe struct {
	sim                 *Sim
	src, dst            *socket
	buf                 []byte // its length is a power of two, or 0
	limit               int
	head, arrived, tail uint64
	segs                []segment
	lastAt              time.Duration // when the youngest segment arrives
	fin                 bool          // the end has arrived
	dead                bool          // reset
	tap                 func([]byte)
}

type segment struct {
	end uint64
	fin bool
}

func (p *pipe) readable() int { return int(p.arrived - p.head) }

func (p *pipe) room() int { return max(0, p.limit-int(p.tail-p.head)) }

// put appends b, which fits.
func (p *pipe) put(b []byte) {
	if p.tap != nil {
		p.tap(b)
	}
	if need := int(p.tail-p.head) + len(b); need > len(p.buf) {
		p.grow(need)
	}
	at := p.tail & uint64(len(p.buf)-1)
	n := copy(p.buf[at:], b)
	copy(p.buf, b[n:])
	p.tail += uint64(len(b))
}

func (p *pipe) grow(need int) {
	next := make([]byte, max(512, 1<<bits.Len(uint(need-1))))
	// Every kept byte goes where its position says in the new ring.
	for pos := p.head; pos < p.tail; {
		from := p.buf[pos&uint64(len(p.buf)-1):]
		from = from[:min(uint64(len(from)), p.tail-pos)]
		pos += uint64(copy(next[pos&uint64(len(next)-1):], from))
	}
	p.buf = next
}

// take moves readable bytes to b and returns how many. The sender may then
// have room again.
func (p *pipe) take(b []byte) int {
	n := min(len(b), p.readable())
	if n == 0 {
		return 0
	}
	at := p.head & uint64(len(p.buf)-1)
	k := copy(b[:n], p.buf[at:])
	copy(b[k:n], p.buf)
	p.head += uint64(n)
	p.src.pumpPoll()
	return n
}

// launch sends what was put since from on its way, perhaps in pieces.
func (p *pipe) launch(from uint64, fin bool) {
	for p.tail-from > 1 && p.sim.hit(SplitSegment) {
		from += uint64(p.sim.upTo(int(p.tail-from) - 1))
		p.segment(from, false)
	}
	p.segment(p.tail, fin)
}

func (p *pipe) segment(end uint64, fin bool) {
	s := p.sim
	d := s.latency()
	if s.hit(SlowSegment) {
		d += s.delay()
	}
	// What was sent first arrives first.
	d = max(d, p.lastAt-s.now)
	p.lastAt = s.now + d
	p.segs = append(p.segs, segment{end, fin})
	s.in(d, timer{duty: dutyArrive, pipe: p})
}

// arrive is called once per segment, in order.
func (p *pipe) arrive() {
	if p.dead {
		return
	}
	seg := p.segs[0]
	p.segs = p.segs[:copy(p.segs, p.segs[1:])]
	n := seg.end - p.arrived
	p.arrived = seg.end
	p.fin = p.fin || seg.fin
	p.sim.note(record{what: didArrive, fd: p.dst.shownFD(), a: int64(n), b: b2i(seg.fin)})
	switch {
	case p.dst.closed:
		p.head = p.arrived
		if n > 0 {
			p.dst.sendReset()
		}
	case p.sim.hit(Reset):
		p.dst.sendReset()
		p.src.sendReset()
	default:
		p.dst.pump()
	}
}

// kill forgets what is on its way.
func (p *pipe) kill() {
	p.dead = true
	p.tail = p.arrived
	p.segs = nil
}

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
