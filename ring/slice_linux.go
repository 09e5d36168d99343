package ring

import (
	"time"

	"golang.org/x/sys/unix"
)

// slice is the time slice that a loop asks the scheduler for. A thread that wakes up is run
// before one whose slice is longer and that has had its share, and not when that one's slice
// is over, 3 ms later as a rule. What share each gets does not change. So a loop is not kept
// waiting by the garbage collector's threads where they have no processor of their own.
const slice = 100 * time.Microsecond // the least that Linux takes

// shortenSlice asks for slices of the calling thread (sched_setattr(2), sched_runtime of
// SCHED_OTHER, Linux 6.12; before that it has no effect). It needs no privilege.
func shortenSlice() error {
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return err
	}
	if a.Policy != unix.SCHED_NORMAL && a.Policy != unix.SCHED_BATCH {
		return nil // somebody has chosen better
	}
	a.Runtime = uint64(slice)
	return unix.SchedSetAttr(0, a, 0)
}
