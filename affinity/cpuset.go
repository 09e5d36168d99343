package affinity

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"strconv"
	"strings"
)

// MaxCPU is the number of CPUs a CPUSet can name, 0 to MaxCPU-1. It is the
// largest CONFIG_NR_CPUS that Linux offers (x86 with MAXSMP), so any mask of
// the kernel fits.
const MaxCPU = 8192

// CPUSet is a set of CPU numbers. It is a plain value: assignment copies it and
// == compares it. The zero value is empty. Its text form, also in JSON, is the
// kernel's list format, "0-3,8".
type CPUSet struct {
	words [MaxCPU / 64]uint64
}

// NewCPUSet returns the set of the given CPUs. It panics if one is outside
// 0 to MaxCPU-1.
func NewCPUSet(cpus ...int) CPUSet {
	var s CPUSet
	for _, cpu := range cpus {
		s.Add(cpu)
	}
	return s
}

// ParseCPUSet reads the list format of cpuset(7): CPU numbers and inclusive
// ranges, separated by commas, in any order and possibly overlapping. Space
// around the list, such as the newline that ends a file of the kernel, is
// ignored; an empty list is the empty set. On an error the set is empty.
func ParseCPUSet(list string) (CPUSet, error) {
	var s CPUSet
	list = strings.TrimSpace(list)
	if list == "" {
		return s, nil
	}
	for item := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(item, "-")
		first, err := parseCPU(low)
		last := first
		if err == nil && isRange {
			last, err = parseCPU(high)
		}
		if err == nil && last < first {
			err = errors.New("range runs backwards")
		}
		if err != nil {
			return CPUSet{}, fmt.Errorf("parse CPU list: %q: %w", item, err)
		}
		for cpu := first; cpu <= last; cpu++ {
			s.Add(cpu)
		}
	}
	return s, nil
}

func parseCPU(digits string) (int, error) {
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil {
		return 0, errors.Unwrap(err) // the reason alone: the caller quotes the item
	}
	if n >= MaxCPU {
		return 0, fmt.Errorf("CPU numbers end at %d", MaxCPU-1)
	}
	return int(n), nil
}

// Add puts cpu into the set. It panics if cpu is outside 0 to MaxCPU-1.
func (s *CPUSet) Add(cpu int) {
	if cpu < 0 || cpu >= MaxCPU {
		panic(fmt.Sprintf("affinity: CPU %d is outside 0 to %d", cpu, MaxCPU-1))
	}
	s.words[cpu/64] |= 1 << (cpu % 64)
}

// Has reports whether cpu is in the set. Numbers no set can hold are in none.
func (s CPUSet) Has(cpu int) bool {
	return cpu >= 0 && cpu < MaxCPU && s.words[cpu/64]&(1<<(cpu%64)) != 0
}

// Count returns the number of CPUs in the set.
func (s CPUSet) Count() int {
	n := 0
	for _, word := range s.words {
		n += bits.OnesCount64(word)
	}
	return n
}

// Empty reports whether the set has no CPU.
func (s CPUSet) Empty() bool { return s == CPUSet{} }

// First returns the lowest CPU in the set, or NoCPU if it is empty.
func (s CPUSet) First() int {
	for cpu := range s.All() {
		return cpu
	}
	return NoCPU
}

// And returns the CPUs that are in both sets.
func (s CPUSet) And(other CPUSet) CPUSet {
	for i := range s.words {
		s.words[i] &= other.words[i]
	}
	return s
}

// All yields the CPUs of the set in ascending order.
func (s CPUSet) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, word := range s.words {
			for ; word != 0; word &= word - 1 {
				if !yield(i*64 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

// String returns the set in the list format, each run of neighbours as one
// range: "0-3,8". The empty set is "".
func (s CPUSet) String() string {
	var text []byte
	for cpu := range s.All() {
		if s.Has(cpu - 1) {
			continue // inside a range already written
		}
		last := cpu
		for s.Has(last + 1) {
			last++
		}
		if len(text) > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(cpu), 10)
		if last > cpu {
			text = append(text, '-')
			text = strconv.AppendInt(text, int64(last), 10)
		}
	}
	return string(text)
}

// MarshalText implements encoding.TextMarshaler with the list format.
func (s CPUSet) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with the list format.
func (s *CPUSet) UnmarshalText(text []byte) error {
	parsed, err := ParseCPUSet(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
