package affinity

import "fmt"

// Pin confines the calling thread to one CPU. The caller has called
// runtime.LockOSThread before and never unlocks (see the package comment for
// why), and the mask stays until the thread ends. NoCPU, the CPU of a slot that
// is not to be pinned, leaves the thread alone, so a plan that is off needs no
// special case.
//
// The error wraps the errno of sched_setaffinity(2): EINVAL if the CPU does not
// exist, is offline or is outside the process's cpuset. On other systems than
// Linux it matches errors.ErrUnsupported.
func Pin(cpu int) error {
	if cpu == NoCPU {
		return nil
	}
	if cpu < 0 || cpu >= MaxCPU {
		return fmt.Errorf("pin: CPU %d: %w", cpu, errNoSuchCPU)
	}
	if err := setMask(NewCPUSet(cpu)); err != nil {
		return fmt.Errorf("pin: CPU %d: %w", cpu, err)
	}
	return nil
}

// PinMask confines the calling thread to a set of CPUs, for threads that may
// move within a node or must keep off the loops' CPUs. All that is said of
// [Pin] holds; the kernel ignores CPUs the process may not use, unless none
// remains, which is EINVAL.
func PinMask(mask CPUSet) error {
	if err := setMask(mask); err != nil {
		return fmt.Errorf("pin: CPUs %q: %w", mask, err)
	}
	return nil
}

// Current returns the CPUs the calling thread may run on at this moment, which
// leaves out those offline or outside the cpuset. It has the errors of Pin, from
// sched_getaffinity(2).
func Current() (CPUSet, error) {
	mask, err := getMask()
	if err != nil {
		return CPUSet{}, fmt.Errorf("read affinity mask: %w", err)
	}
	return mask, nil
}
