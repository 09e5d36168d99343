package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/kcm-go/kcm/sgmsg"
)

// A message on the wire, and what its bytes say:
//
//	| length, 4 | number, 8             | pattern, size-8                 |
//	| of the    | connection << 40 |    | pattern[number%8:][:size-8]     |
//	| payload   | position on it        |                                 |
//
// A payload of less than 8 bytes has no number and is pattern only; then the order
// of replies alone tells messages apart. The size follows from the number too, so
// number says all there is to know about a message and nothing is stored for it.
const (
	lengthBytes = 4
	numberBytes = 8
	seqBits     = 40
	slides      = 8 // positions at which a tail may begin in the pattern
)

// contents makes and checks the messages of a Workload.
type contents struct {
	sizes   Sizes
	seed    uint64
	pattern []byte
}

func firstNumber(conn int) uint64 { return uint64(conn) << seqBits }

// patternBytes is the length of the pattern that sizes need.
func patternBytes(s Sizes) int { return max(s.Max, numberBytes+slides) }

// fillPattern writes the pattern, the same for every thread and run.
func fillPattern(p []byte) {
	rng := rand.New(rand.NewPCG(0x6b636d, 0))
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
}

// size returns the length of message number's payload.
func (c *contents) size(number uint64) int {
	if c.sizes.Min == c.sizes.Max {
		return c.sizes.Min
	}
	span := uint64(c.sizes.Max - c.sizes.Min + 1)
	return c.sizes.Min + int(mix(number^mix(c.seed))%span)
}

// mix is the finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit of the
// result depends on every bit of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// head writes length and, if it fits in, number, and returns how many bytes that
// was.
func (c *contents) head(b *[lengthBytes + numberBytes]byte, number uint64, size int) int {
	binary.BigEndian.PutUint32(b[:], uint32(size))
	if size < numberBytes {
		return lengthBytes
	}
	binary.LittleEndian.PutUint64(b[lengthBytes:], number)
	return lengthBytes + numberBytes
}

// tail returns the rest of the message, and where it begins in the pattern.
func (c *contents) tail(number uint64, size int) (off int, b []byte) {
	if size >= numberBytes {
		size -= numberBytes
	}
	off = int(number % slides)
	return off, c.pattern[off : off+size]
}

// put writes a whole message of a payload of size bytes to b.
func (c *contents) put(b []byte, number uint64, size int) {
	binary.BigEndian.PutUint32(b, uint32(size))
	b = b[lengthBytes:]
	if size >= numberBytes {
		binary.LittleEndian.PutUint64(b, number)
		b = b[numberBytes:]
	}
	_, tail := c.tail(number, size)
	copy(b, tail)
}

// matches reports whether a received message is message number, to the last byte.
func (c *contents) matches(msg *sgmsg.Message, number uint64) bool {
	size := c.size(number)
	if msg.Len() != lengthBytes+size {
		return false
	}
	var head [lengthBytes + numberBytes]byte
	n := c.head(&head, number, size)
	_, tail := c.tail(number, size)
	off := 0
	for i := range msg.Used() {
		b := msg.Elem(i).Bytes()
		if off < n {
			k := min(len(b), n-off)
			if !bytes.Equal(b[:k], head[off:off+k]) {
				return false
			}
			b = b[k:]
			off += k
			if len(b) == 0 {
				continue
			}
		}
		if !bytes.Equal(b, tail[off-n:off-n+len(b)]) {
			return false
		}
		off += len(b)
	}
	return true
}

// numberOf returns the number a message claims to have.
func numberOf(msg *sgmsg.Message) (number uint64, ok bool) {
	var b [numberBytes]byte
	if msg.CopyTo(b[:], lengthBytes) < numberBytes {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}

// describe says what was wrong with a reply, for the one error that is shown.
func (c *contents) describe(msg *sgmsg.Message, number uint64) string {
	conn, seq := number>>seqBits, number&(1<<seqBits-1)
	if want := lengthBytes + c.size(number); msg.Len() != want {
		return fmt.Sprintf("connection %d: reply %d has %d bytes, want %d", conn, seq, msg.Len()-lengthBytes, want-lengthBytes)
	}
	return fmt.Sprintf("connection %d: reply %d has other bytes than were sent", conn, seq)
}
