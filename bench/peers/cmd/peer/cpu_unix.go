//go:build unix

package main

import "syscall"

// cpuMicros returns the CPU time the process has used, in microseconds.
func cpuMicros() (user, sys int64, err error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0, err
	}
	return u.Utime.Nano() / 1000, u.Stime.Nano() / 1000, nil
}
