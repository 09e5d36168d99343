package leak

import (
	"fmt"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// Main runs the tests, fails if goroutines or descriptors were left, and exits.
func Main(m *testing.M) { goleak.VerifyTestMain(descriptors{m}) }

// descriptors runs the tests and compares the open descriptors before and after.
type descriptors struct{ m *testing.M }

// Run implements goleak.TestingM.
func (d descriptors) Run() int {
	// The runtime opens descriptors of its own with the first socket.
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
	}
	before := open()
	code := d.m.Run()
	// The last goroutines of a test may close theirs a moment later.
	var left []string
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		left = slices.DeleteFunc(open(), func(s string) bool { return slices.Contains(before, s) })
		if len(left) == 0 {
			return code
		}
		<-tick.C
	}
	fmt.Fprintf(os.Stderr, "%d descriptors were left open: %v\n", len(left), left)
	return max(code, 1)
}

// open lists the process's descriptors with what they are, "7 -> socket:[4711]";
// none where there is no /proc.
func open() []string {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var fds []string
	for _, e := range entries {
		if what, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil { // the directory itself is closed by now
			fds = append(fds, e.Name()+" -> "+what)
		}
	}
	return fds
}
