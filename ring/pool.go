package ring

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"syscall"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/uring"
	"github.com/kcm-go/kcm/sgmsg"
)

// memory is everything off-heap that a loop owns.
//
//	mapping  | receive buffers (provided) | large region (buddy)      |   registered twice
//	spill    | private memory: replies, copies; grows up to its limit |   not registered
//
// The three never borrow from each other, so a full receive pool cannot keep
// the replies from being built that would empty it.
type memory struct {
	mapping   []byte
	recv      *sgmsg.Arena
	region    *sgmsg.Arena // nil when RegionBytes is 0
	regionMax int          // its largest possible buffer
	spill     *sgmsg.Arena

	// Receive buffers released by anybody, on any goroutine, until the loop's
	// next turn takes them: a stack threaded through next, block number + 1.
	returned atomic.Uint32
	next     []uint32
	free     int // buffers the backend holds; loop's thread
	scratch  []sgmsg.BufID

	// hungry is set while the loop waits for memory, so that a release on
	// another goroutine wakes it.
	hungry atomic.Bool
	tight  atomic.Bool // private memory was asked for in vain
	wake   func()
	unmap  func()
}

const (
	regionBlock = 4 << 10
	spillBlock  = 512
)

func newMemory(o *Options, wake func()) (*memory, error) {
	m := &memory{wake: wake, next: make([]uint32, o.Buffers), scratch: make([]sgmsg.BufID, 0, o.Buffers)}
	recvBytes := o.Buffers * o.BufferSize
	mapping, err := allocate(recvBytes + o.RegionBytes)
	if err != nil {
		return nil, fmt.Errorf("ring: receive memory of %d bytes (set less of options Buffers %d x BufferSize %d + RegionBytes %d): %w",
			recvBytes+o.RegionBytes, o.Buffers, o.BufferSize, o.RegionBytes, err)
	}
	m.mapping = mapping
	if !invariants.Race && o.use.Has(uring.HugePages) {
		// Every received byte is copied in here: fewer address translations were
		// worth 5 to 10 % of a message. Without huge pages it works as well.
		_ = uapi.AdviseHuge(mapping)
	}
	var parts atomic.Int32
	unmap := func([]byte) {
		if parts.Add(-1) == 0 {
			deallocate(mapping)
		}
	}
	fail := func(err error) (*memory, error) {
		deallocate(mapping)
		return nil, err
	}
	parts.Add(1)
	if m.recv, err = sgmsg.NewPoolArena(mapping[:recvBytes:recvBytes], o.BufferSize, m.recycle); err != nil {
		return fail(err)
	}
	if o.RegionBytes > 0 {
		parts.Add(1)
		if m.region, err = sgmsg.NewArena(mapping[recvBytes:], regionBlock); err != nil {
			m.recv.Close(nil)
			return fail(err)
		}
		m.region.Notify(m.released)
		m.regionMax = regionBlock << (bits.Len(uint(m.region.Blocks())) - 1)
	}
	spill, err := allocate(o.SpillBytes)
	if err == nil {
		m.spill, err = sgmsg.NewArena(spill, spillBlock)
	}
	if err != nil {
		if spill != nil {
			deallocate(spill)
		}
		m.recv.Close(unmap)
		if m.region != nil {
			m.region.Close(unmap)
		}
		return nil, fmt.Errorf("ring: private memory of %d bytes (set option SpillBytes to less): %w", o.SpillBytes, err)
	}
	m.unmap = func() {
		m.recv.Close(unmap)
		if m.region != nil {
			m.region.Close(unmap)
		}
		m.spill.Close(deallocate)
	}
	return m, nil
}

// allocate returns page-aligned zero memory outside the Go heap. Under the race
// detector it comes from the heap, because the detector ignores mapped memory;
// the collector does not move it and the caller keeps it reachable.
func allocate(n int) ([]byte, error) {
	if invariants.Race {
		return make([]byte, n), nil
	}
	return uapi.MmapAnon(n)
}

func deallocate(b []byte) {
	if !invariants.Race {
		_ = uapi.Munmap(b) // fails only for a range that is not a mapping
	}
}

// recycle takes a receive buffer back whose last reference is gone.
func (m *memory) recycle(id sgmsg.BufID) {
	blk := uint32(m.recv.Block(id))
	for {
		h := m.returned.Load()
		m.next[blk] = h
		if m.returned.CompareAndSwap(h, blk+1) {
			break
		}
	}
	m.released()
}

func (m *memory) released() {
	if m.hungry.Load() {
		m.wake()
	}
}

// refill collects the returned buffers. The slice is valid until the next call.
func (m *memory) refill() []sgmsg.BufID {
	out := m.scratch[:0]
	for h := m.returned.Swap(0); h != 0; h = m.next[h-1] {
		out = append(out, m.recv.ID(int(h-1)))
	}
	m.scratch = out
	m.free += len(out)
	return out
}

// all returns every receive buffer, for the first Provide.
func (m *memory) all() []sgmsg.BufID {
	out := m.scratch[:0]
	for i := range m.recv.Blocks() {
		out = append(out, m.recv.ID(i))
	}
	m.free = len(out)
	return out
}

// low reports that fewer than a quarter of the receive buffers are free.
func (m *memory) low() bool { return m.free*4 < m.recv.Blocks() }

// reserve allocates a contiguous receive buffer for the rest of a large message.
func (m *memory) reserve(n int) (sgmsg.Element, error) {
	if m.region == nil {
		return sgmsg.Element{}, syscall.ENOMEM
	}
	return m.region.Alloc(n)
}
