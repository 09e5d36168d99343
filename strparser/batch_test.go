//go:build linux

package strparser_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Messages that lie whole in a chunk come in batches of up to 64, whether their sizes
// are alike or not, and only the one that is cut comes alone.
func TestBatch(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for _, f := range []struct {
		format strparser.Length
		header func(n int) []byte
	}{
		{strparser.Length16, func(n int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(n)) }},
		{strparser.Length{Width: 8}, func(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }},
		{strparser.Length{Width: 4, Order: binary.LittleEndian}, func(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }},
		{strparser.Length{Width: 1}, func(n int) []byte { return []byte{byte(n)} }},
	} {
		for _, alike := range []bool{true, false} {
			size := func() int {
				if alike {
					return 0 // the smallest there is
				}
				return rng.IntN(3)
			}
			var stream []byte
			count := 0
			for len(stream) < 3*blockSize {
				n := size()
				stream = append(append(stream, f.header(n)...), make([]byte, n)...)
				count++
			}
			l := newLower(t, 8)
			var batched, alone, batches, longest int
			p, err := strparser.New(l, strparser.Options{
				Format:  f.format,
				Message: func(*strparser.Parser, *sgmsg.Message) { alone++ },
				Batch: func(p *strparser.Parser, b *strparser.Batch) {
					for i := range b.Len() {
						if n := len(b.Bytes(i)); n < len(f.header(0)) || n > len(f.header(0))+2 {
							t.Errorf("message %d has %d bytes", i, n)
						}
					}
					batches++
					batched += b.Len()
					longest = max(longest, b.Len())
					if int(p.Stats().Messages) != batched+alone {
						t.Errorf("%d messages are counted, %d were delivered", p.Stats().Messages, batched+alone)
					}
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(stream); at += blockSize {
				l.feed(0, stream[at:min(at+blockSize, len(stream))])
			}
			p.DataReady()
			// The field is cut out of a load of 8 bytes, so the last messages of a chunk
			// may come alone: those in its last 8 bytes, and the one that is cut.
			if chunks := (len(stream) + blockSize - 1) / blockSize; batched+alone != count || alone > 9*chunks {
				t.Errorf("%d in batches and %d alone of %d", batched, alone, count)
			}
			if limit := min(64, blockSize/len(f.header(0))); alike && (longest > 64 || longest < limit-8) {
				t.Errorf("the longest of %d batches has %d messages, want %d", batches, longest, limit)
			}
			p.Stop()
			p.Done()
			l.close()
		}
	}
}

// A pause or a stop inside a batch takes effect behind it.
func TestPauseInsideBatch(t *testing.T) {
	l := newLower(t, 4)
	defer l.close()
	var got []int
	var end func(*strparser.Parser)
	p, err := strparser.New(l, strparser.Options{
		Format:  strparser.Length16,
		Message: func(*strparser.Parser, *sgmsg.Message) { got = append(got, 1) },
		Batch: func(p *strparser.Parser, b *strparser.Batch) {
			got = append(got, b.Len())
			end(p)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.feed(0, make([]byte, 200)) // 100 empty messages
	end = (*strparser.Parser).Pause
	p.DataReady()
	if len(got) != 1 || got[0] != 64 || l.consumed != 128 {
		t.Fatalf("batches of %d, %d bytes consumed", got, l.consumed)
	}
	end = (*strparser.Parser).Stop
	p.UnpauseLocked()
	if len(got) != 2 || l.consumed != 128+2*got[1] || !p.Stopped() {
		t.Fatalf("batches of %d, %d bytes consumed", got, l.consumed)
	}
	p.Done()
}

// What is kept of a batch outlives it, in one element; asking for a message that is
// not there panics.
func TestBatchElements(t *testing.T) {
	l := newLower(t, 4)
	var kept sgmsg.Message
	p, err := strparser.New(l, strparser.Options{
		Format:  strparser.Length16,
		Message: func(_ *strparser.Parser, m *sgmsg.Message) { m.MoveTo(&kept) },
		Batch: func(_ *strparser.Parser, b *strparser.Batch) {
			for i := range b.Len() {
				_ = append(b.Bytes(i), '!') // must not write into the next one
				kept.AppendShared(b.Elem(i))
			}
			for _, i := range []int{-1, b.Len()} {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("message %d of %d did not panic", i, b.Len())
						}
					}()
					b.Bytes(i)
				}()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.feed(10, make([]byte, 200))
	p.DataReady()
	if kept.Len() != 200 || kept.Used() != 1 || kept.Elem(0).Off != 10 || bytes.IndexByte(kept.AppendTo(nil), '!') >= 0 {
		t.Errorf("%d bytes in %d elements", kept.Len(), kept.Used())
	}
	kept.Release()
	p.Stop()
	p.Done()
	l.close()
}

// Batches allocate nothing.
func TestBatchDoesNotAllocate(t *testing.T) {
	if invariants.Enabled || invariants.Race {
		t.Skip("these builds allocate")
	}
	r := newReplay(t, prefixed(1000, 64), 16<<10)
	p, err := strparser.New(r, strparser.Options{
		Format:  strparser.Length32,
		Message: func(*strparser.Parser, *sgmsg.Message) {},
		Batch:   func(*strparser.Parser, *strparser.Batch) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		r.rewind()
		p.DataReady()
	}); n >= 1 { // a collection empties the pool now and then
		t.Errorf("%v allocations", n)
	}
	p.Stop()
	p.Done()
}
