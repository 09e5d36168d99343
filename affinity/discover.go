package affinity

import (
	"fmt"
	"os"
	"runtime"

	"github.com/klauspost/cpuid/v2"
)

// Discover reads the topology of this machine: [DiscoverFS] on its real files
// and the calling thread's mask, completed by what CPUID tells. Call it at
// start, from a goroutine that is not pinned. It reads a few small files per
// CPU; nothing here belongs on a hot path.
//
// Where the mask cannot be read, on other systems than Linux above all, all CPUs
// that the Go runtime sees count as allowed. The only error is ErrNoCPU.
func Discover() (*Topology, error) {
	mask, errMask := Current()
	if errMask != nil {
		for cpu := range min(runtime.NumCPU(), MaxCPU) {
			mask.Add(cpu)
		}
	}
	t, err := DiscoverFS(os.DirFS("/"), mask)
	if err != nil {
		return nil, err
	}
	if errMask != nil {
		t.Notes = append(t.Notes, fmt.Sprintf("the mask is not known (%v): assuming CPUs %s", errMask, mask))
	}
	t.complete(processor{
		brand:     cpuid.CPU.BrandName,
		cacheLine: cpuid.CPU.CacheLine,
		physical:  cpuid.CPU.PhysicalCores,
		logical:   cpuid.CPU.LogicalCores,
		threads:   cpuid.CPU.ThreadsPerCore,
		hybrid:    cpuid.CPU.Supports(cpuid.HYBRID_CPU),
	})
	return t, nil
}

// processor is what the processor says about itself. A hypervisor may falsify
// all of it, so the kernel's word goes first.
type processor struct {
	brand             string
	cacheLine         int // bytes; 0: not known
	physical, logical int // cores and hardware threads of one package; 0: not known
	threads           int // hardware threads per core; 1: also if not known
	hybrid            bool
}

// threadsPerCore rounds up, so that an estimate of cores is never too high.
func (p processor) threadsPerCore() int {
	if p.physical > 0 && p.logical > p.physical {
		return (p.logical + p.physical - 1) / p.physical
	}
	return max(1, p.threads)
}

// commonCacheLine is the line size of most processors of the last twenty years.
const commonCacheLine = 64

// complete fills in what sysfs left open.
func (t *Topology) complete(p processor) {
	t.Brand = p.brand
	// The larger of the two: too much padding costs memory, too little costs time.
	t.CacheLine = max(t.CacheLine, p.cacheLine)
	if t.CacheLine <= 0 {
		t.CacheLine = commonCacheLine
		t.Notes = append(t.Notes, fmt.Sprintf("the cache line size is not known: assuming %d bytes", commonCacheLine))
	}
	if threads := p.threadsPerCore(); t.coresUnknown && threads > 1 {
		t.Physical = (t.Allowed.Count() + threads - 1) / threads
		t.Notes = append(t.Notes, fmt.Sprintf(
			"CPUID tells %d threads per core: estimating %d physical cores", threads, t.Physical))
	}
	if p.hybrid && t.Cores[0].Kind == Uniform {
		t.Notes = append(t.Notes, "CPUID tells of a hybrid processor, sysfs does not tell which cores are efficiency cores")
	}
}
