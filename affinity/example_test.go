package affinity_test

import (
	"fmt"
	"log"
	"runtime"
	"sync"
	"testing/fstest"

	"github.com/kcm-go/kcm/affinity"
)

// One loop per slot, each on a thread of its own. What pinning does is up to the
// machine; a loop that cannot be pinned runs all the same.
func Example() {
	top, err := affinity.Discover()
	if err != nil {
		log.Fatal(err)
	}
	plan := top.Plan(affinity.Request{Loops: 3, Off: affinity.OffByEnv()})

	var wg sync.WaitGroup
	for _, slot := range plan.Slots {
		wg.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			if err := affinity.Pin(slot.CPU); err != nil {
				log.Print(err)
			}
			// The loop runs here.
		})
	}
	wg.Wait()
	fmt.Println(len(plan.Slots), "loops ran")
	// Output: 3 loops ran
}

// A machine of two cores with two threads each, in a container that may use two
// and a half CPUs.
func ExampleDiscoverFS() {
	file := func(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content + "\n")} }
	machine := fstest.MapFS{
		"sys/devices/system/cpu/cpu0/topology/core_cpus_list": file("0,2"),
		"sys/devices/system/cpu/cpu1/topology/core_cpus_list": file("1,3"),
		"sys/devices/system/cpu/cpu2/topology/core_cpus_list": file("0,2"),
		"sys/devices/system/cpu/cpu3/topology/core_cpus_list": file("1,3"),
		"sys/fs/cgroup/cpu.max":                               file("250000 100000"),
	}
	top, err := affinity.DiscoverFS(machine, affinity.NewCPUSet(0, 1, 2, 3))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(top)
	fmt.Println("default loops for GOMAXPROCS 4:", top.DefaultLoops(4))
	fmt.Print(top.Plan(affinity.Request{Loops: 3}))
	// Output:
	// online      0-3
	// allowed     0-3 (CPUs 4, physical cores 2, sockets 1, nodes 1)
	// quota       2.50 CPUs (/sys/fs/cgroup/cpu.max)
	// cores       0-1 on CPUs 0-3: socket 0, node 0, uniform
	// default loops for GOMAXPROCS 4: 2
	// slot 0    CPU 0, core 0, node 0, uniform
	// slot 1    CPU 1, core 1, node 0, uniform
	// slot 2    CPU 2, core 0, node 0, uniform
	// note      slot 2 is the first to share a core with an earlier slot
	// note      the cgroup quota of 2.50 CPUs is below the 4 allowed CPUs
	// note      the quota throttles the process when all 3 loops are busy
}

func ExampleParseCPUSet() {
	set, err := affinity.ParseCPUSet("8,0-3\n")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(set, set.Count(), set.Has(4))
	for cpu := range set.And(affinity.NewCPUSet(2, 3, 4)).All() {
		fmt.Println(cpu)
	}
	// Output:
	// 0-3,8 5 false
	// 2
	// 3
}
