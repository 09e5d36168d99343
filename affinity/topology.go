package affinity

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// NoCPU stands for "no CPU": the CPU, core and node of a slot that is not to be
// pinned, and the first CPU of an empty set.
const NoCPU = -1

// ErrNoCPU is returned for a mask without a CPU.
var ErrNoCPU = errors.New("no usable CPU")

// Topology describes the CPUs this process may use. It is a snapshot, read only
// after discovery, and safe for concurrent use as such.
type Topology struct {
	Brand     string  `json:"brand,omitempty"`      // the CPU's name, if known
	CacheLine int     `json:"cache_line"`           // bytes; 0: not known (Discover never leaves 0)
	Online    CPUSet  `json:"online"`               // CPUs the machine runs
	Allowed   CPUSet  `json:"allowed"`              // those this process may use
	Physical  int     `json:"physical"`             // physical cores behind Allowed
	Quota     float64 `json:"quota,omitempty"`      // cgroup bandwidth limit in CPUs; 0: none
	QuotaFile string  `json:"quota_file,omitempty"` // the file that sets it

	// Cores holds the cores with an allowed CPU, ascending by ID. Each allowed
	// CPU is in exactly one. Physical is its length, unless the kernel does not
	// tell cores apart and CPUID knows better.
	Cores []Core `json:"cores"`

	// Notes are sentences for the reader about what could not be found out.
	Notes []string `json:"notes,omitempty"`

	coresUnknown bool // no core was described by sysfs
}

// Core is one physical core.
type Core struct {
	ID       int   `json:"id"`                 // its lowest online CPU; unique on the machine
	CPUs     []int `json:"cpus"`               // its hardware threads this process may use, ascending
	Threads  []int `json:"threads"`            // all its hardware threads online (SMT siblings)
	Socket   int   `json:"socket"`             // physical package
	Node     int   `json:"node"`               // NUMA node
	Kind     Kind  `json:"kind"`               // of core, on a machine with several
	Capacity int   `json:"capacity,omitempty"` // kernel's cpu_capacity, 1024 for the fastest; 0: not known
}

// Kind tells apart the cores of a hybrid machine.
type Kind uint8

const (
	Uniform     Kind = iota // the machine has one kind, or does not tell
	Performance             // big core
	Efficiency              // small core
)

var kindNames = [...]string{"uniform", "performance", "efficiency"}

// String returns the kind in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind " + strconv.Itoa(int(k))
}

// MarshalText implements encoding.TextMarshaler with the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with the kind's name.
func (k *Kind) UnmarshalText(text []byte) error {
	i := slices.Index(kindNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("parse core kind: %q is none", text)
	}
	*k = Kind(i)
	return nil
}

// DiscoverFS reads a topology from a file system rooted at "/", with the parts
// of proc, sysfs and cgroupfs that tell it, and from mask, the CPUs the
// scheduler lets the process use (see [Current]). It touches nothing else, so a
// recorded machine gives the same result anywhere.
//
// Allowed is the mask without what the online file and the cpuset exclude. A
// file that is missing, malformed or in conflict with the mask is never an error:
// it is passed over. The only error is ErrNoCPU, for an empty mask.
//
// Sources: Documentation/ABI/stable/sysfs-devices-system-cpu and
// sysfs-devices-node, admin-guide/cputopology; the core lists of hybrid x86
// processors are those of their PMUs, and elsewhere cpu_capacity decides.
func DiscoverFS(fsys fs.FS, mask CPUSet) (*Topology, error) {
	if mask.Empty() {
		return nil, fmt.Errorf("discover: the mask is empty: %w", ErrNoCPU)
	}
	t := &Topology{Online: mask, Allowed: mask}
	if online, ok := readList(fsys, sysCPU+"/online"); ok && t.narrow("online", online) {
		t.Online = online
	}
	groups := readCgroups(fsys)
	if cpuset, ok := groups.cpuset(); ok {
		t.narrow("cpuset", cpuset)
	}
	t.Quota, t.QuotaFile = groups.quota()
	t.CacheLine = readCacheLine(fsys, t.Allowed.First())
	t.readCores(fsys)
	t.Physical = len(t.Cores)
	return t, nil
}

// narrow confines Allowed to a list found in a file, and reports whether it did.
// The scheduler never leaves a thread without a CPU that is online and in its
// cpuset, so a list that shares nothing with the mask is not about this process:
// some containers show an invented online file.
func (t *Topology) narrow(name string, list CPUSet) bool {
	both := t.Allowed.And(list)
	if both.Empty() {
		t.Notes = append(t.Notes, fmt.Sprintf(
			"the %s list %s has none of the usable CPUs %s: it is ignored", name, list, t.Allowed))
		return false
	}
	t.Allowed = both
	return true
}

// readCores groups the allowed CPUs by core.
func (t *Topology) readCores(fsys fs.FS) {
	nodes := readNodes(fsys)
	kinds := readKinds(fsys, t.Online)
	index := map[int]int{} // core ID -> place in t.Cores
	var alone, halved CPUSet
	for cpu := range t.Allowed.All() {
		siblings, ok := readSiblings(fsys, cpu)
		if !ok {
			alone.Add(cpu)
		}
		siblings = siblings.And(t.Online)
		siblings.Add(cpu)
		id := siblings.First()
		if i, known := index[id]; known {
			t.Cores[i].CPUs = append(t.Cores[i].CPUs, cpu)
			continue
		}
		index[id] = len(t.Cores)
		t.Cores = append(t.Cores, Core{
			ID:       id,
			CPUs:     []int{cpu},
			Threads:  slices.Collect(siblings.All()),
			Socket:   readSocket(fsys, cpu),
			Node:     nodes[cpu],
			Kind:     kinds.of(cpu),
			Capacity: kinds.capacity[cpu],
		})
		if siblings.And(t.Allowed) != siblings {
			halved.Add(id)
		}
	}
	// A core whose lowest thread is not allowed may turn up after a higher one.
	slices.SortFunc(t.Cores, func(a, b Core) int { return a.ID - b.ID })

	t.coresUnknown = alone == t.Allowed
	if !alone.Empty() {
		t.Notes = append(t.Notes, fmt.Sprintf(
			"sysfs does not tell the core of CPUs %s: each counts as a core of its own", alone))
	}
	if !halved.Empty() {
		t.Notes = append(t.Notes, fmt.Sprintf(
			"cores %s have SMT siblings outside the allowed CPUs: other work may run there", halved))
	}
}

// Sockets returns the physical packages of the allowed CPUs, ascending.
func (t *Topology) Sockets() []int {
	return distinct(t.Cores, func(c Core) int { return c.Socket })
}

// Nodes returns the NUMA nodes of the allowed CPUs, ascending.
func (t *Topology) Nodes() []int {
	return distinct(t.Cores, func(c Core) int { return c.Node })
}

func distinct[T any](list []T, key func(T) int) []int {
	var keys []int
	for _, item := range list {
		keys = append(keys, key(item))
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// String describes the topology in lines of text, the cores summed up by
// socket, node and kind.
func (t *Topology) String() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s  %s\n", name, fmt.Sprintf(format, args...))
	}
	if t.Brand != "" {
		line("processor", "%s", t.Brand)
	}
	line("online", "%s", t.Online)
	line("allowed", "%s (CPUs %d, physical cores %d, sockets %d, nodes %d)", t.Allowed,
		t.Allowed.Count(), t.Physical, len(t.Sockets()), len(t.Nodes()))
	if t.Quota > 0 {
		line("quota", "%.2f CPUs (/%s)", t.Quota, t.QuotaFile)
	} else {
		line("quota", "none")
	}
	if t.CacheLine > 0 {
		line("cache line", "%d bytes", t.CacheLine)
	}

	type place struct {
		socket, node int
		kind         Kind
	}
	type members struct{ cores, cpus CPUSet }
	var order []place
	groups := map[place]*members{}
	for _, c := range t.Cores {
		p := place{c.Socket, c.Node, c.Kind}
		if groups[p] == nil {
			groups[p] = &members{}
			order = append(order, p)
		}
		groups[p].cores.Add(c.ID)
		for _, cpu := range c.CPUs {
			groups[p].cpus.Add(cpu)
		}
	}
	for _, p := range order {
		line("cores", "%s on CPUs %s: socket %d, node %d, %s",
			groups[p].cores, groups[p].cpus, p.socket, p.node, p.kind)
	}
	for _, note := range t.Notes {
		line("note", "%s", note)
	}
	return b.String()
}
