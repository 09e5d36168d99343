package framing

import (
	"encoding/binary"
	"math/rand/v2"
)

// ChunkSize is how many bytes arrive at a time.
const ChunkSize = 64 << 10

// Sizes returns a function that says how long the messages of a stream are, header
// included, one after the other: all of size bytes but the first, which is so much
// shorter that messages cross the ends of chunks; or, for size 0, from 16 to 112 bytes
// at random, 64 on average.
func Sizes(size int) func() int {
	if size == 0 {
		rng := rand.New(rand.NewPCG(1, 64))
		return func() int { return 16 + rng.IntN(97) }
	}
	first := max(5, size-size/3)
	return func() int {
		n := first
		first = size
		return n
	}
}

// Stream returns count messages of these sizes, at least 5 each, and the sum of the
// first and last bytes of their payloads.
func Stream(count int, size func() int) (stream []byte, sum uint64) {
	for i := range count {
		n := size() - 4
		stream = binary.BigEndian.AppendUint32(stream, uint32(n))
		at := len(stream)
		for k := range n {
			stream = append(stream, byte(i+k))
		}
		sum += uint64(stream[at]) + uint64(stream[len(stream)-1])
	}
	return stream, sum
}

// Tally is what handlers leave: the number of messages, and the sum of the first and
// last bytes of the payloads.
type Tally struct {
	Messages int
	Sum      uint64
}

func (t *Tally) add(p []byte) {
	t.Messages++
	t.Sum += uint64(p[0]) + uint64(p[len(p)-1])
}
