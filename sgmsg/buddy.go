package sgmsg

import "math/bits"

// buddy is a binary buddy allocator over block numbers. Free runs of each order
// are in a doubly linked list threaded through next and prev, which hold block
// number + 1 so that their zero value, untouched memory, means "none".
//
// The last few freed runs of each order are kept as they are and handed out again
// first: their memory is still in the caches, where merging and splitting would
// wander through all of it. They are merged when nothing else is left.
//
// A block count that is no power of two is covered by the largest aligned runs
// that fit; runs never merge across the end.
type buddy struct {
	head  [blockBits + 1]int32
	next  []int32
	prev  []int32
	order []uint8 // of the run that starts here
	warm  [blockBits + 1]warmRuns
	state []uint8 // blockInside, blockFree or blockUsed
}

// warmRuns is a stack of freed runs of one order.
type warmRuns struct {
	run [8]int32
	n   int
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
	if k >= len(b.head) {
		return 0, false
	}
	if w := &b.warm[k]; w.n > 0 {
		w.n--
		return int(w.run[w.n]), true
	}
	if blk, ok := b.cut(k); ok {
		return blk, true
	}
	b.cool()
	return b.cut(k)
}

// cool merges the runs that were kept.
func (b *buddy) cool() {
	for k := range b.warm {
		w := &b.warm[k]
		for _, blk := range w.run[:w.n] {
			b.merge(int(blk))
		}
		w.n = 0
	}
}

// cut takes a run of order k from the lists.
func (b *buddy) cut(k int) (int, bool) {
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

// free returns a run.
func (b *buddy) free(blk int) {
	if w := &b.warm[b.order[blk]]; w.n < len(w.run) {
		w.run[w.n] = int32(blk)
		w.n++
		return
	}
	b.merge(blk)
}

// merge returns a run to the lists, as one with its free buddies.
func (b *buddy) merge(blk int) {
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
