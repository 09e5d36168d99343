package rig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc/PID/stat: USER_HZ is 100 on all
// architectures that Go supports.
const tick = 10 * time.Millisecond

// cpuReading is the CPU time of a process at one moment, by two accounts.
type cpuReading struct {
	threads time.Duration // sum over living threads, to the nanosecond
	process time.Duration // with threads that have ended, in ticks
}

// readCPU reads the CPU time of a process from /proc (see the kernel's
// Documentation/scheduler/sched-stats.rst and proc_pid_stat(5)). A kernel
// without schedstat gives threads = 0.
func readCPU(proc string, pid int) (cpuReading, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return cpuReading{}, fmt.Errorf("read CPU time: %w", err)
	}
	// The second field is the name in parentheses and may contain anything.
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return cpuReading{}, fmt.Errorf("read CPU time: %s/stat: short line %q", dir, stat)
	}
	utime, err1 := strconv.ParseInt(fields[11], 10, 64) // field 14 of the file
	stime, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return cpuReading{}, fmt.Errorf("read CPU time: %s/stat: %w", dir, err)
	}
	r := cpuReading{process: time.Duration(utime+stime) * tick}

	files, err := filepath.Glob(filepath.Join(dir, "task", "*", "schedstat"))
	if err != nil {
		return cpuReading{}, fmt.Errorf("read CPU time: %w", err)
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // the thread ended just now; process has it
		}
		ns, _, _ := strings.Cut(string(line), " ")
		n, err := strconv.ParseInt(ns, 10, 64)
		if err != nil {
			return cpuReading{}, fmt.Errorf("read CPU time: %s: %w", file, err)
		}
		r.threads += time.Duration(n)
	}
	return r, nil
}

// since returns the CPU time used between two readings: by threads, unless the
// kernel has no such account or so much more is in the process account that
// ticks do not explain it, which is so when a thread ended in between.
func (r cpuReading) since(before cpuReading) time.Duration {
	threads, process := r.threads-before.threads, r.process-before.process
	if r.threads == 0 || process-threads > 3*tick {
		return process
	}
	return threads
}
