package mux

import (
	"fmt"
	"strings"

	"github.com/kcm-go/kcm/internal/invariants"
)

// violation returns the first invariant of steer that does not hold, "" if all do.
// Under the lock, with the inbox admitted. Builds that check invariants ask at every
// unlock, tests of the simulator in every build.
func (st *steer) violation() string {
	c := steerCheck{st: st, queued: map[*Psock]int{}, backlogs: map[*Psock]bool{}}
	queues := []*queue{&st.shared}
	for _, s := range st.sockets {
		queues = append(queues, &s.own)
	}
	for _, q := range queues {
		c.queue(q)
	}
	for _, s := range st.sockets {
		c.dormant(s)
	}
	c.waitingBursts()
	for p, n := range c.queued {
		if n > p.flow.slots || p.flow.slots > st.cap {
			c.wrong("connection %d: %d slots, %d of them for bursts in queues, at most %d", p.index, p.flow.slots, n, st.cap)
		}
		c.backlog(p)
	}
	if st.fifo {
		c.sockets()
	}
	for _, q := range queues {
		if n, sum := q.charge.Load(), c.charges[q]; n < sum { // more: a loop is about to push
			c.wrong("a queue is charged %d bytes for bursts of %d", n, sum)
		}
	}
	return c.text
}

// mustSurvive panics again with a value that was recovered if it is not a handler's: an
// invariant that does not hold, found under the lock.
func mustSurvive(v any) {
	if s, ok := v.(string); ok && invariants.Enabled && strings.HasPrefix(s, "invariant violated") {
		panic(v)
	}
}

// check panics if an invariant does not hold, and lets the lock go, so that what is
// deferred does not hang.
func (st *steer) check() {
	if v := st.violation(); v != "" {
		st.mu.Unlock()
		panic("invariant violated: mux: " + v)
	}
}

// steerCheck is one look at everything.
type steerCheck struct {
	st       *steer
	text     string
	queued   map[*Psock]int // bursts with a slot that no reader has
	backlogs map[*Psock]bool
	charges  map[*queue]int64
}

func (c *steerCheck) wrong(format string, args ...any) {
	if c.text == "" {
		c.text = fmt.Sprintf(format, args...)
	}
}

const inBacklog = "a backlog"

// waits looks at a burst that no reader has.
func (c *steerCheck) waits(b *burst, where string) {
	switch {
	case b.psock == nil || len(b.lens) == 0:
		c.wrong("a burst in %s is empty", where)
	case b.users != 0:
		c.wrong("a burst in %s has %d readers", where, b.users)
	case b.rest() == 0:
		c.wrong("a burst in %s has no messages left", where)
	case b.parked != (where == "parked") && !(where == inBacklog && b == b.psock.flow.backlog.tail):
		c.wrong("a burst in %s is parked: %v", where, b.parked)
	}
	if c.charges == nil {
		c.charges = map[*queue]int64{}
	}
	if where != "parked" && where != "hold" && where != inBacklog {
		c.charges[c.st.queueOf(b)] += int64(b.charge)
	}
}

func (c *steerCheck) list(l *burstList, where string, each func(b *burst)) {
	var last *burst
	for b := l.head; b != nil; last, b = b, b.next {
		c.waits(b, where)
		each(b)
	}
	if l.tail != last {
		c.wrong("the end of %s is lost", where)
	}
}

// queue looks at one queue and its readers.
func (c *steerCheck) queue(q *queue) {
	startable := 0
	for _, l := range [...]struct {
		*burstList
		name string
	}{{&q.ready, "ready"}, {&q.resumed, "resumed"}} {
		var seq uint64
		c.list(l.burstList, l.name, func(b *burst) {
			startable++
			c.queued[b.psock]++
			if c.st.queueOf(b) != q {
				c.wrong("a burst in %s is another queue's", l.name)
			}
			if b.seq <= seq && l.name == "ready" {
				c.wrong("ready holds burst %d behind %d", b.seq, seq)
			}
			seq = b.seq
		})
	}
	for i, b := range q.active {
		if b.users < 1 || b.users > b.psock.flow.slots {
			c.wrong("an active burst has %d readers, its connection %d slots", b.users, b.psock.flow.slots)
		}
		for _, a := range q.active[:i] {
			if a == b {
				c.wrong("a burst is active twice")
			}
		}
		if b.rest() > 0 && c.st.spare(b.psock) > 0 {
			startable++
		}
		c.backlog(b.psock)
	}
	idlers := 0
	for rd := q.idle; rd != nil; rd = rd.next {
		idlers++
		if rd.state != idle || rd.socket.shut() {
			c.wrong("a reader in the idle list is in state %d, its socket closed or disabled: %v", rd.state, rd.socket.shut())
		}
	}
	for s := q.watchers; s != nil; s = s.watch {
		if !s.armed || s.closed || s.queue() != q || !s.disabled && startable > 0 {
			c.wrong("a socket is watching, armed: %v, closed: %v, while %d bursts could be started", s.armed, s.closed, startable)
		}
	}
	if q.idlers != idlers {
		c.wrong("%d readers are idle, counted as %d", idlers, q.idlers)
	}
	if q.coming < 0 {
		c.wrong("%d readers are coming", q.coming)
	}
	if idlers > 0 && startable > q.coming {
		c.wrong("%d readers are idle and %d coming, but %d bursts could be started", idlers, q.coming, startable)
	}
}

// dormant looks at the readers that wait until a socket is enabled.
func (c *steerCheck) dormant(s *Socket) {
	for rd := s.dormant; rd != nil; rd = rd.next {
		if rd.state != dormant || rd.socket != s || !s.disabled {
			c.wrong("a dormant reader is in state %d, its socket disabled: %v", rd.state, s.disabled)
		}
	}
}

// backlog looks at what waits for a slot of p.
func (c *steerCheck) backlog(p *Psock) {
	if c.backlogs[p] {
		return
	}
	c.backlogs[p] = true
	var sum int64
	var nth uint64
	c.list(&p.flow.backlog, inBacklog, func(b *burst) {
		if b.psock != p {
			c.wrong("connection %d has a burst of connection %d", p.index, b.psock.index)
		}
		if b.nth <= nth {
			c.wrong("a backlog holds burst %d behind %d", b.nth, nth)
		}
		nth = b.nth
		sum += int64(b.charge)
	})
	switch f := p.flow; {
	case f.backlog.head != nil && c.st.spare(p) > 0:
		c.wrong("connection %d has a backlog, and takes %d of %d slots", p.index, f.slots, c.st.cap)
	case f.behind.Load() != sum:
		c.wrong("connection %d is charged %d bytes for a backlog of %d", p.index, f.behind.Load(), sum)
	}
}

// waitingBursts looks at what is in no queue.
func (c *steerCheck) waitingBursts() {
	st := c.st
	seen := map[*Psock]bool{}
	c.list(&st.parked, "parked", func(b *burst) {
		if len(b.lens) != 1 {
			c.wrong("%d messages are parked together", len(b.lens))
		}
		if seen[b.psock] {
			c.wrong("connection %d is parked twice", b.psock.index)
		}
		seen[b.psock] = true
		c.backlog(b.psock)
	})
	c.list(&st.hold, "hold", func(b *burst) { c.queued[b.psock]++ })
	switch {
	case st.closed && (st.parked.head != nil || st.hold.head != nil):
		c.wrong("something is parked or held after the end")
	case !st.fifo && st.hold.head != nil:
		c.wrong("something is held, with the policy Idle")
	case !st.fifo && !st.closed && st.crowded.Load() != (st.parked.head != nil):
		c.wrong("crowded is %v, parked %v", st.crowded.Load(), st.parked.head)
	case !st.fifo && st.parked.head != nil && st.shared.charge.Load() <= st.limit/2:
		c.wrong("a connection is parked, with %d of %d bytes in the queue", st.shared.charge.Load(), st.limit)
	}
}

// sockets looks at the states of FIFO.
func (c *steerCheck) sockets() {
	st := c.st
	waiting := map[*Socket]bool{}
	var last *Socket
	for s := st.waiters.head; s != nil; last, s = s, s.next {
		if waiting[s] || s.state != inWaiters || s.shut() {
			c.wrong("a socket waits in state %d, closed or disabled: %v, or twice", s.state, s.shut())
			return
		}
		waiting[s] = true
		switch {
		case st.hold.head != nil:
			c.wrong("a socket waits while messages are held")
		case st.parked.head != nil && s.own.charge.Load() < s.limit:
			c.wrong("a socket with room waits while a connection is parked")
		}
	}
	if st.waiters.tail != last {
		c.wrong("the end of the waiting sockets is lost")
	}
	for _, s := range st.sockets {
		c.overshoot(s)
		switch {
		case s.state == inWaiters && !waiting[s]:
			c.wrong("a socket that waits is not in the list")
		case s.state == out && !s.shut() && !st.closed && s.own.charge.Load() < s.low:
			c.wrong("a socket is out although it is empty, or below its low-water mark")
		case s.disabled && s.state != isBound && (s.own.head() != nil || s.own.charge.Load() != 0):
			c.wrong("a disabled socket has messages queued")
		case s.state == out && !s.shut() && st.hold.head != nil && s.own.head() == nil:
			c.wrong("messages are held while a socket has nothing to start")
		}
	}
}

// overshoot looks at what a socket was given: the last message alone may have crossed its
// limit. What came back to it, in resumed, was its own before.
func (c *steerCheck) overshoot(s *Socket) {
	var sum int64
	for b := s.own.ready.head; b != nil; b = b.next {
		sum += int64(b.charge)
	}
	if b := s.own.ready.tail; b != nil {
		last := int64(b.lens[len(b.lens)-1]) + chargeOverMsg
		if sum-last >= s.limit {
			c.wrong("a socket with a limit of %d bytes was given %d, the last message %d of them", s.limit, sum, last)
		}
	}
}
