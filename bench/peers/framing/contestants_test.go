package framing

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// collect returns callbacks that append a copy of each payload.
func collect(got *[][]byte) Callbacks {
	return Callbacks{
		Batch: func(_ *strparser.Parser, b *strparser.Batch) {
			for i := range b.Len() {
				*got = append(*got, bytes.Clone(b.Bytes(i)[headerLen:]))
			}
		},
		Message: func(_ *strparser.Parser, m *sgmsg.Message) {
			*got = append(*got, bytes.Clone(payload(m, nil)))
		},
		Bytes: func(b []byte) { *got = append(*got, bytes.Clone(b)) },
	}
}

// messages returns payloads of random bytes, and the stream they make.
func messages(rnd *rand.Rand, count, longest int) (want [][]byte, stream []byte) {
	for range count {
		p := make([]byte, 1+rnd.IntN(1+rnd.IntN(longest)))
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		want = append(want, p)
		stream = binary.BigEndian.AppendUint32(stream, uint32(len(p)))
		stream = append(stream, p...)
	}
	return want, stream
}

// cuts divides a stream into chunks of random length.
func cuts(rnd *rand.Rand, stream []byte, longest int) (chunks [][]byte) {
	for len(stream) > 0 {
		n := min(len(stream), 1+rnd.IntN(longest))
		chunks = append(chunks, stream[:n])
		stream = stream[n:]
	}
	return chunks
}

// TestContestants: all deliver the same messages, however the stream is cut.
func TestContestants(t *testing.T) {
	for _, c := range Contestants() {
		if c.Kind == ReadOnly {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			for seed, chunk := range []int{1, 2, 7, 100, 5000, ChunkSize, ChunkSize, ChunkSize} {
				t.Run(fmt.Sprintf("%d of %d", seed, chunk), func(t *testing.T) { deliverAll(t, c, uint64(seed), chunk) })
			}
		})
	}
}

func deliverAll(t *testing.T, c Contestant, seed uint64, chunk int) {
	rnd := rand.New(rand.NewPCG(1, seed))
	// Enough for chunks to be filled, few enough for chunks of one byte.
	want, stream := messages(rnd, 20+min(chunk/20, 1000), maxHeld-headerLen)
	chunks := cuts(rnd, stream, chunk)
	var got [][]byte
	cutter, err := c.open(NewSource(chunks...), collect(&got))
	if err != nil {
		t.Fatal(err)
	}
	if err := cutter.Cut(len(chunks), len(want)); err != nil {
		t.Error(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("message %d of %d bytes: got % .20x, want % .20x", i, len(want[i]), got[i], want[i])
		}
	}
	if err := cutter.Close(); err != nil {
		t.Error(err)
	}
}

// TestNames: each contestant has a name of its own, and kcm-batch is the first.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Contestants() {
		if c.Name == "" || seen[c.Name] || c.Does == "" || !c.Runs(Read) {
			t.Errorf("contestant %q", c.Name)
		}
		seen[c.Name] = true
	}
	if c := Contestants()[0]; c.Name != "kcm-batch" || c.Kind != Ours {
		t.Errorf("first is %q", c.Name)
	}
}
