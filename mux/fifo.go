package mux

// The policy FIFO: which socket a connection's messages go to is decided at the first
// message of each ready callback, by turns.
//
//	              first of waiters              end of the callback
//	  waiters ------------------------> bound -----------------------> ready, last of waiters
//	     ^                                | full: refuses; closed, disabled
//	     |     empty again, enabled       v
//	     +-------------------------------out
//
// Source: the receive side of the kernel's KCM (Documentation/networking/kcm.rst and
// net/kcm), where a socket that was refused comes back when it has been emptied.

// unbinding says what a burst does to the binding of its socket.
type unbinding uint8

const (
	bound   unbinding = iota // it goes on
	ended                    // the callback has ended
	refused                  // the socket is full
)

// socketState is where a socket stands for FIFO.
type socketState uint8

const (
	out socketState = iota // full, closed or disabled
	inWaiters
	isBound
)

// socketList is a FIFO of sockets.
type socketList struct{ head, tail *Socket }

func (l *socketList) push(s *Socket) {
	s.next = nil
	if l.tail != nil {
		l.tail.next = s
	} else {
		l.head = s
	}
	l.tail = s
}

func (l *socketList) remove(s *Socket) {
	var prev *Socket
	for x := l.head; x != nil; prev, x = x, x.next {
		if x != s {
			continue
		}
		if prev == nil {
			l.head = x.next
		} else {
			prev.next = x.next
		}
		if l.tail == x {
			l.tail = prev
		}
		x.next = nil
		return
	}
}

// bindTries is how often a loop tries for the lock when it needs a socket. When that
// is not enough the message is parked and whoever has the lock gives it away.
const bindTries = 100

// bind reserves the first waiting socket for a connection; nil when there is none
// now. Loop's thread.
func (st *steer) bind() *Socket {
	for try := 0; !st.mu.TryLock(); try++ {
		if try == bindTries {
			return nil
		}
	}
	var wake *Reader
	st.admit(&wake) // what came before goes first
	s := st.waiters.head
	if s != nil {
		st.waiters.remove(s)
		s.state = isBound
	}
	st.mu.Unlock()
	for wake != nil {
		rd := wake
		wake, rd.next = rd.next, nil
		rd.wake()
	}
	st.drain()
	return s
}

// admitFIFO takes a burst from the inbox: of a bound socket, or parked.
func (st *steer) admitFIFO(b *burst) {
	s := b.socket
	if s == nil {
		if st.spare(b.psock) <= 0 {
			st.admitToFlow(nil, b)
			return
		}
		st.parked.push(b)
		for st.parked.head != nil && st.waiters.head != nil { // which became free meanwhile
			st.readyFIFO(st.waiters.head) // takes it, or is full and leaves the waiters
		}
		return
	}
	how := b.unbind
	switch { // its charge was added by the loop
	case len(b.lens) == 0:
		st.recycle(b)
	case st.spare(b.psock) <= 0:
		st.admitToFlow(&s.own, b)
	default:
		st.start(&s.own, b)
	}
	if how == bound {
		return
	}
	s.state = out
	switch {
	case s.shut():
		st.requeue(s)
	case how == ended || s.own.charge.Load() < s.low || st.starved(s):
		st.readyFIFO(s)
	}
}

// readyFIFO lets a socket take its turn again: what is held goes first, then what is
// parked, then new connections.
func (st *steer) readyFIFO(s *Socket) {
	if s.shut() || s.state == isBound || s.state == inWaiters && st.hold.head == nil && st.parked.head == nil {
		return
	}
	if s.state == inWaiters {
		st.waiters.remove(s)
		s.state = out
	}
	for _, l := range [...]*burstList{&st.hold, &st.parked} {
		for l.head != nil {
			if s.own.charge.Load() >= s.limit && !st.starved(s) {
				return
			}
			b := l.pop()
			switch {
			case !b.parked:
				if rest := st.give(s, b); rest != nil {
					st.hold.pushFront(rest)
				}
			case st.spare(b.psock) <= 0:
				b.socket = s
				st.admitToFlow(&s.own, b)
			default:
				b.socket = s
				st.unpark(b)
				s.own.charge.Add(int64(b.charge))
				st.start(&s.own, b)
			}
		}
	}
	s.state = inWaiters
	st.waiters.push(s)
}

// requeue gives what a closed or disabled socket has not read to others, in order.
func (st *steer) requeue(s *Socket) {
	q := &s.own
	for _, l := range [...]*burstList{&q.resumed, &q.ready} {
		for b := l.pop(); b != nil; b = l.pop() {
			q.charge.Add(-int64(b.charge))
			st.rehome(b)
		}
	}
}

// give queues to s, with the slot that it has, what s has room for of a burst that was
// another's: one message may cross the limit. It returns the rest, with a slot of its own,
// or nil: what finds no slot waits in its flow's backlog.
func (st *steer) give(s *Socket, b *burst) (rest *burst) {
	b.socket = s
	rest = b.carve(s.limit - s.own.charge.Load())
	s.own.charge.Add(int64(b.charge))
	p := b.psock
	p.flow.slots-- // start takes it again
	st.start(&s.own, b)
	switch {
	case rest == nil:
	case st.spare(p) > 0:
		p.flow.slots++
		return rest
	default:
		st.shelve(rest)
	}
	return nil
}

// starved reports whether something is held while nothing in s can be started. It
// must be let in, full or not: what fills s may be waiting behind it for a slot.
func (st *steer) starved(s *Socket) bool { return st.hold.head != nil && s.own.head() == nil }

// rehome gives a burst of a closed or disabled socket to the first waiting ones that have room, else
// to one that is starved, else holds it. The burst keeps its slot, so that its flow's
// backlog stays behind it.
func (st *steer) rehome(b *burst) {
	b.socket = nil
	for s := st.waiters.head; s != nil; s = st.waiters.head {
		if s.own.charge.Load() < s.limit {
			if b = st.give(s, b); b == nil {
				return
			}
			continue // s is full
		}
		st.waiters.remove(s)
		s.state = out
	}
	st.hold.push(b)
	for _, s := range st.sockets {
		if st.starved(s) {
			st.readyFIFO(s)
		}
	}
}
