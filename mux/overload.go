package mux

import (
	"math"
	"math/bits"
	"time"
)

// codel decides when messages that have waited too long are better rejected than
// handled late. A queue whose delay is above target now and then is a burst, and
// works itself off; one whose delay has not been below target for a whole interval
// is a standing queue, which only adds to everybody's latency.
//
// Source of the idea: Nichols and Jacobson, Controlling Delay Active Queue Management,
// RFC 8289. It differs in what is done then: in a standing queue every message older
// than target is rejected, since an answer to the sender costs less than the work.
type codel struct {
	target, interval time.Duration // target 0: off
	above            time.Duration // when the delay will have been over target for an interval; 0: it is below
	standing         bool
}

// observe tells how long the oldest message had waited when it was taken.
func (c *codel) observe(delay, now time.Duration) {
	switch {
	case c.target == 0:
	case delay < c.target:
		c.above, c.standing = 0, false
	case c.above == 0:
		c.above = now + c.interval
	case now >= c.above:
		c.standing = true
	}
}

// rejects reports whether a message that has waited so long is to be rejected.
func (c *codel) rejects(delay time.Duration) bool { return c.standing && delay >= c.target }

// DelayStats tell how long messages waited between arriving and being started by a
// reader. The figure is taken once for each batch that a reader takes, for all its
// messages.
type DelayStats struct {
	Count   uint64        // messages
	Sum     time.Duration // of all delays
	Max     time.Duration
	Buckets [32]uint64 // Buckets[i]: messages whose delay in microseconds has i bits
}

// record adds n messages, or takes n back that it was told of before.
func (d *DelayStats) record(delay time.Duration, n int) {
	delay = max(delay, 0)
	d.Count += uint64(n)
	d.Sum += delay * time.Duration(n)
	d.Max = max(d.Max, delay)
	d.Buckets[min(bits.Len64(uint64(delay/time.Microsecond)), len(d.Buckets)-1)] += uint64(n)
}

// Mean returns the mean delay.
func (d *DelayStats) Mean() time.Duration { return d.Sum / time.Duration(max(d.Count, 1)) }

// Quantile returns a delay that at least the share q of the messages, 0 to 1, did not
// exceed: the upper end of a bucket, at most twice the true value.
func (d *DelayStats) Quantile(q float64) time.Duration {
	want := uint64(math.Ceil(q * float64(d.Count)))
	var seen uint64
	for i, n := range d.Buckets {
		if seen += n; seen >= want && n > 0 {
			return min(time.Duration(1<<i)*time.Microsecond, max(d.Max, time.Microsecond))
		}
	}
	return d.Max
}

// dispatchStats are the counters of steering and readers. Under steer.mu.
type dispatchStats struct {
	Received, Discarded, Stolen uint64
	Delay                       DelayStats
}
