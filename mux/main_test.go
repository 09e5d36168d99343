//go:build linux

package mux_test

import (
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain sees to it that the tests leave neither goroutines nor descriptors
// behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(descriptors{m}) }

// descriptors runs the tests and compares the open descriptors before and after.
type descriptors struct{ m *testing.M }

func (d descriptors) Run() int {
	// The runtime opens descriptors of its own with the first socket.
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	before := openDescriptors()
	code := d.m.Run()
	// The last goroutines of a test may close theirs a moment later.
	var left []string
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		left = slices.DeleteFunc(openDescriptors(), func(s string) bool { return slices.Contains(before, s) })
		if len(left) == 0 {
			break
		}
		<-tick.C
	}
	if len(left) > 0 {
		fmt.Fprintf(os.Stderr, "%d descriptors were left open: %v\n", len(left), left)
		return max(code, 1)
	}
	return code
}

// openDescriptors lists the process's descriptors with what they are, "7 -> socket:[4711]".
func openDescriptors() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var open []string
	for _, e := range entries {
		if what, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // the directory itself is closed by now
			open = append(open, e.Name()+" -> "+what)
		}
	}
	return open
}
