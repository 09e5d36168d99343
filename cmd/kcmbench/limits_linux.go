package main

import (
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// limits returns what bounds a data plane: memory that may be locked (registered
// buffers count), descriptors, the memory of the control group, and the switch that
// forbids io_uring (admin-guide/sysctl/kernel, io_uring_disabled).
func limits() []limit {
	list := []limit{
		{"memlock, bytes", rlimit(unix.RLIMIT_MEMLOCK)},
		{"nofile", rlimit(unix.RLIMIT_NOFILE)},
		{"cgroup memory, bytes", cgroupMemory()},
	}
	if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil {
		list = append(list, limit{"io_uring_disabled", strings.TrimSpace(string(b))})
	}
	return list
}

// rlimit returns the soft and the hard limit.
func rlimit(resource int) string {
	var r unix.Rlimit
	if err := unix.Getrlimit(resource, &r); err != nil {
		return "unknown: " + err.Error()
	}
	number := func(n uint64) string {
		if n == unix.RLIM_INFINITY {
			return "unlimited"
		}
		return strconv.FormatUint(n, 10)
	}
	if r.Cur == r.Max {
		return number(r.Cur)
	}
	return number(r.Cur) + " (may be raised to " + number(r.Max) + ")"
}

// cgroupMemory returns the tightest memory.max from this process's group of the v2
// hierarchy up to the root.
func cgroupMemory() string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "unknown"
	}
	tightest := uint64(unix.RLIM_INFINITY)
	for line := range strings.Lines(string(b)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for ok {
			text, err := os.ReadFile(path.Join("/sys/fs/cgroup", group, "memory.max"))
			if err == nil {
				if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil {
					tightest = min(tightest, n)
				}
			}
			ok = group != "/" && group != "."
			group = path.Dir(group)
		}
	}
	if tightest == unix.RLIM_INFINITY {
		return "unlimited"
	}
	return strconv.FormatUint(tightest, 10)
}
