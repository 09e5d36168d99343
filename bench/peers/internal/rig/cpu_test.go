//go:build linux

package rig

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The account of this process must agree with getrusage, however many threads
// the work ran on.
func TestReadCPU(t *testing.T) {
	usage := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before, err := readCPU("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	used := usage()
	done := make(chan bool)
	go func() { // a thread that ends, and takes its account along
		runtime.LockOSThread()
		for burnt := usage(); usage()-burnt < 100*time.Millisecond; {
		}
		close(done)
	}()
	<-done
	for burnt := usage(); usage()-burnt < 100*time.Millisecond; {
	}
	used = usage() - used
	after, err := readCPU("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := after.since(before); got < used-4*tick || got > used+4*tick {
		t.Errorf("%v by /proc, %v by getrusage", got, used)
	}
}

func TestReadCPUFiles(t *testing.T) {
	proc := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(proc, "7", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readCPU(proc, 7); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no process: %v", err)
	}
	write("stat", "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 20 30 40 50")
	r, err := readCPU(proc, 7)
	if want := (cpuReading{process: 500 * time.Millisecond}); r != want || err != nil {
		t.Errorf("without schedstat: %+v, %v, want %+v", r, err, want)
	}
	write("task/7/schedstat", "300 1 2\n")
	write("task/8/schedstat", "4000000000 1 2\n")
	r, err = readCPU(proc, 7)
	if want := (cpuReading{4*time.Second + 300, 500 * time.Millisecond}); r != want || err != nil {
		t.Errorf("%+v, %v, want %+v", r, err, want)
	}
	write("stat", "7 (a) S 1")
	if _, err := readCPU(proc, 7); err == nil {
		t.Error("a short stat line is accepted")
	}
}

func TestSince(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after cpuReading
		want          time.Duration
	}{
		{"threads are finer", cpuReading{100, 0}, cpuReading{20_000_100, 2 * tick}, 20_000_000},
		{"a thread ended", cpuReading{100 * tick, 100 * tick}, cpuReading{10 * tick, 200 * tick}, 100 * tick},
		{"no schedstat", cpuReading{0, 3 * tick}, cpuReading{0, 5 * tick}, 2 * tick},
	} {
		if got := tt.after.since(tt.before); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
