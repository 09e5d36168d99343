//go:build linux

package ring

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// sliceOf returns the time slice that the calling thread has, 0 if the kernel does not say.
func sliceOf(t *testing.T) uint64 {
	t.Helper()
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a.Runtime
}

func TestSlice(t *testing.T) {
	runtime.LockOSThread()
	usual := sliceOf(t)
	runtime.UnlockOSThread()
	if usual == 0 {
		t.Skip("the kernel has no slices")
	}
	for features, want := range map[string]uint64{"": uint64(slice), "short-slice=off": usual} {
		l := start(t, Options{Features: features})
		var got uint64
		do(t, l, func() { got = sliceOf(t) })
		if got != want {
			t.Errorf("%q: the loop's slice is %d ns, want %d", features, got, want)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if now := sliceOf(t); now != usual {
		t.Errorf("the slice of another thread is %d ns, want %d", now, usual)
	}
}
