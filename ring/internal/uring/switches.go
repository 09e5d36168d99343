package uring

import (
	"fmt"
	"strings"
	"syscall"
)

// Switches are the features a ring makes use of where the kernel has them. Whatever is
// switched off, the ring keeps the contract.
type Switches uint32

const (
	DeferTaskrun   Switches = 1 << iota // completions only inside enter; else at any system call (COOP_TASKRUN)
	NoSQArray                           // no table of indices between submission queue and entries
	RegisteredRing                      // enter does not look the ring's descriptor up
	FixedBuffers                        // Read uses READ_FIXED into the registered mapping; else RECV
	RecvLimit                           // a multishot receive ends after Config.RecvBytes; else after some 32 buffers
	RingWake                            // a wake-up is put into the ring, else into a descriptor that the ring reads
	HugePages                           // for the loop: huge pages for receive memory
	ShortSlice                          // for the loop: short time slices for its thread
	VectoredSend                        // for the loop: one send for all that is queued; else for each piece
)

// AllSwitches is the default: all that pays. What each gives is in bench/RESULTS.md.
const AllSwitches = 1<<len(switchNames) - 1

var switchNames = [...]string{
	"defer-taskrun", "no-sqarray", "registered-ring", "fixed-buffers", "recv-limit", "ring-wake",
	"huge-pages", "short-slice", "vectored-send",
}

// ParseSwitches returns the default changed by a list such as
// "no-sqarray=off,huge-pages=off". Errors wrap EINVAL and say what was expected.
func ParseSwitches(list string) (Switches, error) {
	s := Switches(AllSwitches)
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, value, _ := strings.Cut(item, "=")
		bit := Switches(0)
		for i, n := range switchNames {
			if n == name {
				bit = 1 << i
			}
		}
		switch {
		case bit == 0:
			return 0, fmt.Errorf("feature %q is none of %s: %w", name, strings.Join(switchNames[:], ", "), syscall.EINVAL)
		case value == "on":
			s |= bit
		case value == "off":
			s &^= bit
		default:
			return 0, fmt.Errorf("feature %q: want %s=on or %s=off: %w", item, name, name, syscall.EINVAL)
		}
	}
	return s, nil
}

// Has reports whether the feature is switched on.
func (s Switches) Has(f Switches) bool { return s&f != 0 }

// String lists what is switched off, in the form that ParseSwitches reads.
func (s Switches) String() string {
	var list []string
	for i, n := range switchNames {
		if !s.Has(1 << i) {
			list = append(list, n+"=off")
		}
	}
	return strings.Join(list, ",")
}
