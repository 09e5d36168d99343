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
//	| length, 4 | work, 5  | number, 8             | pattern, the rest       |
//	| of the    | if any   | connection << 40 |    | pattern[number%8:]      |
//	| payload   | is asked | position on it        |                         |
//
// Work is there if the Workload has a Service (see service.go); the payload is 13
// bytes then, or more. Else a payload of less than 8 bytes has no number and is
// pattern only, so the order of replies alone tells messages apart. Size and service
// time follow from the number too, so number says all there is to know about a
// message and nothing is stored for it.
const (
	lengthBytes = 4
	numberBytes = 8
	headBytes   = lengthBytes + workBytes + numberBytes // the longest head
	seqBits     = 40
	slides      = 8 // positions at which a tail may begin in the pattern
)

// contents makes and checks the messages of a Workload.
type contents struct {
	sizes   Sizes
	seed    uint64
	service Service
	mode    Mode
	work    int // bytes that say the work: workBytes, or 0
	pattern []byte
}

// newContents leaves the pattern to the caller.
func newContents(w *Workload) contents {
	c := contents{sizes: w.Size, seed: w.Seed, service: w.Service, mode: w.Mode}
	if !w.Service.None() {
		c.work = workBytes
	}
	return c
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

// headLen returns how many bytes of a message come before the tail.
func (c *contents) headLen(size int) int {
	if size < numberBytes {
		return lengthBytes
	}
	return lengthBytes + c.work + numberBytes
}

// head writes what comes before the tail: the length, the work if any is asked for,
// the number if it fits in. It returns how many bytes that was.
func (c *contents) head(b []byte, number uint64, size int) int {
	binary.BigEndian.PutUint32(b, uint32(size))
	if size < numberBytes {
		return lengthBytes
	}
	if c.work == 0 {
		binary.LittleEndian.PutUint64(b[lengthBytes:], number)
		return lengthBytes + numberBytes
	}
	d, _ := c.service.draw(c.seed, number)
	putWork(b[lengthBytes:], d, c.mode.sleeps(d))
	binary.LittleEndian.PutUint64(b[lengthBytes+workBytes:], number)
	return headBytes
}

// tail returns the rest of the message, size bytes, and where it begins in the
// pattern.
func (c *contents) tail(number uint64, size int) (off int, b []byte) {
	off = int(number % slides)
	return off, c.pattern[off : off+size]
}

// class returns the class of message number.
func (c *contents) class(number uint64) int {
	if c.service.Shape != Bimodal {
		return 0
	}
	_, class := c.service.draw(c.seed, number)
	return class
}

// put writes a whole message of a payload of size bytes to b.
func (c *contents) put(b []byte, number uint64, size int) {
	n := c.head(b, number, size)
	_, tail := c.tail(number, lengthBytes+size-n)
	copy(b[n:], tail)
}

// matches reports whether a received message is message number, to the last byte.
func (c *contents) matches(msg *sgmsg.Message, number uint64) bool {
	size := c.size(number)
	if msg.Len() != lengthBytes+size {
		return false
	}
	var head [headBytes]byte
	n := c.head(head[:], number, size)
	_, tail := c.tail(number, lengthBytes+size-n)
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
func (c *contents) numberOf(msg *sgmsg.Message) (number uint64, ok bool) {
	var b [numberBytes]byte
	if msg.CopyTo(b[:], lengthBytes+c.work) < numberBytes {
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
