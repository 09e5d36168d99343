//go:build linux

package strparser_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// copies counts what is copied of a stream that is cut into the chunks, which arrive one
// by one or all before the parser looks. It sees that the messages are right, too.
func copies(t *testing.T, f strparser.Format, chunks [][]byte, oneByOne bool) (copied, messages uint64) {
	t.Helper()
	l := newLower(t, len(chunks)+1)
	var got []byte
	p, err := strparser.New(l, strparser.Options{Format: f, Message: func(_ *strparser.Parser, m *sgmsg.Message) {
		got = m.AppendTo(got)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		l.feed(0, c)
		if oneByOne {
			p.DataReady()
		}
	}
	p.DataReady()
	if want := bytes.Join(chunks, nil); !bytes.Equal(got, want) || p.InProgress() != 0 {
		t.Fatalf("%d bytes were delivered of %d, %d are in hand: %v", len(got), len(want), p.InProgress(), p.Err())
	}
	st := p.Stats()
	p.Stop()
	p.Done()
	l.close()
	return st.Copied, st.Messages
}

// No byte is copied on the way to the handler: not of messages inside one chunk, nor of
// those whose pieces fill a quarter of each chunk they lie in, nor, whatever their pieces,
// of those that have arrived when the parser looks. Only a header that is cut is: the
// parser keeps its first bytes, and copies these alone.
func TestNoByteIsCopied(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	fn := strparser.ParseFunc(func(v *strparser.View) (int, error) {
		h := v.Head()
		if len(h) < 2 {
			return 0, nil
		}
		return 2 + int(binary.BigEndian.Uint16(h)), nil
	})
	message := func(n int) []byte { // of n bytes
		b := binary.BigEndian.AppendUint16(nil, uint16(n-2))
		for len(b) < n {
			b = append(b, byte(rng.Uint32()))
		}
		return b
	}
	for _, f := range []strparser.Format{strparser.Length16, fn} {
		for range 100 {
			var inside, quarters, any [][]byte
			for range 20 {
				var chunk []byte // of whole messages
				for n := 2 + rng.IntN(60); len(chunk)+n <= blockSize; n = 2 + rng.IntN(100) {
					chunk = append(chunk, message(n)...)
				}
				inside = append(inside, chunk)

				sizes := make([]int, 2+rng.IntN(3)) // one message in so many pieces
				total := 0
				for i := range sizes {
					sizes[i] = blockSize/4 + rng.IntN(blockSize*3/4+1)
					total += sizes[i]
				}
				m := message(total)
				for _, n := range sizes {
					quarters = append(quarters, m[:n])
					m = m[n:]
				}

				m = message(20 + rng.IntN(3*blockSize))
				for first := true; len(m) > 0; first = false { // the header stays whole
					n := min(1+rng.IntN(blockSize), len(m))
					if first {
						n = max(n, 2)
					}
					any = append(any, m[:n])
					m = m[n:]
				}
			}
			for _, c := range []struct {
				what     string
				chunks   [][]byte
				oneByOne bool
			}{{"inside chunks", inside, true}, {"pieces of a quarter", quarters, true}, {"arrived", quarters, false}, {"arrived in any pieces", any, false}} {
				if n, msgs := copies(t, f, c.chunks, c.oneByOne); n != 0 || msgs < 20 {
					t.Fatalf("%s: %d bytes of %d messages were copied", c.what, n, msgs)
				}
			}
			// The header of one message is cut after its first byte.
			m := message(2 * blockSize)
			if n, _ := copies(t, f, [][]byte{m[:1], m[1 : blockSize+1], m[blockSize+1:]}, false); n > 1 {
				t.Fatalf("%d bytes were copied for a header that was cut after 1", n)
			}
			// A piece that is less than a quarter, and waits, is copied: else it would pin
			// the buffer.
			if n, _ := copies(t, f, [][]byte{m[:20], m[20:blockSize], m[blockSize:]}, true); n != 20 {
				t.Fatalf("%d bytes were copied of a piece of 20", n)
			}
		}
	}
}
