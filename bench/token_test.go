package bench

import (
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
)

// build returns message number of c in elements of at most chunk bytes.
func build(t *testing.T, al sgmsg.Allocator, c *contents, number uint64, chunk int, spoil func([]byte)) *sgmsg.Message {
	t.Helper()
	size := c.size(number)
	b := make([]byte, lengthBytes+size)
	c.put(b, number, size)
	if spoil != nil {
		spoil(b)
	}
	m := new(sgmsg.Message)
	for len(b) > 0 {
		e, err := al.Alloc(min(chunk, len(b)))
		if err != nil {
			t.Fatal(err)
		}
		b = b[copy(e.Bytes(), b):]
		m.Append(e)
	}
	return m
}

func newContents(s Sizes) *contents {
	c := &contents{sizes: s, seed: 1, pattern: make([]byte, patternBytes(s))}
	fillPattern(c.pattern)
	return c
}

func TestMatchesWhateverTheChunks(t *testing.T) {
	al := sgmsg.NewHeap(1 << 20)
	for size := range 80 {
		c := newContents(Sizes{size, size})
		for _, chunk := range []int{1, 3, 4, 11, 12, 13, 1000} {
			for number := range uint64(10) {
				number += firstNumber(3)
				m := build(t, al, c, number, chunk, nil)
				if !c.matches(m, number) {
					t.Fatalf("size %d in chunks of %d: not recognized", size, chunk)
				}
				if n, ok := numberOf(m); ok != (size >= numberBytes) || ok && n != number {
					t.Fatalf("size %d: number %d, %v", size, n, ok)
				}
				m.Release()
			}
		}
	}
}

// Every single changed byte must be noticed, in one chunk and in several.
func TestMatchesNoticesEveryByte(t *testing.T) {
	al := sgmsg.NewHeap(1 << 20)
	for _, size := range []int{0, 1, 7, 8, 9, 64} {
		c := newContents(Sizes{size, size})
		for _, chunk := range []int{5, 1000} {
			for i := range lengthBytes + size {
				m := build(t, al, c, 5, chunk, func(b []byte) { b[i] ^= 1 })
				if c.matches(m, 5) {
					t.Errorf("size %d in chunks of %d: a change of byte %d went unnoticed", size, chunk, i)
				}
				m.Release()
			}
		}
	}
}

func TestMatchesTellsMessagesApart(t *testing.T) {
	al := sgmsg.NewHeap(1 << 20)
	c := newContents(Sizes{0, 100})
	sizes := map[int]bool{}
	for number := range uint64(2000) {
		sizes[c.size(number)] = true
		m := build(t, al, c, number, 1000, nil)
		for _, other := range []uint64{number + 1, number + slides, number + firstNumber(1)} {
			if c.size(other) >= numberBytes && c.matches(m, other) {
				t.Fatalf("message %d passes for %d", number, other)
			}
		}
		m.Release()
	}
	if len(sizes) != 101 {
		t.Errorf("2000 messages of 0-100 bytes have %d sizes", len(sizes))
	}
}
