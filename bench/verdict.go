package bench

import (
	"fmt"
	"strings"
	"time"
)

// Verdict says whether the figures of a run are those of the server: they are not if
// the generator could not keep up.
//
//   - Its busiest thread ran, or waited for a processor that others had, for all of the
//     time but a twentieth. In a closed loop that is no fault if the same holds of the
//     server in this process: then the server was at its limit as well. With Config.Spin, a
//     thread runs all the time, and only what it waited for a processor counts.
//   - Open loop: more than 1 % of the measured messages were sent later than
//     Config.MaxLateness after their time, for want of the generator's own. One that was
//     held up by the bound on what is in flight, or by a connection that was being made,
//     waited for the server, and is not counted.
//   - Open loop: messages were due and not sent when the run ended, likewise.
type Verdict struct {
	Valid   bool     `json:"valid"`
	Reasons []string `json:"reasons,omitempty"` // why not
}

const (
	// DefaultMaxLateness is Config.MaxLateness unless that is set.
	DefaultMaxLateness = time.Millisecond

	saturated = 0.95 // of the time of a thread
	lateShare = 0.01 // of the measured messages
)

// own is what a generator has itself to answer for.
type own struct {
	sent   int64 // measured messages, of an open loop
	late   int64 // of those: later than the bound
	unsent int64
}

func (o *own) add(other own) {
	o.sent += other.sent
	o.late += other.late
	o.unsent += other.unsent
}

// judge makes the verdict of a report that is otherwise complete.
func judge(rep *Report, o own, bound time.Duration) Verdict {
	var v Verdict
	g := &rep.Generator
	open := rep.Lateness != nil
	demand := g.demand()
	if rep.GeneratorSpinMicros > 0 {
		demand -= g.Busy
	}
	if demand >= saturated && (open || rep.Server == nil || rep.Server.demand() < saturated) {
		v.Reasons = append(v.Reasons, fmt.Sprintf("its busiest thread ran for %.0f%% of the time and waited for a processor for %.0f%%, together at most %.0f%% are allowed",
			100*g.Busy, 100*g.Waiting, 100*saturated))
	}
	if share := float64(o.late) / float64(max(o.sent, 1)); open && share > lateShare {
		v.Reasons = append(v.Reasons, fmt.Sprintf("it sent %.1f%% of the messages more than %v late, allowed are %.0f%%", 100*share, bound, 100*lateShare))
	}
	if o.unsent > 0 {
		v.Reasons = append(v.Reasons, fmt.Sprintf("%d messages were due and it did not send them", o.unsent))
	}
	v.Valid = len(v.Reasons) == 0
	return v
}

// Err is an error with all reasons in one line, nil for a valid run.
func (v *Verdict) Err() error {
	if v.Valid {
		return nil
	}
	return fmt.Errorf("the generator was the limit, not the server: %s", strings.Join(v.Reasons, "; "))
}
