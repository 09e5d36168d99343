package affinity

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// errNoSuchCPU is what the kernel says of a CPU that no machine has.
const errNoSuchCPU = syscall.EINVAL

// The masks are as large as CPUSet, because the kernel refuses to report into
// one smaller than its own; a larger one is filled with zeros.

func setMask(mask CPUSet) error {
	set := unix.NewCPUSet(MaxCPU)
	for cpu := range mask.All() {
		set.Set(cpu)
	}
	return unix.SchedSetaffinityDynamic(0, set)
}

func getMask() (CPUSet, error) {
	set := unix.NewCPUSet(MaxCPU)
	if err := unix.SchedGetaffinityDynamic(0, set); err != nil {
		return CPUSet{}, err
	}
	var mask CPUSet
	for cpu := range MaxCPU {
		if set.IsSet(cpu) {
			mask.Add(cpu)
		}
	}
	return mask, nil
}
