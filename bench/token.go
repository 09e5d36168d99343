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
//	| header,   | work, 5  | number, 8             | pattern, the rest       |
//	| the       | if any   | connection << 40 |    | pattern[number%8:]      |
//	| Frame's   | is asked | position on it        |                         |
//
// Work is there if any message has a Service (see service.go); the payload is 13
// bytes then, or more. Else a payload of less than 8 bytes has no number and is
// pattern only, so the order of replies alone tells messages apart. Kind, size and service
// time follow from the number too, so number says all there is to know about a
// message and nothing is stored for it.
const (
	lengthBytes = 4 // the header of len32
	numberBytes = 8
	headBytes   = maxHeader + workBytes + numberBytes // the longest head
	seqBits     = 40
	slides      = 8 // positions at which a tail may begin in the pattern
)

// contents makes and checks the messages of a Workload.
type contents struct {
	kinds
	header  header
	mode    Mode
	work    int // bytes that say the work: workBytes, or 0
	pattern []byte
}

// newContents leaves the pattern to the caller.
func newContents(w *Workload) contents {
	c := contents{kinds: newKinds(w), header: newHeader(w.Frame), mode: w.Mode}
	if c.worked {
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
		return c.header.len
	}
	return c.header.len + c.work + numberBytes
}

// head writes what comes before the tail: the header, the work if any is asked for,
// the number if it fits in. It returns how many bytes that was.
func (c *contents) head(b []byte, number uint64, size int) int {
	c.header.put(b, size)
	n := c.header.len
	if size < numberBytes {
		return n
	}
	if c.work > 0 {
		d, _ := c.service(number)
		putWork(b[n:], d, c.mode.sleeps(d))
		n += workBytes
	}
	binary.LittleEndian.PutUint64(b[n:], number)
	return n + numberBytes
}

// tail returns the rest of the message, size bytes, and where it begins in the
// pattern.
func (c *contents) tail(number uint64, size int) (off int, b []byte) {
	off = int(number % slides)
	return off, c.pattern[off : off+size]
}

// put writes a whole message of a payload of size bytes to b.
func (c *contents) put(b []byte, number uint64, size int) {
	n := c.head(b, number, size)
	_, tail := c.tail(number, c.header.len+size-n)
	copy(b[n:], tail)
}

// matches reports whether a received message is message number, to the last byte.
func (c *contents) matches(msg *sgmsg.Message, number uint64) bool {
	size := c.size(number)
	if msg.Len() != c.header.len+size {
		return false
	}
	var head [headBytes]byte
	n := c.head(head[:], number, size)
	_, tail := c.tail(number, c.header.len+size-n)
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
	if msg.CopyTo(b[:], c.header.len+c.work) < numberBytes {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}

// describe says what was wrong with a reply, for the one error that is shown.
func (c *contents) describe(msg *sgmsg.Message, number uint64) string {
	conn, seq := number>>seqBits, number&(1<<seqBits-1)
	if want := c.header.len + c.size(number); msg.Len() != want {
		return fmt.Sprintf("connection %d: reply %d has %d bytes, want %d", conn, seq, msg.Len()-c.header.len, want-c.header.len)
	}
	return fmt.Sprintf("connection %d: reply %d has other bytes than were sent", conn, seq)
}
