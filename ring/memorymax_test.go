//go:build linux

package ring

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The default sizes follow a limit, Notes tells, and what was chosen and cannot fit is refused with the sum.
func TestMemoryLimit(t *testing.T) {
	var o Options
	if err := o.fill(128 << 20); err != nil {
		t.Fatal(err)
	}
	if o.Buffers != 512 || o.RegionBytes != 12<<20 || o.SpillBytes != 32<<20 || !strings.Contains(o.note, "memory.max") {
		t.Errorf("%d buffers, %d and %d bytes, note %q", o.Buffers, o.RegionBytes, o.SpillBytes, o.note)
	}
	if err := o.fill(0); err != nil || o.note != "" || o.RegionBytes != 12<<20 {
		t.Errorf("filled again: %v, %d bytes, note %q", err, o.RegionBytes, o.note)
	}
	o = Options{Buffers: 8192}
	if err := o.fill(128 << 20); !isErrno(err, syscall.ENOMEM) || !strings.Contains(err.Error(), "Buffers 8192 x BufferSize 32768") {
		t.Errorf("%v, want ENOMEM", err)
	}
	o = Options{Buffers: 3} // what is wrong by itself comes first
	if err := o.fill(1 << 20); !isErrno(err, syscall.EINVAL) {
		t.Errorf("%v, want EINVAL", err)
	}
}

// In a real control group with 128 MiB.
func TestInMemoryControlGroup(t *testing.T) {
	if procs, set := os.LookupEnv(childEnv); set {
		if err := os.WriteFile(procs, []byte(strconv.Itoa(os.Getpid())), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{SpillBytes: 256 << 20}); !isErrno(err, syscall.ENOMEM) ||
			!strings.Contains(err.Error(), "memory.max") || !strings.Contains(err.Error(), "134217728 bytes") {
			t.Errorf("New of too much: %v", err)
		}
		l := start(t, Options{})
		if o := l.Options(); o.RegionBytes != 12<<20 || o.SpillBytes != 32<<20 {
			t.Errorf("%d and %d bytes", o.RegionBytes, o.SpillBytes)
		}
		if notes := strings.Join(l.Notes(), "\n"); !strings.Contains(notes, "memory.max") {
			t.Errorf("notes %q", notes)
		}
		receives(t, l)
		return
	}
	group, file := controlGroup(t)
	if err := os.WriteFile(filepath.Join(group, file), []byte(strconv.Itoa(128<<20)), 0); err != nil {
		t.Skip("no limit can be set: ", err)
	}
	childFor(t, t.Name(), filepath.Join(group, "cgroup.procs"))
}

// controlGroup makes a group for the test, and returns its directory and the file with its limit.
func controlGroup(t *testing.T) (dir, file string) {
	t.Helper()
	for _, v := range []struct{ mount, file string }{
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, // version 1
		{"/sys/fs/cgroup", "memory.max"},                   // version 2
	} {
		dir := filepath.Join(v.mount, "kcm-test-"+strconv.Itoa(os.Getpid()))
		if _, err := os.Stat(filepath.Join(v.mount, "cgroup.procs")); err != nil {
			continue
		}
		// The root of version 2 may have to hand the controller down; version 1 has no such file.
		_ = os.WriteFile(filepath.Join(v.mount, "cgroup.subtree_control"), []byte("+memory"), 0)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skip("no control group can be made: ", err)
		}
		t.Cleanup(func() {
			wait(t, "the group is empty", func() bool { return os.Remove(dir) == nil })
		})
		if _, err := os.Stat(filepath.Join(dir, v.file)); err != nil {
			t.Skip("the group has no limit on memory: ", err)
		}
		return dir, v.file
	}
	t.Skip("no control groups are mounted")
	return "", ""
}
