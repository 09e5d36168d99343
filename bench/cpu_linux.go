package bench

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// threadCPU returns the CPU time the calling thread has used.
func threadCPU() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// threadWait returns how long the calling thread could have run and did not, because
// others did; 0 where the kernel does not count it (schedstat, scheduler/sched-stats of
// the kernel's documentation).
func threadWait() time.Duration {
	b, err := os.ReadFile("/proc/thread-self/schedstat")
	if err != nil {
		return 0
	}
	var ran, waited int64
	if _, err := fmt.Sscan(string(b), &ran, &waited); err != nil {
		return 0
	}
	return time.Duration(waited)
}

// preciseTimers makes the calling thread's timed waits end when they should. By
// default the kernel may end them 50 us later, to wake fewer times (timer slack,
// prctl(2)). It is a wish; without it messages are late.
func preciseTimers() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) }
