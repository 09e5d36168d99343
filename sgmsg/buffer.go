package sgmsg

import (
	"fmt"
	"sync/atomic"
)

// BufID names a buffer: a run of blocks inside one [Arena]. It is a number and
// not a pointer so that element lists hold nothing the collector has to scan
// and storing one costs no write barrier.
//
// Bit layout: the arena's index in the upper 12 bits, the number of the run's
// first block in the lower 20. Arena 0 does not exist, so the zero BufID names
// no buffer.
type BufID uint32

const (
	blockBits = 20
	blockMask = 1<<blockBits - 1
	maxArenas = 1 << (32 - blockBits)

	// MaxBlocks is the largest number of blocks of one Arena.
	MaxBlocks = 1 << blockBits
)

// arenas resolves the upper bits of a BufID. Slots are set by register and
// cleared when an arena's last reference is gone.
var arenas [maxArenas]atomic.Pointer[Arena]

func (id BufID) arena() *Arena { return arenas[id>>blockBits].Load() }
func (id BufID) block() uint32 { return uint32(id) & blockMask }

// Retain takes one more reference to the buffer. The caller must already hold
// one or borrow one. Safe for concurrent use.
func (id BufID) Retain() {
	a := id.arena()
	n := a.refs[id.block()].Add(1)
	if n <= 1 {
		panic(fmt.Sprintf("sgmsg: Retain of buffer %#x, which nobody holds", uint32(id)))
	}
}

// Release gives one reference back; the last one recycles the buffer. Safe for
// concurrent use. It panics when nobody holds the buffer.
func (id BufID) Release() {
	a := id.arena()
	n := a.refs[id.block()].Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic(fmt.Sprintf("sgmsg: Release of buffer %#x, which nobody holds", uint32(id)))
	}
	a.last(id)
}

// Refs returns the number of references held now. It is a snapshot; only a
// result of 1 seen by the holder of that reference is stable.
func (id BufID) Refs() int { return int(id.arena().refs[id.block()].Load()) }

// Cap returns the capacity of the buffer in bytes.
func (id BufID) Cap() int { return id.arena().capacity(id.block()) }

// Element is a byte range of a buffer: what the kernel's sk_msg calls a
// scatterlist element. Copying an Element copies no reference: who owns the
// reference is said by the operation that takes or returns it.
type Element struct {
	Buf BufID  // the buffer
	Off uint32 // first byte of the range, counted from the buffer's start
	Len uint32 // length of the range in bytes
}

// Bytes returns the range. The slice is lent: it is valid while a reference to
// the buffer is held. Received memory is shared with other messages of the
// same chunk, so it must not be written unless the buffer is private to the
// caller (one reference, obtained from Alloc).
func (e Element) Bytes() []byte {
	if e.Len == 0 {
		return nil
	}
	a := e.Buf.arena()
	base := uint64(e.Buf.block())<<a.shift + uint64(e.Off)
	return a.mem[base : base+uint64(e.Len) : base+uint64(e.Len)]
}

// continues reports whether f starts exactly where e ends in the same buffer.
func (e Element) continues(f Element) bool {
	return e.Buf == f.Buf && e.Off+e.Len == f.Off
}
