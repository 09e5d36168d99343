package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns how long the calling thread has been on a CPU.
func cpuTime() (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts)
	return time.Duration(ts.Nano()), os.NewSyscallError("clock_gettime", err)
}
