package affinity

import (
	"runtime"
	"slices"
	"testing"
	"testing/fstest"
)

// TestDiscover checks this machine against what the Go runtime knows of it.
func TestDiscover(t *testing.T) {
	top, err := Discover()
	if err != nil {
		t.Fatal(err)
	}
	// The runtime counts the mask at start, as Discover does now; a cpuset that
	// is visible to us only can make ours smaller.
	if n := top.Allowed.Count(); n < 1 || n > runtime.NumCPU() {
		t.Errorf("allowed %s, NumCPU %d", top.Allowed, runtime.NumCPU())
	}
	if top.Physical < 1 || top.Physical > top.Allowed.Count() {
		t.Errorf("%d physical cores for CPUs %s", top.Physical, top.Allowed)
	}
	if top.CacheLine < 16 || top.CacheLine > 1024 || top.CacheLine&(top.CacheLine-1) != 0 {
		t.Errorf("cache line %d", top.CacheLine)
	}
	loops := top.DefaultLoops(runtime.GOMAXPROCS(0))
	for _, s := range top.Plan(Request{Loops: loops}).Slots {
		if !top.Allowed.Has(s.CPU) || s.Round != 0 {
			t.Errorf("slot %+v, allowed %s", s, top.Allowed)
		}
	}
	t.Logf("\n%s", top)
}

func TestComplete(t *testing.T) {
	for _, tt := range []struct {
		name, machine string
		processor     processor
		cacheLine     int
		physical      int
		notes         []string // beyond those of the machine
	}{
		{"sysfs knows all", "two_sockets_smt", processor{cacheLine: 64, physical: 4, logical: 4, threads: 1}, 64, 8, nil},
		{"CPUID has larger lines", "one_socket", processor{cacheLine: 128}, 128, 4, nil},
		{"sysfs has larger lines", "one_socket", processor{cacheLine: 32}, 64, 4, nil},
		{"nobody knows", "bare", processor{}, 64, 4, []string{
			"the cache line size is not known: assuming 64 bytes"}},
		{"threads per core", "bare", processor{cacheLine: 64, threads: 2}, 64, 2, []string{
			"CPUID tells 2 threads per core: estimating 2 physical cores"}},
		{"cores and threads", "bare", processor{cacheLine: 64, physical: 6, logical: 16, threads: 2}, 64, 2, []string{
			"CPUID tells 3 threads per core: estimating 2 physical cores"}},
		{"one thread per core", "bare", processor{cacheLine: 64, physical: 8, logical: 8, threads: 1}, 64, 4, nil},
		{"sysfs goes before threads per core", "one_socket", processor{cacheLine: 64, threads: 2}, 64, 4, nil},
		{"hybrid, sysfs agrees", "hybrid_x86", processor{hybrid: true}, 64, 8, nil},
		{"hybrid, sysfs silent", "one_socket", processor{hybrid: true}, 64, 4, []string{
			"CPUID tells of a hybrid processor, sysfs does not tell which cores are efficiency cores"}},
	} {
		top := discoverMachine(t, tt.machine)
		notes := append(slices.Clone(top.Notes), tt.notes...)
		tt.processor.brand = "Example 9000"
		top.complete(tt.processor)
		if top.Brand != "Example 9000" || top.CacheLine != tt.cacheLine || top.Physical != tt.physical {
			t.Errorf("%s: %q, cache line %d, %d physical cores; want %d and %d",
				tt.name, top.Brand, top.CacheLine, top.Physical, tt.cacheLine, tt.physical)
		}
		if !slices.Equal(top.Notes, notes) {
			t.Errorf("%s: notes %q, want %q", tt.name, top.Notes, notes)
		}
	}
}

// TestCompletePartly: CPUID estimates cores only where sysfs knows none.
func TestCompletePartly(t *testing.T) {
	machine := fstest.MapFS{cpuFile(0, "topology/core_cpus_list"): {Data: []byte("0\n")}}
	top, err := DiscoverFS(machine, NewCPUSet(0, 1))
	if err != nil {
		t.Fatal(err)
	}
	top.complete(processor{cacheLine: 64, threads: 2})
	want := []string{"sysfs does not tell the core of CPUs 1: each counts as a core of its own"}
	if top.Physical != 2 || !slices.Equal(top.Notes, want) {
		t.Errorf("%d physical cores, notes %q; want 2 and %q", top.Physical, top.Notes, want)
	}
}
