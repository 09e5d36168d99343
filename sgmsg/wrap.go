package sgmsg

import (
	"fmt"
	"math"
	"math/bits"
	"syscall"
)

// Wrap makes mem, memory of the caller's, a buffer that messages may refer to, and
// returns an element of all of it with one reference, which the caller owns. mem must
// stay and must not change until done is called: when the last reference was
// released, on the goroutine that did. done may be nil; it must not block.
//
// It is for what lives long and is sent often, a mapped file or a cache, not for each
// message: there are no more than 4095 arenas and wrapped memories at a time. The
// kernel may be given it only if it is not in the Go heap.
//
// Errors: EINVAL for no memory or more than 2 GiB, ENFILE when there are too many.
func Wrap(mem []byte, done func()) (Element, error) {
	if len(mem) == 0 || len(mem) > math.MaxInt32 {
		return Element{}, fmt.Errorf("wrap: %d bytes, want 1 to %d: %w", len(mem), math.MaxInt32, syscall.EINVAL)
	}
	// An arena of one block, which the memory may leave unfilled at its end.
	a := newBlocks(mem, uint8(bits.Len(uint(len(mem)-1))), 1)
	a.wrapped = true
	a.pool = func(BufID) {
		arenas[a.base>>blockBits].Store(nil)
		if done != nil {
			done()
		}
	}
	if err := a.register(); err != nil {
		return Element{}, err
	}
	id := a.ID(0)
	a.Adopt(id)
	return Element{Buf: id, Len: uint32(len(mem))}, nil
}
