package ring

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// packetQueue holds the datagrams to be sent in a circle that grows up to limit.
type packetQueue struct {
	items []queuedPacket // its length is a power of two
	first int
	n     int
	bytes int
	limit int
}

type queuedPacket struct {
	msg   sgmsg.Message
	route Route
}

// at returns the i-th datagram.
func (q *packetQueue) at(i int) *queuedPacket { return &q.items[(q.first+i)&(len(q.items)-1)] }

func (q *packetQueue) push(m *sgmsg.Message, r *Route) {
	if q.n == len(q.items) {
		items := make([]queuedPacket, max(8, 2*len(q.items)))
		for i := range q.n {
			q.at(i).msg.MoveTo(&items[i].msg)
			items[i].route = q.at(i).route
		}
		q.items, q.first = items, 0
	}
	q.n++
	it := q.at(q.n - 1)
	q.bytes += m.Len()
	m.MoveTo(&it.msg)
	it.route = *r
}

// drop removes the first k.
func (q *packetQueue) drop(k int) {
	for range k {
		it := q.at(0)
		q.bytes -= it.msg.Len()
		it.msg.Reset()
		it.route = Route{}
		q.first = (q.first + 1) & (len(q.items) - 1)
		q.n--
	}
}

// SendTo is Send to an address.
func (p *Packet) SendTo(m *sgmsg.Message, to netip.AddrPort) error {
	return p.Send(m, &Route{To: to})
}

// Send queues the message as one datagram; its content moves and m is gone. It never
// blocks. The datagram leaves with the next turn, together with everything queued by
// then; r is read by the call only; nil is the
// zero Route. On error m is still the caller's: ErrClosed,
// ENOBUFS when the queue is full (Sendable tells when it no longer is), EMSGSIZE when no
// datagram can be so long or m has more than 64 pieces. What goes wrong later is told by
// PacketError, and the datagram is lost.
func (p *Packet) Send(m *sgmsg.Message, r *Route) error {
	switch n := m.Len(); {
	case p.state != open_:
		return ErrClosed
	case p.out.n >= p.opt.QueueCount || p.out.n > 0 && p.out.bytes+n > p.opt.QueueBytes:
		p.refused = true
		return errPacketQueue
	case n > joinedBytes && (p.family == syscall.AF_INET || p.family == syscall.AF_INET6 && n > joinedBytes+20), m.Used() > backend.MaxVector:
		return errPacketLong
	}
	if r == nil {
		r = &Route{}
	}
	p.out.push(m, r)
	p.wantSend()
	return nil
}

var (
	errPacketQueue error = fmt.Errorf("send: the queue of datagrams is full: %w", syscall.ENOBUFS)
	errPacketLong  error = fmt.Errorf("send: no datagram can be like this: %w", syscall.EMSGSIZE)
)

// Queued returns how many datagrams wait to be sent, and their bytes.
func (p *Packet) Queued() (datagrams, bytes int) { return p.out.n, p.out.bytes }

func (p *Packet) wantSend() {
	if p.out.n > 0 && p.ops&bit(backend.OpPoll) == 0 && !p.pause.Armed() && p.state < closing {
		p.loop.packets[packetDirty].push(p)
	}
}

// spaced is called when the socket may have write space. An error in its queue says so as
// well, and would go on saying so.
func (p *Packet) spaced() {
	l := p.loop
	l.packets[packetStuck].remove(p)
	p.vain = true // if the next send is refused as well
	switch p.state {
	case open_:
		p.sick = true
		l.packets[packetReady].push(p)
	case draining:
		p.absorb(nil)
	}
	p.wantSend()
}

// packetScratch is what one SendMsgs needs, shared by the endpoints of a loop.
type packetScratch struct {
	out    [backend.MaxDatagrams]backend.Datagram
	counts [backend.MaxDatagrams]int // datagrams in each
	vec    [backend.MaxPieces]sgmsg.Element
}

// transmit sends what is queued.
func (p *Packet) transmit() {
	l := p.loop
	if l.packetOut == nil {
		l.packetOut = new(packetScratch)
	}
	s := l.packetOut
	left := p.out.n
	for left > 0 && p.out.n > 0 && p.state < closing {
		n := p.gather(s, left)
		p.stats.Calls++
		done, errno := l.be.SendMsgs(p.fd, s.out[:n])
		if done > 0 {
			left -= p.taken(s, done)
			if done < n {
				p.absorb(nil) // the system may have had to tell an error, and does so once
			}
		} else if errno == syscall.EAGAIN {
			p.awaitSpace()
			break
		} else {
			left -= p.unsent(s, errno)
		}
	}
	if p.state == open_ && p.refused && p.out.n <= p.opt.QueueCount/2 && p.out.bytes <= p.opt.QueueBytes/2 {
		p.refused = false
		p.h.Sendable(p)
	}
	if p.state == draining && p.out.n == 0 {
		p.end(p.cause)
	}
	p.wantSend()
}

// gather lays out the first of the queue, at most most datagrams, for one SendMsgs and
// returns its length.
func (p *Packet) gather(s *packetScratch, most int) int {
	n, pieces, limit := 0, 0, backend.MaxDatagrams
	if p.opt.NoBatch {
		limit = 1
	}
	for i := 0; i < most && n < limit; {
		it := p.out.at(i)
		first := pieces
		if pieces+it.msg.Used() > len(s.vec) {
			break
		}
		pieces = appendPieces(s, pieces, &it.msg)
		size, total, k := it.msg.Len(), it.msg.Len(), 1
		if i >= p.alone && size > 0 && size <= p.split {
			for last := size; last == size && k < backend.MaxSegments && i+k < most; k++ {
				next := p.out.at(i + k)
				last = next.msg.Len()
				if last == 0 || last > size || total+last > joinedBytes || pieces+next.msg.Used() > len(s.vec) || next.route != it.route {
					break
				}
				total += last
				pieces = appendPieces(s, pieces, &next.msg)
			}
		}
		d := &s.out[n]
		p.lead(d, &it.route)
		d.Vec, d.Segment = s.vec[first:pieces], 0
		if k > 1 {
			d.Segment = size
		}
		s.counts[n] = k
		n++
		i += k
	}
	return n
}

func appendPieces(s *packetScratch, at int, m *sgmsg.Message) int {
	for i := range m.Used() {
		s.vec[at] = m.Elem(i)
		at++
	}
	return at
}

// lead fills in where a datagram goes, as a socket of this family wants it.
func (p *Packet) lead(d *backend.Datagram, r *Route) {
	d.To = backend.Addr{IP: r.To, Path: r.Path}
	d.From, d.Interface, d.TOS, d.Six = r.From, r.Interface, r.TOS, false
	if p.family != syscall.AF_INET6 {
		return
	}
	d.Six = true
	if r.To.Addr().Is4() {
		d.To.IP = netip.AddrPortFrom(netip.AddrFrom16(r.To.Addr().As16()), r.To.Port())
	}
	if r.From.Is4() {
		d.From = netip.AddrFrom16(r.From.As16())
	}
}

// taken counts the first pieces that the system took and drops them from the queue. It
// returns how many datagrams they were.
func (p *Packet) taken(s *packetScratch, done int) int {
	l := p.loop
	k := 0
	for i := range done {
		k += s.counts[i]
		if s.counts[i] > 1 {
			p.stats.Split++
		}
	}
	before := p.out.bytes
	p.out.drop(k)
	p.alone = max(p.alone-k, 0)
	p.retried, p.vain, p.futile = false, false, 0
	if p.doubt.size > 0 {
		p.learn()
	}
	if p.state == draining {
		l.StartTimer(&p.linger, l.opt.Linger, p)
	}
	p.stats.Out += uint64(k)
	p.stats.BytesOut += uint64(before - p.out.bytes)
	l.stats.DatagramsOut += uint64(k)
	l.stats.BytesOut += uint64(before - p.out.bytes)
	return k
}

// unsent does something about a datagram that was refused, and returns how many left the
// queue. Several in one piece are tried by themselves, and a single one is tried once
// more: the socket may have told of an earlier one.
func (p *Packet) unsent(s *packetScratch, errno syscall.Errno) int {
	if s.counts[0] > 1 {
		p.alone, p.doubt = s.counts[0], doubt{s.out[0].Segment, errno}
		p.absorb(nil)
		return 0
	}
	it := p.out.at(0)
	e := PacketError{Errno: errno, To: it.route.To, Path: it.route.Path, Unsent: true}
	p.absorb(&e)
	if p.state >= closing {
		return 0
	}
	if !p.retried {
		p.retried = true
		return 0
	}
	p.lose()
	if p.state == open_ {
		p.tellError(&e)
	}
	return 1
}

// lose drops the first datagram of the queue.
func (p *Packet) lose() {
	p.out.drop(1)
	p.alone, p.retried, p.doubt = max(p.alone-1, 0), false, doubt{}
	p.stats.Dropped++
	p.loop.stats.DatagramsDropped++
}

// doubt is a refusal of several datagrams in one piece. If the first of them then is sent by
// itself it was for being in one piece; if not, they would not be sent in any way, and nothing
// is known.
type doubt struct {
	size  int // of each; 0: there is none
	errno syscall.Errno
}

// learn settles the doubt: the datagrams can be sent, but not in one piece.
func (p *Packet) learn() {
	size, errno := p.doubt.size, p.doubt.errno
	p.doubt = doubt{}
	switch errno {
	case syscall.EIO, syscall.EOPNOTSUPP, syscall.ENOPROTOOPT:
		p.noSplit(0, fmt.Sprintf("each datagram is sent by itself: the system refused several in one piece: %v", errno))
	case syscall.EINVAL, syscall.EMSGSIZE: // longer than the MTU they may be sent, but not so
		p.noSplit(size-1, fmt.Sprintf("each datagram of %d bytes and more is sent by itself: the system refused several in one piece: %v", size, errno))
	}
}

// noSplit lowers the size of datagrams that are sent in one piece.
func (p *Packet) noSplit(size int, why string) {
	if size < p.split {
		if p.split == joinedBytes || size == 0 {
			p.notes = append(p.notes, why)
		}
		p.split = size
	}
}

// absorb empties the error queue after a send has failed. What it says of that datagram
// is added to e, the rest is told. If there is much in it that is left to diagnose.
func (p *Packet) absorb(e *PacketError) {
	var q PacketError
	for n := 0; n <= maxErrors && !p.sick && p.state < closing && p.nextError(&q); n++ {
		if n == maxErrors && p.state == open_ {
			p.sick = true
			p.loop.packets[packetReady].push(p)
		}
		switch {
		case !q.ICMP && q.Errno == syscall.EMSGSIZE:
			if e != nil && e.Errno == q.Errno {
				e.MTU, e.Offender = q.MTU, q.Offender
				if !e.To.IsValid() {
					e.To = q.To
				}
			}
		case p.state == open_:
			p.tellError(&q)
		}
	}
}

// awaitSpace waits until the socket has room. Not every full socket can be waited for: that
// of a unix socket's peer is full, and Poll says only whether the socket itself is, unless
// the two are connected. When a Poll was in vain the next attempt is that of a timer.
func (p *Packet) awaitSpace() {
	l := p.loop
	l.packets[packetStuck].push(p)
	if p.vain {
		p.vain = false
		l.StartTimer(&p.pause, packetPause, p)
		return
	}
	p.ops |= bit(backend.OpPoll)
	l.be.Poll(p.key(backend.OpPoll), p.fd)
}

// packetPause is how long a full socket is left alone that cannot be waited for.
const packetPause = time.Millisecond

// Expire implements Expirer.
func (p *Packet) Expire(t *Timer) {
	if t == &p.linger {
		p.end(p.cause)
		return
	}
	p.loop.packets[packetStuck].remove(p)
	p.wantSend()
}

// compact copies what waits out of the receive buffers. Where private memory is used up
// as well, the oldest datagram is lost: others can be received for it.
func (p *Packet) compact() {
	l := p.loop
	for i := range p.out.n {
		m := &p.out.at(i).msg
		if !pins(m, l.mem.recv) {
			continue
		}
		if m.Compact(l.mem.recv, l.mem.spill) != nil {
			p.lose()
			return
		}
		l.stats.Evicted++
	}
}
