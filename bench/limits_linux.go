package bench

import (
	"fmt"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/budget"
)

// limits returns what bounds a data plane: memory that may be locked (registered
// buffers count), descriptors, the memory of the control group, and the switch that
// forbids io_uring (admin-guide/sysctl/kernel, io_uring_disabled).
func limits() []Limit {
	list := []Limit{
		{"memlock, bytes", rlimit(unix.RLIMIT_MEMLOCK)},
		{"nofile", rlimit(unix.RLIMIT_NOFILE)},
		{"cgroup memory, bytes", cgroupMemory()},
		{"cgroup cpu, us quota and period", cgroupCPU()},
	}
	if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil {
		list = append(list, Limit{"io_uring_disabled", strings.TrimSpace(string(b))})
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

// cgroups calls use with the text of a file of this process's group of the v2
// hierarchy, and of those above it up to the root, and reports whether there is a
// hierarchy.
func cgroups(file string, use func(text string)) bool {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for ok {
			if text, err := os.ReadFile(path.Join("/sys/fs/cgroup", group, file)); err == nil {
				use(strings.TrimSpace(string(text)))
			}
			ok = group != "/" && group != "."
			group = path.Dir(group)
		}
	}
	return true
}

// cgroupMemory returns the tightest limit of memory, of either version of control groups.
func cgroupMemory() string {
	if n := budget.MemoryMax(os.DirFS("/")); n > 0 {
		return strconv.FormatInt(n, 10)
	}
	return "unlimited"
}

// cgroupCPU returns the tightest cpu.max, as the kernel writes it: quota and period.
func cgroupCPU() string {
	text, least := "unlimited", math.Inf(1)
	if !cgroups("cpu.max", func(s string) {
		var quota, period float64
		if n, _ := fmt.Sscan(s, &quota, &period); n == 2 && period > 0 && quota/period < least {
			text, least = s, quota/period
		}
	}) {
		return "unknown"
	}
	return text
}
