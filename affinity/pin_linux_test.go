package affinity

import (
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// onLockedThread runs f in a goroutine that ends while locked, so that the
// runtime ends the thread with whatever mask f left on it.
func onLockedThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

// runningOn returns the CPU that /proc says the calling thread runs on, field 39
// of proc_pid_stat(5).
func runningOn(t *testing.T) int {
	stat, err := os.ReadFile("/proc/thread-self/stat")
	if err != nil {
		t.Error(err)
		return NoCPU
	}
	// The second field, a name in parentheses, may contain spaces.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	cpu, err := strconv.Atoi(fields[39-3])
	if err != nil {
		t.Error(err)
		return NoCPU
	}
	return cpu
}

func current(t *testing.T) CPUSet {
	mask, err := Current()
	if err != nil {
		t.Error(err)
	}
	return mask
}

func TestPin(t *testing.T) {
	before := current(t)
	if before.Empty() {
		t.Fatal("no CPU to pin to")
	}
	onLockedThread(func() {
		for cpu := range before.All() {
			if err := Pin(cpu); err != nil {
				t.Error(err)
				continue
			}
			if got := current(t); got != NewCPUSet(cpu) {
				t.Errorf("pinned to %d, mask %s", cpu, got)
			}
			if got := runningOn(t); got != cpu {
				t.Errorf("pinned to %d, running on %d", cpu, got)
			}
			if err := Pin(NoCPU); err != nil || current(t) != NewCPUSet(cpu) {
				t.Errorf("Pin(NoCPU): %v, mask %s, want %d as before", err, current(t), cpu)
			}
		}
		if err := PinMask(before); err != nil || current(t) != before {
			t.Errorf("PinMask(%s): %v, mask %s", before, err, current(t))
		}
		if err := Pin(before.First()); err != nil { // dies pinned
			t.Error(err)
		}
	})
	if after := current(t); after != before {
		t.Errorf("mask of another thread went from %s to %s", before, after)
	}
}

func TestPinRefused(t *testing.T) {
	onLockedThread(func() {
		before := current(t)
		for _, cpu := range []int{-2, MaxCPU, MaxCPU - 1} {
			if before.Has(cpu) {
				continue // a machine with 8192 CPUs
			}
			if err := Pin(cpu); !errors.Is(err, syscall.EINVAL) || !strings.HasPrefix(err.Error(), "pin: CPU "+strconv.Itoa(cpu)+": ") {
				t.Errorf("Pin(%d): %v, want EINVAL", cpu, err)
			}
		}
		if err := PinMask(CPUSet{}); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("PinMask of no CPU: %v, want EINVAL", err)
		}
		if after := current(t); after != before {
			t.Errorf("refused, but the mask went from %s to %s", before, after)
		}
	})
}

// TestDiscoverSeesMask: what Discover allows is the calling thread's mask.
func TestDiscoverSeesMask(t *testing.T) {
	onLockedThread(func() {
		cpu := current(t).First()
		if err := Pin(cpu); err != nil {
			t.Error(err)
			return
		}
		top, err := Discover()
		if err != nil {
			t.Error(err)
			return
		}
		if top.Allowed != NewCPUSet(cpu) || len(top.Cores) != 1 {
			t.Errorf("pinned to %d, discovered %s in %d cores", cpu, top.Allowed, len(top.Cores))
		}
	})
}
