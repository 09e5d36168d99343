package affinity

import (
	"encoding/json"
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// TestMachines compares the text form, which holds everything but the threads of
// each core; TestCores has those.
func TestMachines(t *testing.T) {
	want := map[string]string{
		"one_socket": `
online      0-3
allowed     0-3 (CPUs 4, physical cores 4, sockets 1, nodes 1)
quota       none
cache line  64 bytes
cores       0-3 on CPUs 0-3: socket 0, node 0, uniform
`,
		"two_sockets_smt": `
online      0-15
allowed     0-15 (CPUs 16, physical cores 8, sockets 2, nodes 2)
quota       none
cache line  64 bytes
cores       0-3 on CPUs 0-3,8-11: socket 0, node 0, uniform
cores       4-7 on CPUs 4-7,12-15: socket 1, node 1, uniform
`,
		"hybrid_x86": `
online      0-11
allowed     0-11 (CPUs 12, physical cores 8, sockets 1, nodes 1)
quota       none
cache line  64 bytes
cores       0,2,4,6 on CPUs 0-7: socket 0, node 0, performance
cores       8-11 on CPUs 8-11: socket 0, node 0, efficiency
`,
		"arm64_capacity": `
online      0-7
allowed     0-7 (CPUs 8, physical cores 8, sockets 1, nodes 1)
quota       none
cores       0-3 on CPUs 0-3: socket 0, node 0, efficiency
cores       4-7 on CPUs 4-7: socket 0, node 0, performance
`,
		"container_v2": `
online      0-7
allowed     1-2,5-6 (CPUs 4, physical cores 2, sockets 1, nodes 1)
quota       1.50 CPUs (/sys/fs/cgroup/cpu.max)
cache line  64 bytes
cores       1-2 on CPUs 1-2,5-6: socket 0, node 0, uniform
`,
		"container_v1": `
online      0-3
allowed     0-3 (CPUs 4, physical cores 2, sockets 1, nodes 1)
quota       2.50 CPUs (/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us)
cache line  64 bytes
cores       0,2 on CPUs 0-3: socket 0, node 0, uniform
`,
		"mixed_cgroups": `
online      0-1
allowed     0-1 (CPUs 2, physical cores 2, sockets 1, nodes 1)
quota       none
cache line  64 bytes
cores       0-1 on CPUs 0-1: socket 0, node 0, uniform
`,
		"offline_cpus": `
online      0,2-3,5,7
allowed     0,2-3,5,7 (CPUs 5, physical cores 4, sockets 1, nodes 1)
quota       none
cache line  64 bytes
cores       0,2-3,5 on CPUs 0,2-3,5,7: socket 0, node 0, uniform
`,
		"bare": `
online      0-2,5
allowed     0-2,5 (CPUs 4, physical cores 4, sockets 1, nodes 1)
quota       none
cores       0-2,5 on CPUs 0-2,5: socket 0, node 0, uniform
note        sysfs does not tell the core of CPUs 0-2,5: each counts as a core of its own
`,
	}
	for _, name := range machineNames(t) {
		t.Run(name, func(t *testing.T) {
			if got := "\n" + discoverMachine(t, name).String(); got != want[name] {
				t.Errorf("got:%s\nwant:%s", got, want[name])
			}
		})
	}
}

func TestCores(t *testing.T) {
	for _, tt := range []struct {
		machine string
		core    int // ID
		want    Core
	}{
		{"two_sockets_smt", 5, Core{CPUs: []int{5, 13}, Threads: []int{5, 13}, Socket: 1, Node: 1}},
		{"hybrid_x86", 6, Core{CPUs: []int{6, 7}, Threads: []int{6, 7}, Kind: Performance}},
		{"hybrid_x86", 8, Core{CPUs: []int{8}, Threads: []int{8}, Kind: Efficiency}},
		{"arm64_capacity", 6, Core{CPUs: []int{6}, Threads: []int{6}, Kind: Performance, Capacity: 880}},
		{"arm64_capacity", 7, Core{CPUs: []int{7}, Threads: []int{7}, Kind: Performance, Capacity: 1024}},
		{"offline_cpus", 2, Core{CPUs: []int{2}, Threads: []int{2}}},
		{"offline_cpus", 3, Core{CPUs: []int{3, 7}, Threads: []int{3, 7}}},
	} {
		tt.want.ID = tt.core
		cores := discoverMachine(t, tt.machine).Cores
		i := slices.IndexFunc(cores, func(c Core) bool { return c.ID == tt.core })
		if i < 0 || !reflect.DeepEqual(cores[i], tt.want) {
			t.Errorf("%s, core %d: cores %+v, want among them %+v", tt.machine, tt.core, cores, tt.want)
		}
	}
}

// TestCoresPartitionAllowed holds for any machine and any mask, also for one that
// cuts cores in half.
func TestCoresPartitionAllowed(t *testing.T) {
	for _, name := range machineNames(t) {
		machine, mask := readMachine(t, name)
		masks := []CPUSet{mask}
		for cpu := range mask.All() {
			masks = append(masks, NewCPUSet(cpu))
		}
		for keep := 2; keep <= 3; keep++ {
			var some CPUSet
			for cpu := range mask.All() {
				if cpu%keep != 0 {
					some.Add(cpu)
				}
			}
			masks = append(masks, some)
		}
		for _, m := range masks {
			top, err := DiscoverFS(machine, m)
			if err != nil {
				t.Fatal(err)
			}
			var all []int
			last := -1
			for _, c := range top.Cores {
				if c.ID <= last || c.Threads[0] != c.ID || len(c.CPUs) == 0 || !slices.IsSorted(c.CPUs) {
					t.Errorf("%s, mask %s: core after %d is %+v", name, m, last, c)
				}
				for _, cpu := range c.CPUs {
					if !slices.Contains(c.Threads, cpu) {
						t.Errorf("%s, mask %s: CPU %d is no thread of %+v", name, m, cpu, c)
					}
				}
				last = c.ID
				all = append(all, c.CPUs...)
			}
			if NewCPUSet(all...) != top.Allowed || len(all) != top.Allowed.Count() || top.Allowed.And(m) != top.Allowed {
				t.Errorf("%s, mask %s: cores hold CPUs %v, allowed %s", name, m, all, top.Allowed)
			}
		}
	}
}

func TestHalfCores(t *testing.T) {
	machine, _ := readMachine(t, "two_sockets_smt")
	// Second threads of cores 0 and 1, both threads of core 5.
	top, err := DiscoverFS(machine, NewCPUSet(5, 8, 9, 13))
	if err != nil {
		t.Fatal(err)
	}
	want := []Core{
		{ID: 0, CPUs: []int{8}, Threads: []int{0, 8}},
		{ID: 1, CPUs: []int{9}, Threads: []int{1, 9}},
		{ID: 5, CPUs: []int{5, 13}, Threads: []int{5, 13}, Socket: 1, Node: 1},
	}
	if !reflect.DeepEqual(top.Cores, want) {
		t.Errorf("cores %+v, want %+v", top.Cores, want)
	}
	if want := []string{"cores 0-1 have SMT siblings outside the allowed CPUs: other work may run there"}; !slices.Equal(top.Notes, want) {
		t.Errorf("notes %q, want %q", top.Notes, want)
	}
}

// TestKindsOutsideMask: a process on efficiency cores alone knows that they are.
func TestKindsOutsideMask(t *testing.T) {
	for _, tt := range []struct {
		machine string
		mask    CPUSet
		want    Kind
	}{
		{"hybrid_x86", NewCPUSet(9, 10), Efficiency},
		{"hybrid_x86", NewCPUSet(2), Performance},
		{"arm64_capacity", NewCPUSet(0, 1), Efficiency},
		{"arm64_capacity", NewCPUSet(5), Performance},
	} {
		machine, _ := readMachine(t, tt.machine)
		top, err := DiscoverFS(machine, tt.mask)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range top.Cores {
			if c.Kind != tt.want {
				t.Errorf("%s, mask %s: core %d is %v, want %v", tt.machine, tt.mask, c.ID, c.Kind, tt.want)
			}
		}
	}
}

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		name, files string
		want        []Kind
	}{
		{"equal capacities", "cpu0 1024, cpu1 1024", []Kind{Uniform, Uniform}},
		{"nearly equal capacities", "cpu0 1024, cpu1 1009", []Kind{Uniform, Uniform}},
		{"big and small", "cpu0 446, cpu1 1024", []Kind{Efficiency, Performance}},
		{"PMUs go before capacities", "core 1, atom 0, cpu0 1024, cpu1 446", []Kind{Efficiency, Performance}},
		{"low power cores are small", "core 0, lowpower 1", []Kind{Performance, Efficiency}},
		{"all cores are big", "core 0-1", []Kind{Uniform, Uniform}},
		{"malformed", "core x, atom 1, cpu0 fast", []Kind{Uniform, Uniform}},
	} {
		machine := fstest.MapFS{}
		for file := range strings.SplitSeq(tt.files, ", ") {
			name, content, _ := strings.Cut(file, " ")
			full := "sys/devices/cpu_" + name + "/cpus"
			if strings.HasPrefix(name, "cpu") {
				full = sysCPU + "/" + name + "/cpu_capacity"
			}
			machine[full] = &fstest.MapFile{Data: []byte(content + "\n")}
		}
		top, err := DiscoverFS(machine, NewCPUSet(0, 1))
		if err != nil {
			t.Fatal(err)
		}
		if got := []Kind{top.Cores[0].Kind, top.Cores[1].Kind}; !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestCacheLine(t *testing.T) {
	machine := fstest.MapFS{}
	for name, size := range map[string]string{"cpu3/cache/index0": "64", "cpu3/cache/index1": "128", "cpu0/cache/index0": "256"} {
		machine[sysCPU+"/"+name+"/coherency_line_size"] = &fstest.MapFile{Data: []byte(size + "\n")}
	}
	top, err := DiscoverFS(machine, NewCPUSet(3, 4))
	if err != nil {
		t.Fatal(err)
	}
	if top.CacheLine != 128 {
		t.Errorf("cache line %d, want the largest of an allowed CPU, 128", top.CacheLine)
	}
}

func TestNoCPU(t *testing.T) {
	top, err := DiscoverFS(fstest.MapFS{}, CPUSet{})
	if top != nil || !errors.Is(err, ErrNoCPU) || err.Error() != "discover: the mask is empty: no usable CPU" {
		t.Errorf("empty mask: %v, %v", top, err)
	}
}

// TestConflictingLists: the mask is the kernel's word, files may be invented.
func TestConflictingLists(t *testing.T) {
	machine := fstest.MapFS{
		sysCPU + "/online":                    {Data: []byte("0-1\n")},
		"sys/fs/cgroup/cpuset.cpus.effective": {Data: []byte("2-3\n")},
	}
	const ignored = " has none of the usable CPUs "
	for _, tt := range []struct {
		mask, online, allowed CPUSet
		note                  string
	}{
		{NewCPUSet(4, 5), NewCPUSet(4, 5), NewCPUSet(4, 5), "the online list 0-1" + ignored + "4-5: it is ignored"},
		{NewCPUSet(4, 5), NewCPUSet(4, 5), NewCPUSet(4, 5), "the cpuset list 2-3" + ignored + "4-5: it is ignored"},
		{NewCPUSet(1, 2), NewCPUSet(0, 1), NewCPUSet(1), "the cpuset list 2-3" + ignored + "1: it is ignored"},
		{NewCPUSet(2), NewCPUSet(2), NewCPUSet(2), "the online list 0-1" + ignored + "2: it is ignored"},
	} {
		top, err := DiscoverFS(machine, tt.mask)
		if err != nil {
			t.Fatal(err)
		}
		if top.Online != tt.online || top.Allowed != tt.allowed || !slices.Contains(top.Notes, tt.note) {
			t.Errorf("mask %s: online %s, allowed %s, notes %q; want %s, %s and %q",
				tt.mask, top.Online, top.Allowed, top.Notes, tt.online, tt.allowed, tt.note)
		}
	}
}

// TestSiblingsOffline: a core is named by a thread that runs, even if sysfs
// still lists others.
func TestSiblingsOffline(t *testing.T) {
	machine := fstest.MapFS{sysCPU + "/online": {Data: []byte("1-3\n")}}
	for cpu, list := range map[int]string{1: "0-1", 2: "2-3", 3: "2-3"} {
		machine[cpuFile(cpu, "topology/core_cpus_list")] = &fstest.MapFile{Data: []byte(list)}
	}
	top, err := DiscoverFS(machine, NewCPUSet(0, 1, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	want := []Core{
		{ID: 1, CPUs: []int{1}, Threads: []int{1}},
		{ID: 2, CPUs: []int{2, 3}, Threads: []int{2, 3}},
	}
	if !reflect.DeepEqual(top.Cores, want) || top.Notes != nil {
		t.Errorf("cores %+v, notes %q; want %+v", top.Cores, top.Notes, want)
	}
}

// brokenFS fails every access, as /proc and /sys may in a sandbox.
type brokenFS struct{}

func (brokenFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

func TestBrokenFiles(t *testing.T) {
	garbage := fstest.MapFS{}
	for _, name := range machineNames(t) {
		machine, _ := readMachine(t, name)
		for file := range machine.(fstest.MapFS) {
			garbage[file] = &fstest.MapFile{Data: []byte("\x00,:- - /\n9-1 max\n::\n")}
		}
	}
	mask := NewCPUSet(1, 2, 7)
	bare, err := DiscoverFS(fstest.MapFS{}, mask)
	if err != nil {
		t.Fatal(err)
	}
	for _, machine := range []fs.FS{brokenFS{}, garbage} {
		top, err := DiscoverFS(machine, mask)
		if err != nil || !reflect.DeepEqual(top, bare) {
			t.Errorf("%T: %v, %v; want what a machine without files gives, %v", machine, top, err, bare)
		}
	}
}

func TestTopologyJSON(t *testing.T) {
	for _, name := range machineNames(t) {
		top := discoverMachine(t, name)
		text, err := json.Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		var got Topology
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		got.coresUnknown = top.coresUnknown
		if !reflect.DeepEqual(&got, top) {
			t.Errorf("%s: read back %+v, want %+v", name, got, top)
		}
	}
	var k Kind
	if err := k.UnmarshalText([]byte("medium")); err == nil || k != Uniform {
		t.Errorf("kind medium: %v, %v", k, err)
	}
	if got := Kind(9).String(); got != "kind 9" {
		t.Errorf("Kind(9) = %q", got)
	}
}
