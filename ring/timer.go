package ring

import (
	"math/bits"
	"time"
)

// Timer is one pending expiry on a loop. It is embedded in what it serves, so
// arming it allocates nothing. Its methods are for the loop's thread; a Timer
// must be stopped before its memory is reused.
type Timer struct {
	next, prev *Timer
	when       int64 // tick of expiry; meaningful while armed
	level      int8  // wheel level + 1; 0 when not armed
	slot       uint8
	owner      Expirer
}

// Expirer is called on the loop's thread when a timer fires. The timer is no
// longer armed then and may be started again.
type Expirer interface{ Expire(t *Timer) }

// Armed reports whether the timer is pending.
func (t *Timer) Armed() bool { return t.level != 0 }

const (
	tick        = time.Millisecond
	wheelBits   = 6
	wheelSlots  = 1 << wheelBits
	wheelLevels = 4
	wheelSpan   = 1 << (wheelBits * wheelLevels) // ticks: about 4.6 hours
)

// wheel is a hierarchical timer wheel with a resolution of one millisecond:
// starting and stopping are O(1), and timers that are stopped before they fire,
// nearly all of them here, never move.
//
//	level 0: the next 64 ticks, one slot each
//	level n: slots of 64^n ticks; a slot's timers move down when its time comes
//
// A timer never fires early; it fires in the first turn after its time.
type wheel struct {
	now   int64 // last tick that was processed
	count int
	used  [wheelLevels]uint64 // bitmap of non-empty slots
	slots [wheelLevels][wheelSlots]*Timer
}

// ticks converts a time of the loop's clock, rounding up.
func ticks(d time.Duration) int64 { return int64((d + tick - 1) / tick) }

func (w *wheel) add(t *Timer, when int64) {
	t.when = max(when, w.now+1)
	w.place(t)
	w.count++
}

func (w *wheel) place(t *Timer) {
	delta := t.when - w.now
	at := t.when
	if delta >= wheelSpan { // beyond the horizon: wait in the farthest slot, then look again
		delta = wheelSpan - 1
		at = w.now + delta
	}
	level := 0
	for delta >= wheelSlots {
		delta >>= wheelBits
		level++
	}
	s := at >> (wheelBits * level) & (wheelSlots - 1)
	t.level, t.slot = int8(level+1), uint8(s)
	t.prev, t.next = nil, w.slots[level][s]
	if t.next != nil {
		t.next.prev = t
	}
	w.slots[level][s] = t
	w.used[level] |= 1 << s
}

func (w *wheel) remove(t *Timer) {
	if t.level == 0 {
		return
	}
	level := int(t.level - 1)
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[level][t.slot] = t.next
		if t.next == nil {
			w.used[level] &^= 1 << t.slot
		}
	}
	t.next, t.prev, t.level = nil, nil, 0
	w.count--
}

// advance fires every timer due at tick to or before. Callbacks may start and
// stop any timer.
func (w *wheel) advance(to int64) {
	for w.now < to {
		if w.count == 0 {
			w.now = to
			return
		}
		// Jump to the next tick at which something can happen.
		at := min(w.nextTick(), to)
		w.now = max(at, w.now+1)
		for level := wheelLevels - 1; level > 0; level-- {
			if w.now&(1<<(wheelBits*level)-1) == 0 {
				w.cascade(level, int(w.now>>(wheelBits*level)&(wheelSlots-1)))
			}
		}
		s := w.now & (wheelSlots - 1)
		for t := w.slots[0][s]; t != nil; t = w.slots[0][s] {
			w.remove(t)
			if t.when > w.now { // a clamped one that has come near
				w.add(t, t.when)
				continue
			}
			t.owner.Expire(t)
		}
	}
}

func (w *wheel) cascade(level, s int) {
	t := w.slots[level][s]
	w.slots[level][s] = nil
	w.used[level] &^= 1 << s
	for t != nil {
		next := t.next
		if t.when <= w.now {
			t.when = w.now // due now: level 0, the slot processed next
			w.placeNow(t)
		} else {
			w.place(t)
		}
		t = next
	}
}

func (w *wheel) placeNow(t *Timer) {
	s := w.now & (wheelSlots - 1)
	t.level, t.slot = 1, uint8(s)
	t.prev, t.next = nil, w.slots[0][s]
	if t.next != nil {
		t.next.prev = t
	}
	w.slots[0][s] = t
	w.used[0] |= 1 << s
}

// nextTick returns a tick at or before the first expiry and after now: the time
// of the next non-empty slot, of any level.
func (w *wheel) nextTick() int64 {
	best := w.now + wheelSpan
	for level := range w.used {
		u := w.used[level]
		if u == 0 {
			continue
		}
		shift := wheelBits * level
		cur := w.now >> shift
		// Distance in slots from the one after cur.
		rot := bits.RotateLeft64(u, -int((cur+1)&(wheelSlots-1)))
		at := (cur + 1 + int64(bits.TrailingZeros64(rot))) << shift
		best = min(best, at)
	}
	return best
}

// StartTimer arms t to expire d from now; an armed timer is moved. owner is
// called on expiry. Time in which the loop stood still (a handler that did not return, a
// stopped process) does not count, but for a tenth of a second.
func (l *Loop) StartTimer(t *Timer, d time.Duration, owner Expirer) {
	l.wheel.remove(t)
	t.owner = owner
	l.wheel.add(t, ticks(l.Counted()+max(d, 0)))
}

// StopTimer disarms t and reports whether it was armed.
func (l *Loop) StopTimer(t *Timer) bool {
	was := t.Armed()
	l.wheel.remove(t)
	return was
}
