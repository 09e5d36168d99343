package ring

import "time"

// standstill finds out for how long a loop stood still: a handler that does not return, a
// process that was stopped or got no processor. The loop's timers do not count such time, but
// for grace of it, and fire only after the loop has asked the system once more: what the
// peers did meanwhile comes before the news that their time is up.
//
//	turn   |--handlers--|~~sleep~~~|--handlers------------------------------|--
//	counts |============|==========|======|                                 |==
//	                                 grace: counted, but from the next turn on
//
// Loop's thread.
type standstill struct {
	from  time.Duration // nothing before this is standstill; ahead of the clock while the loop sleeps
	lost  time.Duration // not counted so far
	found bool          // since the last turn
	due   time.Duration // what the timers' clock shows, without what found holds back
}

// grace is the longest time between two looks at the clock that is not standstill.
const grace = 100 * time.Millisecond

// forever is later than the clock ever shows.
const forever = time.Duration(1<<63 - 1)

// pass notes the clock's time.
func (s *standstill) pass(now time.Duration) {
	if d := now - s.from; d > grace {
		s.lost += d - grace
		s.found = true
	}
	s.from = max(s.from, now)
}

// until says that what passes until t is no standstill.
func (s *standstill) until(t time.Duration) { s.from = t }

// turn begins a turn and returns the time of the timers' clock up to which they may fire.
func (s *standstill) turn(now time.Duration) time.Duration {
	s.pass(now)
	s.from = now
	before := s.due
	s.due = now - s.lost
	if s.found {
		s.found = false
		return before
	}
	return s.due
}

// Counted returns what timers count: the time of Now without that in which the loop stood
// still. Loop's thread.
func (l *Loop) Counted() time.Duration {
	now := l.be.Now()
	l.still.pass(now)
	return now - l.still.lost
}
