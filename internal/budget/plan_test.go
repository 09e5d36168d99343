package budget

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

const mib = 1 << 20

func TestPlan(t *testing.T) {
	deflt := Sizes{512, 32 << 10, 24 * mib, 64 * mib}
	for _, c := range []struct {
		name   string
		chosen Sizes
		region Region
		loops  int
		limit  int64
		want   Sizes
	}{
		{"no limit", Sizes{}, DefaultRegion, 8, 0, deflt},
		{"much", Sizes{}, DefaultRegion, 1, 1 << 40, deflt},
		{"just enough: private memory is the larger", Sizes{}, DefaultRegion, 1, 256 * mib, deflt},
		{"a byte less", Sizes{}, DefaultRegion, 1, 256*mib - 1, Sizes{512, 32 << 10, 24 * mib, 32 * mib}},
		{"receive memory", Sizes{}, DefaultRegion, 1, 128 * mib, Sizes{512, 32 << 10, 12 * mib, 32 * mib}},
		{"the larger first", Sizes{}, DefaultRegion, 1, 64 * mib, Sizes{256, 32 << 10, 6 * mib, 16 * mib}},
		{"loops share", Sizes{}, DefaultRegion, 4, 256 * mib, Sizes{256, 32 << 10, 6 * mib, 16 * mib}},
		{"least sizes", Sizes{}, DefaultRegion, 1, 5 * mib, Sizes{32, 32 << 10, mib, 2 * mib}},
		{"chosen stay", Sizes{1024, 0, 0, 128 * mib}, DefaultRegion, 1, 256 * mib, Sizes{1024, 32 << 10, 24 * mib, 128 * mib}},
		{"chosen stay, others give way", Sizes{1024, 0, 0, 0}, DefaultRegion, 1, 128 * mib, Sizes{1024, 32 << 10, mib, 32 * mib}},
		{"no region", Sizes{0, 0, -1, 0}, DefaultRegion, 1, 32 * mib, Sizes{256, 32 << 10, 0, 8 * mib}},
		{"the region keeps room", Sizes{}, Region{24 * mib, 16 * mib}, 1, 64 * mib, Sizes{32, 32 << 10, 16 * mib, 16 * mib}},
		{"pages", Sizes{}, Region{3*mib + 4096, mib}, 1, 16 * mib, Sizes{64, 32 << 10, 3 * mib / 2, 4 * mib}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, note, err := Plan(c.chosen, c.region, c.loops, c.limit)
			if err != nil || got != c.want {
				t.Errorf("%+v, %v, want %+v", got, err, c.want)
			}
			unlimited, _, _ := Plan(c.chosen, c.region, c.loops, 0)
			if (note != "") != (got != unlimited) || strings.Contains(note, "\n") {
				t.Errorf("note %q", note)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		chosen Sizes
		loops  int
		limit  int64
		want   []string
	}{
		{"the least is too much", Sizes{}, 1, 3 * mib, []string{"memory.max", "3145728 bytes", "ask for 4194304"}},
		{"chosen", Sizes{Buffers: 4096}, 1, 128 * mib,
			[]string{"134217728 bytes", "Buffers 4096 x BufferSize 32768 + RegionBytes 1048576 + SpillBytes 33554432"}},
		{"the sum over loops", Sizes{SpillBytes: 64 * mib}, 3, 128 * mib, []string{"loops 3 x", "SpillBytes 67108864"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := Plan(c.chosen, DefaultRegion, c.loops, c.limit)
			if !errors.Is(err, syscall.ENOMEM) {
				t.Fatalf("%+v, %v, want ENOMEM", got, err)
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// For every limit and number of loops the rule holds, or nothing can give way any more.
func TestPlanKeepsTheRule(t *testing.T) {
	for limit := int64(mib); limit < 4<<30; limit += limit / 7 {
		for loops := 1; loops <= 64; loops++ {
			s, _, err := Plan(Sizes{}, DefaultRegion, loops, limit)
			all, sum := s.receive()*int64(loops), (s.receive()+int64(s.SpillBytes))*int64(loops)
			least := s.Buffers == leastBuffers && s.RegionBytes == DefaultRegion.Least
			switch {
			case s.Buffers&(s.Buffers-1) != 0 || s.RegionBytes%block != 0 || s.Buffers < leastBuffers || s.RegionBytes < DefaultRegion.Least || s.SpillBytes < leastSpillBytes:
				t.Errorf("%d bytes, %d loops: %+v", limit, loops, s)
			case (err != nil) != (sum > limit):
				t.Errorf("%d bytes, %d loops: %+v: %v", limit, loops, s, err)
			case all > limit/4 && !least:
				t.Errorf("%d bytes, %d loops: %+v: %d bytes for receiving", limit, loops, s, all)
			}
		}
	}
}
