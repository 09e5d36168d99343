package affinity

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// cpusOf writes a plan's CPUs in order, one word per node the plan stays on:
// "0 1 | 4 5" changes node after two slots.
func cpusOf(p Plan) string {
	var b strings.Builder
	for i, s := range p.Slots {
		if i > 0 {
			b.WriteByte(' ')
			if s.Node != p.Slots[i-1].Node {
				b.WriteString("| ")
			}
		}
		fmt.Fprint(&b, s.CPU)
	}
	return b.String()
}

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		machine string
		loops   int
		cpus    string
		notes   []string
	}{
		{"one_socket", 0, "", nil},
		{"one_socket", -3, "", nil},
		{"one_socket", 1, "0", nil},
		{"one_socket", 4, "0 1 2 3", nil},
		{"one_socket", 6, "0 1 2 3 0 1", []string{
			"6 loops on 4 CPUs: from slot 4 on, slots share the CPU of an earlier one"}},
		{"two_sockets_smt", 4, "0 1 2 3", nil},
		{"two_sockets_smt", 6, "0 1 2 3 | 4 5", []string{"the slots span NUMA nodes 0-1"}},
		{"two_sockets_smt", 18, "0 1 2 3 | 4 5 6 7 | 8 9 10 11 | 12 13 14 15 | 0 1", []string{
			"slot 8 is the first to share a core with an earlier slot",
			"18 loops on 16 CPUs: from slot 16 on, slots share the CPU of an earlier one",
			"the slots span NUMA nodes 0-1"}},
		{"hybrid_x86", 4, "0 2 4 6", nil},
		{"hybrid_x86", 12, "0 2 4 6 8 9 10 11 1 3 5 7", []string{
			"slot 4 is the first on an efficiency core",
			"slot 8 is the first to share a core with an earlier slot"}},
		{"arm64_capacity", 8, "7 4 5 6 0 1 2 3", []string{"slot 4 is the first on an efficiency core"}},
		{"container_v2", 1, "1", []string{"the cgroup quota of 1.50 CPUs is below the 4 allowed CPUs"}},
		{"container_v2", 4, "1 2 5 6", []string{
			"slot 2 is the first to share a core with an earlier slot",
			"the cgroup quota of 1.50 CPUs is below the 4 allowed CPUs",
			"the quota throttles the process when all 4 loops are busy"}},
		{"container_v1", 2, "0 2", []string{"the cgroup quota of 2.50 CPUs is below the 4 allowed CPUs"}},
		{"mixed_cgroups", 3, "0 1 0", []string{
			"3 loops on 2 CPUs: from slot 2 on, slots share the CPU of an earlier one"}},
		{"offline_cpus", 5, "0 2 3 5 7", []string{"slot 4 is the first to share a core with an earlier slot"}},
		{"bare", 4, "0 1 2 5", nil},
	} {
		t.Run(fmt.Sprintf("%s/%d", tt.machine, tt.loops), func(t *testing.T) {
			plan := discoverMachine(t, tt.machine).Plan(Request{Loops: tt.loops})
			if got := cpusOf(plan); got != tt.cpus {
				t.Errorf("CPUs %s, want %s", got, tt.cpus)
			}
			if !slices.Equal(plan.Notes, tt.notes) {
				t.Errorf("notes\n%s\nwant\n%s", strings.Join(plan.Notes, "\n"), strings.Join(tt.notes, "\n"))
			}
		})
	}
}

// TestPlanFillsLargestNode: the mask leaves one core of node 0 and all of node 1.
func TestPlanFillsLargestNode(t *testing.T) {
	machine, _ := readMachine(t, "two_sockets_smt")
	top, err := DiscoverFS(machine, NewCPUSet(3, 11, 4, 5, 6, 7))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cpusOf(top.Plan(Request{Loops: 6})), "4 5 6 7 | 3 11"; got != want {
		t.Errorf("CPUs %s, want %s", got, want)
	}
}

// TestPlanNodesWithinSocket: two sockets of two nodes each, numbered across.
func TestPlanNodesWithinSocket(t *testing.T) {
	machine := fstest.MapFS{}
	for cpu := range 8 {
		machine[cpuFile(cpu, "topology/physical_package_id")] = &fstest.MapFile{Data: fmt.Appendln(nil, cpu%2)}
		machine[cpuFile(cpu, "topology/core_cpus_list")] = &fstest.MapFile{Data: fmt.Appendln(nil, cpu)}
	}
	for node, list := range []string{"0,4", "1,5", "2,6", "3,7"} {
		machine[fmt.Sprintf("%s/node%d/cpulist", sysNode, node)] = &fstest.MapFile{Data: []byte(list + "\n")}
	}
	for _, tt := range []struct {
		mask CPUSet
		cpus string
	}{
		{NewCPUSet(0, 1, 2, 3, 4, 5, 6, 7), "0 4 | 2 6 | 1 5 | 3 7"},
		// Node 0 has one core left, so socket 1 has most, and node 2 more than node 0.
		{NewCPUSet(1, 2, 3, 4, 5, 6, 7), "1 5 | 3 7 | 2 6 | 4"},
	} {
		top, err := DiscoverFS(machine, tt.mask)
		if err != nil {
			t.Fatal(err)
		}
		if got := cpusOf(top.Plan(Request{Loops: tt.mask.Count()})); got != tt.cpus {
			t.Errorf("mask %s: CPUs %s, want %s", tt.mask, got, tt.cpus)
		}
		if got, want := top.Nodes(), []int{0, 1, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("mask %s: nodes %v, want %v", tt.mask, got, want)
		}
	}
}

// TestPlanPerformanceFirst: low numbers and a fuller node do not make up for
// being small.
func TestPlanPerformanceFirst(t *testing.T) {
	machine := fstest.MapFS{
		"sys/devices/cpu_atom/cpus":   {Data: []byte("0-3\n")},
		"sys/devices/cpu_core/cpus":   {Data: []byte("4-5\n")},
		sysNode + "/node0/cpulist":    {Data: []byte("0-3\n")},
		sysNode + "/node1/cpulist":    {Data: []byte("4-5\n")},
		sysNode + "/possible":         {Data: []byte("0-1\n")},
		sysNode + "/node1x/cpulist":   {Data: []byte("0-5\n")},
		sysNode + "/node1024/cpulist": {Data: []byte("0-5\n")},
		sysNode + "/has_cpu/cpulist":  {Data: []byte("0-5\n")},
	}
	top, err := DiscoverFS(machine, NewCPUSet(0, 1, 2, 3, 4, 5))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := cpusOf(top.Plan(Request{Loops: 6})), "4 5 | 0 1 2 3"; got != want {
		t.Errorf("CPUs %s, want %s", got, want)
	}
}

func TestPlanQuota(t *testing.T) {
	const below, throttled = "the cgroup quota of 2.00 CPUs is below the 4 allowed CPUs", "the quota throttles the process when all 3 loops are busy"
	for _, tt := range []struct {
		quota float64
		loops int
		notes []string
	}{
		{0, 3, nil},
		{4, 3, nil},
		{2, 1, []string{below}},
		{2, 2, []string{below}},
		{2, 3, []string{below, throttled}},
	} {
		top := discoverMachine(t, "one_socket")
		top.Quota = tt.quota
		if got := top.Plan(Request{Loops: tt.loops}).Notes; !slices.Equal(got, tt.notes) {
			t.Errorf("quota %v, %d loops: notes %q, want %q", tt.quota, tt.loops, got, tt.notes)
		}
	}
}

// TestPlanRules holds for any machine and any number of loops.
func TestPlanRules(t *testing.T) {
	for _, name := range machineNames(t) {
		top := discoverMachine(t, name)
		cpus := top.Allowed.Count()
		for loops := range 2*cpus + 2 {
			slots := top.Plan(Request{Loops: loops}).Slots
			if len(slots) != loops {
				t.Fatalf("%s: %d slots for %d loops", name, len(slots), loops)
			}
			var usedCPU, usedCore CPUSet
			for i, s := range slots {
				if s.Round != i/cpus {
					t.Errorf("%s: slot %d of %d CPUs is in round %d", name, i, cpus, s.Round)
				}
				if i%cpus == 0 {
					usedCPU, usedCore = CPUSet{}, CPUSet{}
				}
				c := top.Cores[slices.IndexFunc(top.Cores, func(c Core) bool { return c.ID == s.Core })]
				switch {
				case usedCPU.Has(s.CPU):
					t.Errorf("%s: slot %d takes CPU %d again", name, i, s.CPU)
				case s.Thread >= len(c.CPUs) || c.CPUs[s.Thread] != s.CPU || s.Node != c.Node || s.Kind != c.Kind:
					t.Errorf("%s: slot %d is %+v on core %+v", name, i, s, c)
				case usedCore.Has(s.Core) != (i%cpus >= len(top.Cores)):
					t.Errorf("%s: slot %d on core %d, with %d of %d cores in use", name, i, s.Core, usedCore.Count(), len(top.Cores))
				}
				usedCPU.Add(s.CPU)
				usedCore.Add(s.Core)
			}
		}
	}
}

func TestPlanOff(t *testing.T) {
	top := discoverMachine(t, "container_v2")
	want := Slot{CPU: NoCPU, Core: NoCPU, Node: NoCPU}
	plan := top.Plan(Request{Loops: 2, Off: true})
	if !slices.Equal(plan.Slots, []Slot{want, want}) {
		t.Errorf("slots %+v", plan.Slots)
	}
	notes := []string{
		"affinity is off: the scheduler places the loops",
		"the cgroup quota of 1.50 CPUs is below the 4 allowed CPUs",
		"the quota throttles the process when all 2 loops are busy",
	}
	if !slices.Equal(plan.Notes, notes) {
		t.Errorf("notes %q, want %q", plan.Notes, notes)
	}

	plan = new(Topology).Plan(Request{Loops: 1})
	if !slices.Equal(plan.Slots, []Slot{want}) || !slices.Equal(plan.Notes, []string{"no CPU is known: the scheduler places the loops"}) {
		t.Errorf("zero topology: %+v", plan)
	}
}

func TestPlanString(t *testing.T) {
	top := discoverMachine(t, "hybrid_x86")
	top.Cores = top.Cores[3:5]
	top.Allowed = NewCPUSet(6, 7, 8)
	const want = `slot 0    CPU 6, core 6, node 0, performance
slot 1    CPU 8, core 8, node 0, efficiency
slot 2    CPU 7, core 6, node 0, performance
slot 3    CPU 6, core 6, node 0, performance, round 1
note      slot 1 is the first on an efficiency core
note      slot 2 is the first to share a core with an earlier slot
note      4 loops on 3 CPUs: from slot 3 on, slots share the CPU of an earlier one
`
	if got := top.Plan(Request{Loops: 4}).String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	const off = "slot 0    not pinned\nnote      affinity is off: the scheduler places the loops\n"
	if got := top.Plan(Request{Loops: 1, Off: true}).String(); got != off {
		t.Errorf("got:\n%s\nwant:\n%s", got, off)
	}
}

func TestDefaultLoops(t *testing.T) {
	for _, tt := range []struct {
		physical   int
		quota      float64
		gomaxprocs int
		want       int
	}{
		{4, 0, 4, 3},
		{4, 0, 8, 4},
		{4, 0, 5, 4},
		{4, 0, 2, 1},
		{4, 0, 1, 1},
		{4, 0, 0, 1},
		{1, 0, 16, 1},
		{8, 2, 16, 2},
		{8, 2.1, 16, 3},
		{8, 0.2, 16, 1},
		{8, 64, 16, 8},
		{8, 4, 3, 2},
		{0, 0, 4, 1},
	} {
		top := &Topology{Physical: tt.physical, Quota: tt.quota}
		if got := top.DefaultLoops(tt.gomaxprocs); got != tt.want {
			t.Errorf("%d cores, quota %v, GOMAXPROCS %d: %d loops, want %d", tt.physical, tt.quota, tt.gomaxprocs, got, tt.want)
		}
	}
}

func TestOffByEnv(t *testing.T) {
	for value, want := range map[string]bool{"off": true, "": false, "on": false, "OFF": false, "0": false} {
		t.Setenv("KCM_AFFINITY", value)
		if got := OffByEnv(); got != want {
			t.Errorf("KCM_AFFINITY=%q: off is %v", value, got)
		}
	}
}
