package budget

import (
	"fmt"
	"syscall"
)

// Sizes are the memory of one loop, by the names of ring's options. Zero stands for what was not
// chosen; a RegionBytes below zero for no region.
type Sizes struct {
	Buffers     int // number
	BufferSize  int // bytes
	RegionBytes int
	SpillBytes  int
}

// Region is the size of a region that was not chosen, in bytes.
type Region struct {
	Default int
	Least   int // halving does not go below; a multiple of 4 KiB
}

// DefaultRegion is the region of a loop of which nothing more is known.
var DefaultRegion = Region{24 << 20, 1 << 20}

// Defaults, and what halving does not go below.
const (
	defaultBuffers, leastBuffers  = 512, 32
	defaultBufferSize             = 32 << 10
	defaultSpill, leastSpillBytes = 64 << 20, 2 << 20
)

// block is what the size of a region is a multiple of.
const block = 4 << 10

// receive is what one loop receives into, in bytes.
func (s *Sizes) receive() int64 { return int64(s.Buffers)*int64(s.BufferSize) + int64(s.RegionBytes) }

// Plan returns the sizes of each of the loops, given those that were chosen and the limit in
// bytes, 0 for none. note says in one line what became smaller, "" if nothing did. The error, for what was
// chosen and cannot fit, wraps ENOMEM and has the sum.
func Plan(chosen Sizes, region Region, loops int, limit int64) (s Sizes, note string, err error) {
	s = chosen
	def := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	def(&s.Buffers, defaultBuffers)
	def(&s.BufferSize, defaultBufferSize)
	def(&s.RegionBytes, region.Default)
	def(&s.SpillBytes, defaultSpill)
	s.RegionBytes = max(s.RegionBytes, 0)
	if limit <= 0 {
		return s, "", nil
	}
	full := s
	share := limit / 4 / int64(loops)
	for s.receive() > share {
		buffers := chosen.Buffers == 0 && s.Buffers > leastBuffers
		large := chosen.RegionBytes == 0 && s.RegionBytes > region.Least
		switch {
		case large && (!buffers || s.RegionBytes >= s.Buffers*s.BufferSize):
			s.RegionBytes = max(s.RegionBytes/2&^(block-1), region.Least)
		case buffers:
			s.Buffers /= 2
		default:
			share = s.receive() // it does not become smaller
		}
	}
	for share = limit / 4 / int64(loops); chosen.SpillBytes == 0 && int64(s.SpillBytes) > share && s.SpillBytes > leastSpillBytes; {
		s.SpillBytes /= 2
	}
	if sum := (s.receive() + int64(s.SpillBytes)) * int64(loops); sum > limit {
		return s, "", fmt.Errorf("memory.max of the control group is %d bytes and the options ask for %d: loops %d x (Buffers %d x BufferSize %d + RegionBytes %d + SpillBytes %d): %w",
			limit, sum, loops, s.Buffers, s.BufferSize, s.RegionBytes, s.SpillBytes, syscall.ENOMEM)
	}
	if s != full {
		note = fmt.Sprintf("memory.max of the control group is %d bytes, so a loop has Buffers %d, RegionBytes %d, SpillBytes %d in place of %d, %d, %d",
			limit, s.Buffers, s.RegionBytes, s.SpillBytes, full.Buffers, full.RegionBytes, full.SpillBytes)
	}
	return s, note, nil
}
