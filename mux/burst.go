package mux

import (
	"sync/atomic"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// burst is what one connection passed to the workers in one ready callback: one
// message or many. It is the unit that changes hands, so that the cost of changing
// hands is paid once for all of them:
//
//	msg   |  message 0  | message 1 |    message 2    |     references once per chunk
//	lens      17             12            23
//	claimed ----------> 1: the next one that nobody has started
//
// A loop fills it, the steering queues it, one reader takes it and, if order does not
// forbid it, others join; each claims one message at a time. The last to leave a
// finished burst gives it back to the loop's pool.
type burst struct {
	next    *burst
	psock   *Psock
	socket  *Socket // FIFO: whose queue it is for; nil while it is parked
	msg     sgmsg.Message
	lens    []uint32
	charge  int
	seq     uint64        // order of admission to where it is
	nth     uint64        // number of message 0 among those of its flow, by admission, from 1
	first   uint64        // ordered replies: number of message 0 on its connection
	arrived time.Duration // when the ready callback began, by the loop's clock
	queued  time.Duration // when it was handed over
	claimed atomic.Int32  // messages that have been started

	// Under steer.mu.
	users   int           // readers that claim from it
	started time.Duration // when the last of them joined
	waited  time.Duration // before the first of them came, as recorded
	at      cursor        // of Recv, which takes one message and leaves
	parked  bool          // its connection waits until it is admitted
	unbind  unbinding     // FIFO: the callback has ended, or the socket refused more
}

const (
	maxBurst      = 64  // messages; more make several bursts
	chargeOverMsg = 256 // bytes a message is charged besides its own
)

// cursor is a place in a burst: the beginning of a message.
type cursor struct {
	message int
	element int
	offset  uint32
}

// add appends a message, which is gone afterwards.
func (b *burst) add(m *sgmsg.Message) {
	n := m.Len()
	m.MoveTo(&b.msg)
	b.lens = append(b.lens, uint32(n))
	b.charge += n + chargeOverMsg
}

// carve cuts the burst behind the first message, of those that nobody has started, with
// which they are charged room bytes, and charges them anew. It returns what is behind the
// cut, nil if that is nothing. Under steer.mu, while nobody reads from b.
func (b *burst) carve(room int64) (rest *burst) {
	cut := int(b.claimed.Load())
	b.charge = 0
	for first := cut; cut < len(b.lens) && (cut == first || int64(b.charge) < room); cut++ {
		b.charge += int(b.lens[cut]) + chargeOverMsg
	}
	if cut == len(b.lens) {
		return nil
	}
	rest = &burst{psock: b.psock, lens: make([]uint32, 0, maxBurst), arrived: b.arrived, queued: b.queued, waited: b.waited}
	rest.nth, rest.first = b.nth+uint64(cut), b.first+uint64(cut)
	n := 0
	for _, l := range b.lens[cut:] {
		rest.lens = append(rest.lens, l)
		rest.charge += int(l) + chargeOverMsg
		n += int(l)
	}
	b.lens = b.lens[:cut]
	if err := b.msg.Clone(&rest.msg, b.msg.Len()-n, n); err != nil {
		panic("mux: a part of a burst has more elements than the whole: " + err.Error())
	}
	b.msg.Trim(b.msg.Len() - n)
	return rest
}

// claim starts the next message, if there is one left.
func (b *burst) claim() (i int, ok bool) {
	i = int(b.claimed.Add(1)) - 1
	return i, i < len(b.lens)
}

// rest returns how many messages nobody has started.
func (b *burst) rest() int { return max(0, len(b.lens)-int(b.claimed.Load())) }

// seek moves the cursor forward to message i.
func (b *burst) seek(c *cursor, i int) {
	for ; c.message < i; c.message++ {
		n := b.lens[c.message]
		for n > 0 {
			left := b.msg.Elem(c.element).Len - c.offset
			if n < left {
				c.offset += n
				break
			}
			n -= left
			c.element++
			c.offset = 0
		}
	}
}

// window visits the elements of message i, where the cursor stands; last is set for
// the last one.
func (b *burst) window(c cursor, i int, visit func(e sgmsg.Element, last bool)) {
	n := b.lens[i]
	for n > 0 {
		e := b.msg.Elem(c.element)
		e.Off += c.offset
		e.Len = min(e.Len-c.offset, n)
		n -= e.Len
		c.element++
		c.offset = 0
		visit(e, n == 0)
	}
}

// lend makes m message i, which rides on the burst's references.
func (b *burst) lend(m *sgmsg.Message, c cursor, i int) {
	if e := b.msg.Elem(c.element); e.Len-c.offset >= b.lens[i] { // inside one chunk: nearly all
		m.Lend(sgmsg.Element{Buf: e.Buf, Off: e.Off + c.offset, Len: b.lens[i]})
		return
	}
	b.window(c, i, func(e sgmsg.Element, last bool) {
		if last {
			m.Lend(e)
		} else {
			m.AppendShared(e)
		}
	})
}

// copyTo appends message i to m, which gets references of its own.
func (b *burst) copyTo(m *sgmsg.Message, c cursor, i int) {
	b.window(c, i, func(e sgmsg.Element, _ bool) { m.AppendShared(e) })
}

// burstList is a FIFO of bursts, linked through themselves.
type burstList struct{ head, tail *burst }

func (l *burstList) push(b *burst) {
	b.next = nil
	if l.tail != nil {
		l.tail.next = b
	} else {
		l.head = b
	}
	l.tail = b
}

func (l *burstList) pushFront(b *burst) {
	b.next = l.head
	l.head = b
	if l.tail == nil {
		l.tail = b
	}
}

// insert puts b before the first burst of its flow that was admitted later.
func (l *burstList) insert(b *burst) {
	if l.tail == nil || l.tail.nth < b.nth {
		l.push(b)
		return
	}
	at := &l.head
	for (*at).nth < b.nth {
		at = &(*at).next
	}
	b.next, *at = *at, b
}

func (l *burstList) pop() *burst {
	b := l.head
	if b == nil {
		return nil
	}
	l.head = b.next
	if l.head == nil {
		l.tail = nil
	}
	b.next = nil
	return b
}

// removeParked takes the parked burst of p out, if it is there.
func (l *burstList) removeParked(p *Psock) *burst {
	var last *burst
	for at := &l.head; *at != nil; at = &(*at).next {
		if b := *at; b.parked && b.psock == p {
			*at = b.next
			if l.tail == b {
				l.tail = last
			}
			b.next = nil
			return b
		}
		last = *at
	}
	return nil
}

// burstPool keeps a loop's bursts. get is for the loop; put for anybody.
type burstPool struct {
	free     *burst
	returned atomic.Pointer[burst]
}

func (p *burstPool) get() *burst {
	if p.free == nil {
		p.free = p.returned.Swap(nil)
	}
	b := p.free
	if b == nil {
		return &burst{lens: make([]uint32, 0, maxBurst)}
	}
	p.free = b.next
	b.next = nil
	return b
}

func (p *burstPool) put(b *burst) {
	b.msg.Reset()
	b.psock, b.socket = nil, nil
	b.lens = b.lens[:0]
	b.charge, b.users, b.at, b.parked, b.unbind, b.seq, b.first = 0, 0, cursor{}, false, bound, 0, 0
	b.claimed.Store(0)
	for {
		h := p.returned.Load()
		b.next = h
		if p.returned.CompareAndSwap(h, b) {
			return
		}
	}
}
