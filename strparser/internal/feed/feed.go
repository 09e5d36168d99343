package feed

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Result is what became of a stream.
type Result struct {
	Messages [][]byte
	Left     int   // bytes of an incomplete message
	Err      error // that ended it
}

// Lens returns the lengths of the messages.
func (r *Result) Lens() (lens []int) {
	for _, m := range r.Messages {
		lens = append(lens, len(m))
	}
	return lens
}

// Equal reports whether two streams had the same messages, and the same end: where one
// was cut does not change which error it is.
func (r *Result) Equal(o *Result) bool {
	if len(r.Messages) != len(o.Messages) || (r.Err == nil) != (o.Err == nil) || r.Err == nil && r.Left != o.Left {
		return false
	}
	for i := range r.Messages {
		if !bytes.Equal(r.Messages[i], o.Messages[i]) {
			return false
		}
	}
	return true
}

// Run feeds the chunks to a parser in general mode with messages of max bytes at most.
func Run(t testing.TB, f strparser.Format, max int, chunks ...[]byte) *Result {
	t.Helper()
	heap := sgmsg.NewHeap(1<<20 + 4*total(chunks))
	defer heap.Close(nil)
	r := new(Result)
	p, err := strparser.New(nil, strparser.Options{
		Format: f, MaxMessage: max, Alloc: heap,
		Lock: func(*strparser.Parser) {}, Unlock: func(*strparser.Parser) {},
		Message: func(_ *strparser.Parser, m *sgmsg.Message) { r.Messages = append(r.Messages, m.AppendTo(nil)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range chunks {
		if len(b) == 0 {
			continue
		}
		e, err := heap.Alloc(len(b))
		if err != nil {
			t.Fatal(err)
		}
		e.Len = uint32(copy(e.Bytes(), b))
		_, r.Err = p.Process(e, 0, 0)
		e.Buf.Release()
		if r.Err != nil {
			break
		}
	}
	r.Left = p.InProgress()
	p.Stop()
	p.Done()
	if n := heap.InUse(); n != 0 {
		t.Errorf("%d bytes of memory were not released", n)
	}
	return r
}

func total(chunks [][]byte) (n int) {
	for _, b := range chunks {
		n += len(b)
	}
	return n
}

// Cut cuts b at random, often into small pieces.
func Cut(rng *rand.Rand, b []byte) (chunks [][]byte) {
	for len(b) > 0 {
		n := 1 + rng.IntN(len(b))
		if rng.IntN(3) > 0 {
			n = min(n, 1+rng.IntN(8))
		}
		chunks = append(chunks, b[:n])
		b = b[n:]
	}
	return chunks
}

// Bytes cuts b into chunks of n bytes.
func Bytes(b []byte, n int) (chunks [][]byte) {
	for len(b) > 0 {
		k := min(n, len(b))
		chunks = append(chunks, b[:k])
		b = b[k:]
	}
	return chunks
}
