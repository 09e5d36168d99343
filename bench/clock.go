package bench

import (
	"fmt"
	"time"
)

// Clock is what the system knows of its own clock, from whatever keeps it right (NTP or
// PTP): adjtimex(2). The bound grows from one correction to the next, by 0.5 ms in a
// second.
type Clock struct {
	Synchronised bool    `json:"synchronised"`
	MaxError     float64 `json:"max_error_us"`       // a bound on what the clock is off by
	Estimate     float64 `json:"estimated_error_us"` // what it is off by, as estimated
}

// Error is the bound as a time.
func (c *Clock) Error() time.Duration { return time.Duration(c.MaxError * 1e3) }

// clockFault says why a clock is not good enough for a start that is agreed with other
// machines, nil if it is. clock is nil if nothing is known.
//
// The bound is the system's own and not a comparison with the server or with other
// generators: those would need a protocol, and a route whose two ways take equally long,
// for what the system has found out with better means.
func clockFault(clock *Clock, bound time.Duration) error {
	switch {
	case clock == nil:
		return fmt.Errorf("start at an agreed time: this system does not say how right its clock is")
	case !clock.Synchronised:
		return fmt.Errorf("start at an agreed time: nothing keeps the clock of this machine right (adjtimex: not synchronised)")
	case clock.Error() > bound:
		return fmt.Errorf("start at an agreed time: the clock of this machine may be off by %v, allowed are %v", clock.Error(), bound)
	}
	return nil
}
