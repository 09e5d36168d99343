package ringtest

import "time"

// duty says what is done when a timer fires.
type duty uint8

const (
	dutyTick    duty = iota // nothing: a held back event becomes due
	dutyArrive              // the pipe's next segment arrives
	dutyReset               // a reset arrives at the socket
	dutyResume              // a paused operation goes on
	dutyAccept              // an accept goes on after an error
	dutyExec                // a late operation is done
	dutyCancel              // a late cancel takes effect
	dutyReach               // a connection request reaches the listener
	dutyConnect             // its answer is back
	dutyPacket              // a datagram arrives
	dutyCall                // the test's own
)

// timer is something that happens at a virtual time. Those of one time happen
// in the order in which they were made.
type timer struct {
	at   time.Duration
	seq  uint64
	duty duty
	err  int32 // dutyConnect: a negative errno or 0
	id   uint64
	op   *op // with id: an op of another id is not the one meant
	sock *socket
	pipe *pipe
	pkt  *packet
	call func()
}

// timers is a binary heap by time and then seq.
type timers []timer

func (h timers) less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}

func (h *timers) push(t timer) {
	*h = append(*h, t)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.less(i, up) {
			break
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (h *timers) pop() timer {
	q := *h
	t := q[0]
	n := len(q) - 1
	q[0] = q[n]
	q[n] = timer{}
	q = q[:n]
	*h = q
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return t
		}
		if c+1 < n && q.less(c+1, c) {
			c++
		}
		if !q.less(c, i) {
			return t
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}

// in schedules t after d.
func (s *Sim) in(d time.Duration, t timer) {
	s.timerSeq++
	t.at, t.seq = s.now+d, s.timerSeq
	s.timers.push(t)
}

// After calls fn when d of virtual time has passed. fn may use peers and
// descriptors and call After again; it must not call Wait or Step.
func (s *Sim) After(d time.Duration, fn func()) {
	s.in(max(d, 0), timer{duty: dutyCall, call: fn})
}

// latency draws the time something takes one way.
func (s *Sim) latency() time.Duration {
	return time.Duration(1 + s.rng.Int64N(int64(s.opt.Latency)))
}

// delay draws how long a fault holds something back.
func (s *Sim) delay() time.Duration {
	return time.Duration(1 + s.rng.Int64N(int64(s.opt.Delay)))
}

// advance moves the time to t and does what is due by then.
func (s *Sim) advance(t time.Duration) {
	s.now = max(s.now, t)
	for len(s.timers) > 0 && s.timers[0].at <= s.now {
		s.fire(s.timers.pop())
	}
}

func (s *Sim) fire(t timer) {
	switch t.duty {
	case dutyArrive:
		t.pipe.arrive()
	case dutyReset:
		t.sock.reset()
	case dutyResume, dutyAccept, dutyExec, dutyCancel:
		if t.op.id != t.id || t.op.done {
			return // it has ended meanwhile
		}
		switch t.duty {
		case dutyResume:
			t.op.sock.pump()
		case dutyAccept:
			t.op.sock.pumpAccept()
		case dutyExec:
			t.op.execute()
		case dutyCancel:
			t.op.cancel()
		}
	case dutyReach:
		t.sock.reach()
	case dutyConnect:
		t.sock.answered(t.err)
	case dutyPacket:
		t.pkt.arrive(s)
	case dutyCall:
		s.note(record{what: didTimer})
		t.call()
	}
}
