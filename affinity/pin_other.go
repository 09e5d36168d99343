//go:build !linux

package affinity

import "errors"

// Other systems have no call, or only a hint, to bind a thread to a CPU.
var errNoSuchCPU = errors.ErrUnsupported

func setMask(CPUSet) error { return errors.ErrUnsupported }

func getMask() (CPUSet, error) { return CPUSet{}, errors.ErrUnsupported }
