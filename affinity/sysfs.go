package affinity

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

const (
	sysCPU  = "sys/devices/system/cpu"
	sysNode = "sys/devices/system/node"
)

// readText returns a file's content, or "" if it cannot be read.
func readText(fsys fs.FS, name string) string {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return ""
	}
	return string(text)
}

// readLine returns the content of a file of one line, without space around it.
func readLine(fsys fs.FS, name string) string {
	return strings.TrimSpace(readText(fsys, name))
}

// readInt returns the number in a file, or 0 if there is none above 0.
func readInt(fsys fs.FS, name string) int {
	n, err := strconv.ParseInt(readLine(fsys, name), 10, 32)
	if err != nil {
		return 0
	}
	return max(0, int(n))
}

// readList returns the CPU list in a file; ok is false if there is none or it is
// empty, which for the files read here is as good as absent.
func readList(fsys fs.FS, name string) (set CPUSet, ok bool) {
	set, err := ParseCPUSet(readText(fsys, name))
	return set, err == nil && !set.Empty()
}

func cpuFile(cpu int, name string) string {
	return path.Join(sysCPU, "cpu"+strconv.Itoa(cpu), name)
}

// readSiblings returns the hardware threads of cpu's core. The second name is
// the one before Linux 5.3.
func readSiblings(fsys fs.FS, cpu int) (CPUSet, bool) {
	if set, ok := readList(fsys, cpuFile(cpu, "topology/core_cpus_list")); ok {
		return set, true
	}
	return readList(fsys, cpuFile(cpu, "topology/thread_siblings_list"))
}

// readSocket returns cpu's physical package; the kernel's -1 for "not known"
// becomes 0.
func readSocket(fsys fs.FS, cpu int) int {
	return readInt(fsys, cpuFile(cpu, "topology/physical_package_id"))
}

// readCacheLine returns the largest line size of cpu's caches in bytes: data
// that must not share a line must not share one on any level.
func readCacheLine(fsys fs.FS, cpu int) int {
	largest := 0
	for i := 0; ; i++ {
		size := readInt(fsys, cpuFile(cpu, fmt.Sprintf("cache/index%d/coherency_line_size", i)))
		if size == 0 {
			return largest
		}
		largest = max(largest, size)
	}
}

// readNodes maps CPUs to their NUMA node.
func readNodes(fsys fs.FS) map[int]int {
	nodes := map[int]int{}
	entries, _ := fs.ReadDir(fsys, sysNode) // none: every CPU is in node 0
	for _, entry := range entries {
		number, isNode := strings.CutPrefix(entry.Name(), "node")
		id, err := strconv.ParseUint(number, 10, 10) // Linux numbers up to 1024 nodes
		if !isNode || err != nil {
			continue
		}
		list, _ := readList(fsys, path.Join(sysNode, entry.Name(), "cpulist"))
		for cpu := range list.All() {
			nodes[cpu] = int(id)
		}
	}
	return nodes
}

// kinds tells performance from efficiency cores.
type kinds struct {
	small    CPUSet      // efficiency cores; empty on a machine with one kind
	capacity map[int]int // of the CPUs that have one
}

func (k *kinds) of(cpu int) Kind {
	switch {
	case k.small.Empty():
		return Uniform
	case k.small.Has(cpu):
		return Efficiency
	}
	return Performance
}

// readKinds looks at all CPUs online, not just the allowed ones: a process
// confined to efficiency cores should know that they are.
func readKinds(fsys fs.FS, online CPUSet) *kinds {
	k := &kinds{capacity: map[int]int{}}
	largest := 0
	for cpu := range online.All() {
		if c := readInt(fsys, cpuFile(cpu, "cpu_capacity")); c > 0 {
			k.capacity[cpu] = c
			largest = max(largest, c)
		}
	}
	// Intel's hybrid processors have one PMU per kind of core, and its cpus file.
	// Arrow Lake H added a third.
	big, _ := readList(fsys, "sys/devices/cpu_core/cpus")
	small, _ := readList(fsys, "sys/devices/cpu_atom/cpus")
	tiny, _ := readList(fsys, "sys/devices/cpu_lowpower/cpus")
	for cpu := range tiny.All() {
		small.Add(cpu)
	}
	if big.Empty() && small.Empty() {
		// Firmware reports slightly different capacities for equal cores that
		// differ in clock, so a small core is one well below the fastest.
		for cpu, c := range k.capacity {
			if 4*c < 3*largest {
				small.Add(cpu)
			} else {
				big.Add(cpu)
			}
		}
	}
	if !big.Empty() && !small.Empty() {
		k.small = small
	}
	return k
}
