package framing

import (
	"encoding/binary"
	"math/rand/v2"
)

// ChunkSize is how much a read returns.
const ChunkSize = 64 << 10

// headerLen is the length of the length.
const headerLen = 4

// block returns a chunk that, repeated, is a stream of messages of size bytes each,
// header included; size divides ChunkSize. It begins with the second half of a message,
// whose first half is its end. lap is what its messages add up to, split what that one
// does.
func block(size int) (b []byte, lap, split Tally) {
	r := rand.New(rand.NewPCG(1, uint64(size)))
	b = make([]byte, 0, ChunkSize+size)
	for len(b) < ChunkSize {
		b = binary.BigEndian.AppendUint32(b, uint32(size-headerLen))
		at := len(b)
		for range size - headerLen {
			b = append(b, byte(r.Uint32()))
		}
		lap.add(b[at:])
		if at == headerLen {
			split.add(b[at:])
		}
	}
	b = append(b, b[:size/2]...)[size/2:]
	return b, lap, split
}
