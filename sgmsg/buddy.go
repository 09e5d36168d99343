package sgmsg

import "math/bits"

// buddy is a binary buddy allocator over block numbers. Free runs of each order
// are in a doubly linked list threaded through next and prev, which hold block
// number + 1 so that their zero value, untouched memory, means "none".
//
// A block count that is no power of two is covered by the largest aligned runs
// that fit; runs never merge across the end.
type buddy struct {
	head  [blockBits + 1]int32
	next  []int32
	prev  []int32
	order []uint8 // of the run that starts here
	state []uint8 // blockInside, blockFree or blockUsed
}

const (
	blockInside = iota // not the first block of a run
	blockFree
	blockUsed
)

func (b *buddy) init(blocks int) {
	b.next = make([]int32, blocks)
	b.prev = make([]int32, blocks)
	b.order = make([]uint8, blocks)
	b.state = make([]uint8, blocks)
	for at := 0; at < blocks; {
		k := bits.Len(uint(blocks-at)) - 1
		if at > 0 {
			k = min(k, bits.TrailingZeros(uint(at)))
		}
		b.push(at, k)
		at += 1 << k
	}
}

func (b *buddy) push(blk, k int) {
	b.state[blk] = blockFree
	b.order[blk] = uint8(k)
	b.prev[blk] = 0
	b.next[blk] = b.head[k]
	if h := b.head[k]; h != 0 {
		b.prev[h-1] = int32(blk + 1)
	}
	b.head[k] = int32(blk + 1)
}

func (b *buddy) unlink(blk, k int) {
	n, p := b.next[blk], b.prev[blk]
	if n != 0 {
		b.prev[n-1] = p
	}
	if p != 0 {
		b.next[p-1] = n
	} else {
		b.head[k] = n
	}
}

// alloc returns the first block of a free run of order k.
func (b *buddy) alloc(k int) (int, bool) {
	j := k
	for j < len(b.head) && b.head[j] == 0 {
		j++
	}
	if j >= len(b.head) {
		return 0, false
	}
	blk := int(b.head[j] - 1)
	b.unlink(blk, j)
	for j > k { // give the upper halves back
		j--
		b.push(blk+1<<j, j)
	}
	b.state[blk] = blockUsed
	b.order[blk] = uint8(k)
	return blk, true
}

// free returns a run and merges it with its free buddies.
func (b *buddy) free(blk int) {
	k := int(b.order[blk])
	b.state[blk] = blockInside
	for k < blockBits {
		mate := blk ^ 1<<k
		if mate+1<<k > len(b.state) || b.state[mate] != blockFree || int(b.order[mate]) != k {
			break
		}
		b.unlink(mate, k)
		b.state[mate] = blockInside
		blk = min(blk, mate)
		k++
	}
	b.push(blk, k)
}
