package sgmsg

import (
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/kcm-go/kcm/internal/invariants"
)

// Allocator hands out private buffers. *Arena is one; a loop has others with
// budgets in front.
type Allocator interface {
	// Alloc returns an element of n bytes with one reference, which the
	// caller owns. The content is undefined. The error wraps ENOMEM.
	Alloc(n int) (Element, error)
}

// Arena is one contiguous memory divided into equal blocks. It knows the
// reference count of every buffer and recycles a buffer when the last
// reference is released, on whatever goroutine that happens.
//
// It comes in two kinds. NewArena makes one with a buddy allocator: Alloc
// returns runs of 2^k blocks. NewPoolArena makes one whose buffers are all one
// block and handed out by somebody else (the provided-buffer ring of a loop):
// Adopt marks a block as held and the recycle function gets it back.
//
//	mem   |blk 0|blk 1|blk 2|blk 3|blk 4|blk 5| ...
//	refs  |  1  |  2  |  -  |  -  |  -  |  0  |      a run counts at its first block
//	order |  0  |  1  |     |  0  |  0  |  0  |      run length = 2^order blocks
//
// The simple way, one Go slice per buffer, costs a pointer per element and
// memory the kernel may not keep.
type Arena struct {
	mem   []byte
	shift uint8 // log2 of the block size
	base  BufID // index<<blockBits
	pool  func(BufID)
	refs  []atomic.Int32

	mu    sync.Mutex // guards the buddy state and the end of life
	buddy buddy
	inUse int // bytes of runs handed out

	wrapped bool // one block that is the caller's memory, never written
	notify  func()
	closing atomic.Bool
	leaks   invariants.Tracker // of BufIDs
	unmap   func([]byte)
	gone    bool
}

// NewArena divides mem into blocks of blockSize bytes (a power of two) under a
// buddy allocator. The memory belongs to the arena until Close hands it back.
// Errors wrap EINVAL (sizes) or ENFILE (too many arenas).
func NewArena(mem []byte, blockSize int) (*Arena, error) {
	a, err := newArena(mem, blockSize)
	if err != nil {
		return nil, err
	}
	a.buddy.init(len(a.refs))
	return a, a.register()
}

// NewPoolArena divides mem into blocks of blockSize bytes that are handed out
// with Adopt. recycle is called with each block whose last reference was
// released, on the releasing goroutine; it must not block.
func NewPoolArena(mem []byte, blockSize int, recycle func(BufID)) (*Arena, error) {
	if recycle == nil {
		return nil, fmt.Errorf("arena: a pool needs a recycle function: %w", syscall.EINVAL)
	}
	a, err := newArena(mem, blockSize)
	if err != nil {
		return nil, err
	}
	a.pool = recycle
	return a, a.register()
}

func newArena(mem []byte, blockSize int) (*Arena, error) {
	if blockSize <= 0 || blockSize&(blockSize-1) != 0 {
		return nil, fmt.Errorf("arena: block size %d is not a power of two: %w", blockSize, syscall.EINVAL)
	}
	n := len(mem) / blockSize
	if n == 0 || n > MaxBlocks {
		return nil, fmt.Errorf("arena: %d bytes make %d blocks of %d, want 1 to %d: %w",
			len(mem), n, blockSize, MaxBlocks, syscall.EINVAL)
	}
	return newBlocks(mem[:n*blockSize], uint8(bits.TrailingZeros(uint(blockSize))), n), nil
}

func newBlocks(mem []byte, shift uint8, n int) *Arena {
	return &Arena{mem: mem, shift: shift, refs: make([]atomic.Int32, n)}
}

func (a *Arena) register() error {
	for i := 1; i < maxArenas; i++ {
		if arenas[i].Load() == nil {
			a.base = BufID(i) << blockBits
			if arenas[i].CompareAndSwap(nil, a) {
				return nil
			}
		}
	}
	return fmt.Errorf("arena: all %d are in use: %w", maxArenas-1, syscall.ENFILE)
}

// Blocks returns the number of blocks.
func (a *Arena) Blocks() int { return len(a.refs) }

// BlockSize returns the size of a block in bytes.
func (a *Arena) BlockSize() int { return 1 << a.shift }

// ID returns the buffer that starts at block i.
func (a *Arena) ID(i int) BufID { return a.base | BufID(i) }

// Block returns the block number at which the buffer starts.
func (a *Arena) Block(id BufID) int { return int(id.block()) }

// Owns reports whether the buffer lies in this arena.
func (a *Arena) Owns(id BufID) bool { return id&^blockMask == a.base }

// Mem returns the whole memory, for registration with the kernel.
func (a *Arena) Mem() []byte { return a.mem }

// InUse returns the bytes of the runs handed out by Alloc and not yet recycled.
func (a *Arena) InUse() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inUse
}

// Adopt marks a pool block as held once: the kernel filled it and somebody now
// owns the chunk.
func (a *Arena) Adopt(id BufID) {
	if !a.refs[id.block()].CompareAndSwap(0, 1) {
		panic(fmt.Sprintf("sgmsg: Adopt of buffer %#x, which is held", uint32(id)))
	}
	a.leaks.Acquire(uint64(id))
}

// Alloc implements [Allocator] with a run of the smallest power of two of
// blocks that holds n bytes. Safe for concurrent use. The error wraps ENOMEM.
func (a *Arena) Alloc(n int) (Element, error) {
	if a.pool != nil || n < 0 {
		return Element{}, fmt.Errorf("alloc: %d bytes: %w", n, syscall.EINVAL)
	}
	if n > math.MaxInt32 || n > len(a.mem) {
		return Element{}, errNoMemory // a larger run has a capacity no Element can express
	}
	order := a.order(n)
	a.mu.Lock()
	blk, ok := -1, false
	if !a.closing.Load() {
		blk, ok = a.buddy.alloc(order)
	}
	if ok {
		a.inUse += 1 << (uint(order) + uint(a.shift))
		a.refs[blk].Store(1) // under the lock: Close must not miss this buffer
	}
	a.mu.Unlock()
	if !ok {
		return Element{}, errNoMemory
	}
	id := a.ID(blk)
	a.leaks.Acquire(uint64(id))
	return Element{Buf: id, Len: uint32(n)}, nil
}

// order returns the buddy order of a run that holds n bytes.
func (a *Arena) order(n int) int {
	blocks := (n + 1<<a.shift - 1) >> a.shift
	if blocks <= 1 {
		return 0
	}
	return bits.Len(uint(blocks - 1))
}

func (a *Arena) capacity(block uint32) int {
	if a.pool != nil {
		return 1 << a.shift
	}
	return 1 << (uint(a.buddy.order[block]) + uint(a.shift))
}

// last recycles a buffer whose reference count has reached zero.
func (a *Arena) last(id BufID) {
	blk := id.block()
	if (invariants.Enabled || invariants.Race) && !a.wrapped {
		a.poison(blk)
	}
	a.leaks.Release(uint64(id))
	if a.pool != nil {
		if a.closing.Load() {
			a.mu.Lock()
			a.finish()
			a.mu.Unlock()
			return
		}
		a.pool(id)
		return
	}
	a.mu.Lock()
	a.inUse -= a.capacity(blk)
	a.buddy.free(int(blk))
	if a.closing.Load() {
		a.finish()
	}
	a.mu.Unlock()
	if a.notify != nil {
		a.notify()
	}
}

// Notify sets a function that is called whenever a buffer obtained from Alloc
// was recycled, on the releasing goroutine, for those who wait for memory. It
// must be set before the first Alloc and must not block.
func (a *Arena) Notify(fn func()) { a.notify = fn }

// poison overwrites a buffer nobody holds. With the arena closing, somebody who
// releases the last buffer at the same moment may unmap the memory, hence the lock.
func (a *Arena) poison(blk uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.gone {
		start := uint64(blk) << a.shift
		invariants.Poison(a.mem[start : start+uint64(a.capacity(blk))])
	}
}

// Close retires the arena: nothing more is allocated, and as soon as the last
// buffer still held is released (perhaps now, perhaps later on another
// goroutine) unmap is called with the memory. unmap may be nil.
func (a *Arena) Close(unmap func(mem []byte)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone || a.unmap != nil {
		return
	}
	if unmap == nil {
		unmap = func([]byte) {}
	}
	a.unmap = unmap
	a.closing.Store(true)
	a.finish()
}

// Held returns the number of buffers somebody holds a reference to. It walks
// every block: for tests and dumps.
func (a *Arena) Held() int {
	n := 0
	for i := range a.refs {
		if a.refs[i].Load() > 0 {
			n++
		}
	}
	return n
}

// WriteLeaks writes each buffer still held with the stack that obtained it, in
// builds with the invariants tag; otherwise nothing.
func (a *Arena) WriteLeaks(w io.Writer) int { return a.leaks.WriteLeaks(w) }

func (a *Arena) finish() {
	if a.gone || a.Held() > 0 {
		return
	}
	a.gone = true
	arenas[a.base>>blockBits].Store(nil)
	a.unmap(a.mem)
}

// NewHeap returns an arena over n bytes of ordinary Go memory in blocks of
// 512 bytes, for parsers that run without a loop and for tests. Nothing in it
// may be given to the kernel.
func NewHeap(n int) *Arena {
	a, err := NewArena(make([]byte, n), 512)
	if err != nil {
		panic(err)
	}
	return a
}
