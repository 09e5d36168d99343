package mux

import (
	"fmt"

	"github.com/kcm-go/kcm/internal/invariants"
)

// violation returns the first invariant of transmit that does not hold, "" if all do. Under
// the lock, without news. Builds that check invariants ask at unlock, tests of the simulator
// in every build.
func (tx *transmit) violation() string {
	var text string
	wrong := func(format string, args ...any) {
		if text == "" {
			text = fmt.Sprintf(format, args...)
		}
	}
	able := 0
	var last *sending
	for k := tx.free.head; k != nil; last, k = k, k.next {
		able++
		if k.state != sendingFree || k.holder != nil || k.prev != last {
			wrong("connection %d is free in state %d, held: %v, or its links are wrong", k.psock.index, k.state, k.holder != nil)
			return text
		}
	}
	if tx.free.tail != last {
		wrong("the end of the free connections is lost")
	}
	waits := map[*Socket]bool{}
	var tail *Socket
	for s := tx.waiters.head; s != nil; tail, s = s, s.out.next {
		if waits[s] || !s.out.waits {
			wrong("socket %d waits for a connection twice, or without knowing", s.index)
			return text
		}
		waits[s] = true
	}
	switch {
	case tx.waiters.tail != tail:
		wrong("the end of the waiting sockets is lost")
	case tail != nil && tx.free.head != nil:
		wrong("socket %d waits while connection %d is free", tail.index, tx.free.head.psock.index)
	}
	for _, s := range tx.sockets {
		o := &s.out
		if k := o.psock; k != nil {
			if k.holder != s || k.state != sendingReserved && k.state != sendingStopped {
				wrong("socket %d has connection %d, which is in state %d", s.index, k.psock.index, k.state)
			}
			if k.state == sendingReserved {
				able++
			}
			if n := k.stats.reserved - k.stats.unreserved; n != 1 {
				wrong("connection %d is reserved %d times", k.psock.index, n)
			}
		}
		sum := int64(o.open.Len())
		if sum > 0 {
			sum += chargeOverMsg
		}
		for _, l := range [...]*parcelList{&o.queue, &o.train} {
			n := 0
			for p := l.head; p != nil; p = p.next {
				n++
				sum += int64(p.msg.Len()) + chargeOverMsg
				if p.next == nil && p != l.tail {
					wrong("socket %d: the end of its messages is lost", s.index)
				}
			}
			if n != l.n {
				wrong("socket %d: %d messages, counted %d", s.index, n, l.n)
			}
		}
		switch {
		case sum != o.unsent:
			wrong("socket %d is charged %d bytes, has %d", s.index, o.unsent, sum)
		case (o.psock != nil) != (o.train.head != nil):
			wrong("socket %d: a train of %d messages, a connection: %v", s.index, o.train.n, o.psock != nil)
		case o.waits != waits[s]:
			wrong("socket %d waits for a connection: %v, in the list: %v", s.index, o.waits, waits[s])
		case o.psock != nil && o.waits:
			wrong("socket %d waits for a connection and has one", s.index)
		case o.queue.head != nil && !o.more && o.psock == nil && !o.waits:
			wrong("socket %d has %d messages and goes after no connection", s.index, o.queue.n)
		case o.gone && (o.queue.head != nil || o.open.Len() > 0 || !o.refuses):
			wrong("socket %d is closed and keeps messages", s.index)
		}
	}
	if able > tx.able { // fewer: closed sockets may hold some
		wrong("%d connections can take messages, counted %d", able, tx.able)
	}
	return text
}

// check panics if an invariant does not hold, and lets the lock go, so that what is
// deferred does not hang.
func (tx *transmit) check() {
	if tx.news.Load() != nil {
		return // of what is behind them
	}
	if v := tx.violation(); v != "" {
		tx.mu.Unlock()
		panic("invariant violated: mux: " + v)
	}
	invariants.Check(tx.able >= 0, "mux: fewer connections than none")
}
