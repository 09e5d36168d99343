package bench

import (
	"context"
	"fmt"
	"time"
)

// DefaultMaxClockError is Config.MaxClockError unless that is set: little beside a run of
// seconds, and what NTP keeps over the internet.
const DefaultMaxClockError = 100 * time.Millisecond

// ahead is how long before an agreed time the threads are told of it.
const ahead = 50 * time.Millisecond

// checkStart returns an error if the run cannot start at the time agreed: because of the
// clock, or because it is over.
func (r *run) checkStart() error {
	if r.StartAt.IsZero() {
		return nil
	}
	bound := r.MaxClockError
	if bound == 0 {
		bound = DefaultMaxClockError
	}
	if bound > 0 {
		if err := clockFault(readClock(), bound); err != nil {
			return err
		}
	}
	return r.late()
}

// late returns an error if the time agreed is over.
func (r *run) late() error {
	if d := time.Since(r.StartAt); d > 0 {
		return fmt.Errorf("start at an agreed time: that was %v ago", d.Round(time.Millisecond))
	}
	return nil
}

// await waits, with all connections made, until just before the time agreed. The error is
// that of ctx, of a connection that ended meanwhile, or that making them took too long.
func (r *run) await(ctx context.Context) error {
	if r.StartAt.IsZero() {
		return nil
	}
	if err := r.late(); err != nil {
		return err
	}
	t := time.NewTimer(time.Until(r.StartAt) - ahead)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case g := <-r.ended:
		r.running--
		return fmt.Errorf("%s: before the start: %w", r.address, g.failure)
	}
}
