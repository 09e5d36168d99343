package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// build returns message number of c in elements of at most chunk bytes.
func build(t *testing.T, al sgmsg.Allocator, c *contents, number uint64, chunk int, spoil func([]byte)) *sgmsg.Message {
	t.Helper()
	size := c.size(number)
	b := make([]byte, c.header.len+size)
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

// filled returns the contents of w, with a pattern.
func filled(w Workload) *contents {
	c := newContents(&w)
	c.pattern = make([]byte, patternBytes(w.Size))
	fillPattern(c.pattern)
	return &c
}

// workloads returns one of messages of size bytes, and if they are long enough one of
// messages that carry work too.
func workloads(size int) []Workload {
	w := Workload{Size: Sizes{Min: size, Max: size}, Seed: 1}
	all := []Workload{w}
	if size >= workBytes+numberBytes {
		w.Service = Service{Shape: Exponential, Time: 50 * time.Microsecond}
		all = append(all, w)
	}
	return all
}

func TestMatchesWhateverTheChunks(t *testing.T) {
	al := sgmsg.NewHeap(1 << 20)
	for size := range 80 {
		for _, w := range workloads(size) {
			c := filled(w)
			for _, chunk := range []int{1, 3, 4, 11, 12, 13, 17, 1000} {
				for number := range uint64(10) {
					number += firstNumber(3)
					m := build(t, al, c, number, chunk, nil)
					if !c.matches(m, number) {
						t.Fatalf("size %d in chunks of %d, service %s: not recognized", size, chunk, w.Service)
					}
					if n, ok := c.numberOf(m); ok != (size >= numberBytes) || ok && n != number {
						t.Fatalf("size %d, service %s: number %d, %v", size, w.Service, n, ok)
					}
					m.Release()
				}
			}
		}
	}
}

// Every single changed byte must be noticed, in one chunk and in several.
func TestMatchesNoticesEveryByte(t *testing.T) {
	al := sgmsg.NewHeap(1 << 20)
	for _, size := range []int{0, 1, 7, 8, 9, 13, 64} {
		for _, w := range workloads(size) {
			c := filled(w)
			for _, chunk := range []int{5, 1000} {
				for i := range lengthBytes + size {
					m := build(t, al, c, 5, chunk, func(b []byte) { b[i] ^= 1 })
					if c.matches(m, 5) {
						t.Errorf("size %d in chunks of %d, service %s: a change of byte %d went unnoticed", size, chunk, w.Service, i)
					}
					m.Release()
				}
			}
		}
	}
}

// The bytes are fixed: servers of other programs read them.
func TestWorkOnTheWire(t *testing.T) {
	for _, c := range []struct {
		time time.Duration
		mode Mode
		want string
	}{
		{time.Microsecond, ModeAuto, "0000000d 00000001 00 0500000000000000"},
		{99 * time.Microsecond, ModeAuto, "0000000d 00000063 00 0500000000000000"},
		{100 * time.Microsecond, ModeAuto, "0000000d 00000064 01 0500000000000000"},
		{10 * time.Microsecond, ModeSleep, "0000000d 0000000a 01 0500000000000000"},
		{MaxService, ModeSpin, "0000000d 03938700 00 0500000000000000"},
	} {
		w := &Workload{Size: Sizes{Min: 13, Max: 13}, Service: Service{Time: c.time}, Mode: c.mode}
		var b [4 + 13]byte
		filled(*w).put(b[:], 5, 13)
		if got := fmt.Sprintf("%x %x %x %x", b[:4], b[4:8], b[8:9], b[9:]); got != c.want {
			t.Errorf("%s, %s: %s, want %s", c.time, c.mode, got, c.want)
		}
	}
}

func TestMatchesTellsMessagesApart(t *testing.T) {
	al := sgmsg.NewHeap(1 << 20)
	c := filled(Workload{Size: Sizes{Min: 0, Max: 100}, Seed: 1})
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
