package mux

import (
	"math/rand/v2"
	"time"
)

// backoff is how long a connection that is to be kept up waits before the next attempt.
// After n failures in a row it is between d/2 and d, where d is min, doubled n-1 times, at
// most max: so clients that lost one server do not come back at one moment. A connection
// that stood for longer than the last d ends the row; one that stood for less does not, so
// that a server which accepts and hangs up is not asked ever faster.
type backoff struct {
	min, max time.Duration
	random   func(n int64) int64 // of [0, n)
	failures int                 // in a row
	last     time.Duration       // d before the attempt that is made now
}

func newBackoff(min, max time.Duration) backoff {
	return backoff{min: min, max: max, random: rand.Int64N}
}

// failed counts the failure of an attempt, or the end of a connection that stood for up,
// and returns the delay before the next.
func (b *backoff) failed(up time.Duration) time.Duration {
	b.failures = b.row(up) + 1
	d := b.min
	for i := 1; i < b.failures && d < b.max; i++ {
		d *= 2
	}
	b.last = min(d, b.max)
	half := b.last / 2
	return b.last - half + time.Duration(b.random(int64(half)+1))
}

// row returns the failures in a row, for a connection that has stood for up.
func (b *backoff) row(up time.Duration) int {
	if up > b.last {
		return 0
	}
	return b.failures
}
