package ring

// The lists of a loop that a Packet can be in, each at most once.
const (
	packetReady   = iota // datagrams or errors to tell of
	packetDirty          // datagrams to send
	packetStuck          // waiting for write space
	packetStarved        // waiting for a receive buffer
	packetDying          // closing, no operation left in flight
	packetLists
)

// packetList is a FIFO of endpoints, doubly linked through themselves.
type packetList struct {
	head, tail *Packet
	kind       uint8
	n          int
}

type packetLink struct{ next, prev *Packet }

func (l *packetList) push(p *Packet) {
	if p.member&(1<<l.kind) != 0 {
		return
	}
	p.member |= 1 << l.kind
	k := &p.links[l.kind]
	k.prev, k.next = l.tail, nil
	if l.tail != nil {
		l.tail.links[l.kind].next = p
	} else {
		l.head = p
	}
	l.tail = p
	l.n++
}

func (l *packetList) remove(p *Packet) {
	if p.member&(1<<l.kind) == 0 {
		return
	}
	p.member &^= 1 << l.kind
	k := p.links[l.kind]
	if k.prev != nil {
		k.prev.links[l.kind].next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.links[l.kind].prev = k.prev
	} else {
		l.tail = k.prev
	}
	p.links[l.kind] = packetLink{}
	l.n--
}

func (l *packetList) pop() *Packet {
	p := l.head
	if p != nil {
		l.remove(p)
	}
	return p
}

// packetsWork reports whether there is something to do for an endpoint before the loop
// may sleep.
func (l *Loop) packetsWork() bool {
	return l.packets[packetReady].head != nil || l.packets[packetDirty].head != nil || l.packets[packetDying].head != nil
}

// feedPackets lets those receive that waited for a buffer.
func (l *Loop) feedPackets() {
	q := &l.packets[packetStarved]
	for n := q.n; n > 0 && l.mem.free > 0; n-- {
		q.pop().steer()
	}
}

// sendPackets sends what is queued: what a handler queues meanwhile has its turn next.
func (l *Loop) sendPackets() {
	q := &l.packets[packetDirty]
	for n := q.n; n > 0 && q.head != nil; n-- {
		q.pop().transmit()
	}
}

// deliverPackets hands over what the turn has brought.
func (l *Loop) deliverPackets() {
	q := &l.packets[packetReady]
	for n := q.n; n > 0 && q.head != nil; n-- {
		q.pop().deliver()
	}
}

// evictPackets copies out of receive buffers what waits for write space.
func (l *Loop) evictPackets() {
	for p := l.packets[packetStuck].head; p != nil; p = p.links[packetStuck].next {
		p.compact()
	}
}

func (l *Loop) buryPackets() {
	q := &l.packets[packetDying]
	for p := q.pop(); p != nil; p = q.pop() {
		p.bury()
	}
}
