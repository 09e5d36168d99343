package uring

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"syscall"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/sgmsg"
)

// MaxBuffers is the largest pool, in blocks: what one provided-buffer ring holds.
const MaxBuffers = 1 << 15

const bufGroup = 0 // the one buffer group of a ring

// bufRing is the provided-buffer ring, struct io_uring_buf_ring: an array of struct
// io_uring_buf that is filled here and consumed by the kernel, in order.
//
//	           | addr 8 | len 4 | bid 2 | resv 2 |
//	entry 0    |        |       |       |  tail  |   the tail lies over entry 0's resv
//	entry 1    |        |       |       |        |
//
// The kernel loads the 16-bit tail with smp_load_acquire. There is no 16-bit store
// of that kind in Go, so tail and the id of entry 0 are stored as the one aligned
// 32-bit word they share: word0. That word is never written in any other way.
//
// A buffer's id is its block number in the pool. The ring has room for every block,
// so it cannot overflow.
type bufRing struct {
	entries []uapi.Buf
	word0   *atomic.Uint32 // id of entry 0 below, tail above
	bid0    uint16         // the id in word0
	tail    uint16
	mask    uint16
	base    uint64 // address of block 0
	block   uint64 // block size in bytes
	mem     []byte
}

// newBufRing returns the ring of size entries, a power of two, at the start of mem. It
// is for blocks of the given size in bytes, the first of which is at address base.
func newBufRing(mem []byte, size int, base uint64, block int) bufRing {
	return bufRing{
		entries: uapi.Slice[uapi.Buf](mem, 0, size),
		word0:   uapi.At[atomic.Uint32](mem, uapi.BufRingTailOffset-2),
		mask:    uint16(size - 1),
		base:    base,
		block:   uint64(block),
		mem:     mem,
	}
}

// open makes a ring for the blocks of pool, at most MaxBuffers, and registers it with
// the ring fd. On error there is nothing to release.
func (r *bufRing) open(fd int, pool *sgmsg.Arena) error {
	size := 1 << bits.Len(uint(pool.Blocks()-1)) // the next power of two, 1 for 1
	mem, err := uapi.MmapAnon(size * 16)
	if err != nil {
		return fmt.Errorf("io_uring: %w", err)
	}
	reg := uapi.BufReg{RingAddr: uapi.Addr(&mem[0]), RingEntries: uint32(size), Bgid: bufGroup}
	switch errno := uapi.RegisterBufRing(fd, &reg); errno {
	case 0:
		*r = newBufRing(mem, size, uapi.Addr(&pool.Mem()[0]), pool.BlockSize())
		return nil
	case syscall.EINVAL:
		err = &RefusedError{Missing: "provided-buffer rings (Linux 5.19)", Errno: errno}
	default:
		err = &RefusedError{Op: "register a buffer ring", Errno: errno, Bytes: len(mem)}
	}
	uapi.Munmap(mem)
	return err
}

// push adds an empty buffer. The kernel sees it after publish.
func (r *bufRing) push(block int) {
	invariants.Check(uint(block) < uint(len(r.entries)), "uring: a buffer of another pool was provided")
	i := r.tail & r.mask
	e := &r.entries[i]
	e.Addr = r.base + uint64(block)*r.block
	e.Len = uint32(r.block)
	if i == 0 {
		r.bid0 = uint16(block) // stored with the tail, by publish
	} else {
		e.Bid = uint16(block)
	}
	r.tail++
}

// publish makes what was pushed visible to the kernel: the release store that its
// smp_load_acquire of the tail pairs with.
func (r *bufRing) publish() {
	r.word0.Store(uint32(r.bid0) | uint32(r.tail)<<16)
}
