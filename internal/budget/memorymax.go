package budget

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Names of the limit, and where the groups are, by version of control groups (the kernel's
// Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; systemd and container runtimes
// mount them there).
const (
	mountV2, fileV2 = "sys/fs/cgroup", "memory.max"
	mountV1, fileV1 = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
)

// unlimited is what version 1 says for none, the largest number of whole pages, or less than that by
// the size of a page: no machine has as much.
const unlimited = 1 << 60

// MemoryMax returns the limit in bytes that the control group of this process, or one that it is in, sets
// on memory; 0 for none, and when it cannot be read. root is the root of the file system.
func MemoryMax(root fs.FS) int64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(0)
	for line := range strings.Lines(string(groups)) {
		// hierarchy-ID:controller-list:cgroup-path, cgroups(7)
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, ok := strings.Cut(rest, ":")
		if !ok {
			continue
		}
		mount, file := mountV2, fileV2
		if controllers != "" {
			mount, file = mountV1, fileV1
			if !hasMemory(controllers) {
				continue
			}
		}
		// A container may see the path on the host, and its own group as the root.
		for group = path.Clean("/" + group); ; group = path.Dir(group) {
			if n := readLimit(root, path.Join(mount, group, file)); n > 0 && (least == 0 || n < least) {
				least = n
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// hasMemory reports whether the list of controllers, with commas, has memory.
func hasMemory(controllers string) bool {
	for c := range strings.SplitSeq(controllers, ",") {
		if c == "memory" {
			return true
		}
	}
	return false
}

// readLimit reads a limit, 0 for none.
func readLimit(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is no number
	if err != nil || n >= unlimited {
		return 0
	}
	return n
}
