package framing

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// everyTrial runs f for all contestants in all sets.
func everyTrial(t *testing.T, sizes []int, f func(t *testing.T, c Contestant, size int, set Set)) {
	for _, c := range Contestants() {
		for _, set := range c.Sets {
			for _, size := range sizes {
				t.Run(fmt.Sprintf("%s/%s/%d", c.Name, set, size), func(t *testing.T) { f(t, c, size, set) })
			}
		}
	}
}

// TestTrial: what a trial measures is the whole stream, in either set.
func TestTrial(t *testing.T) {
	everyTrial(t, []int{8, 64, 1024, maxHeld}, func(t *testing.T, c Contestant, size int, set Set) {
		if race && c.Kind == Ours && set == InPlace {
			t.Skip("the race detector's builds overwrite a released buffer")
		}
		tr, err := Open(c, size, set)
		if err != nil {
			t.Fatal(err)
		}
		for _, chunks := range []int{1, 3, 30} {
			if err := tr.Run(chunks); err != nil {
				t.Fatal(err)
			}
			if err := tr.Check(); err != nil {
				t.Fatal(err)
			}
		}
		if tr.PerChunk != ChunkSize/size {
			t.Errorf("%d messages in a chunk", tr.PerChunk)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestBlock: a message lies across each boundary, in equal halves.
func TestBlock(t *testing.T) {
	for _, size := range []int{8, 64, 1024} {
		b, lap, split := block(size)
		if len(b) != ChunkSize {
			t.Fatalf("a block of %d bytes", len(b))
		}
		var got [][]byte
		h, err := openHand(NewSource(b[size/2:], b), collect(&got))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Cut(2, 0); err != nil {
			t.Fatal(err)
		}
		var sum, first Tally
		for i, p := range got {
			if len(p) != size-headerLen {
				t.Fatalf("message %d has %d bytes of payload", i, len(p))
			}
			if i < ChunkSize/size-1 {
				first.add(p)
			} else {
				sum.add(p)
			}
		}
		if sum != lap || first.plus(split, 1) != lap || split.Messages != 1 {
			t.Errorf("size %d: first %+v, then %+v, want %+v, %+v of it at the boundary", size, first, sum, lap, split)
		}
	}
}

// faulty is a cutter that does its work wrong after a while.
type faulty struct {
	Cutter
	to    Callbacks
	left  int
	fault func(to Callbacks, payload []byte)
}

func (f *faulty) deliver(payload []byte) {
	if f.left--; f.left == 0 {
		f.fault(f.to, payload)
		return
	}
	f.to.Bytes(payload)
}

// TestCheck: one wrong message in many is noticed.
func TestCheck(t *testing.T) {
	for name, fault := range map[string]func(to Callbacks, p []byte){
		"lost":    func(Callbacks, []byte) {},
		"twice":   func(to Callbacks, p []byte) { to.Bytes(p); to.Bytes(p) },
		"short":   func(to Callbacks, p []byte) { to.Bytes(p[:len(p)-1]) },
		"shifted": func(to Callbacks, p []byte) { to.Bytes(append(p[1:len(p):len(p)], p[0])) },
	} {
		c := Contestant{Name: name, Kind: Peer, Sets: []Set{Read}, open: func(src *Source, to Callbacks) (Cutter, error) {
			f := &faulty{to: to, left: 1000, fault: fault}
			var err error
			f.Cutter, err = openHand(src, Callbacks{Bytes: f.deliver})
			return f, err
		}}
		tr, err := Open(c, 64, Read)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	kcm := Contestants()[0]
	for _, size := range []int{0, 4, 63, 65, 2 * maxHeld} {
		if _, err := Open(kcm, size, Read); err == nil {
			t.Errorf("opened with messages of %d bytes", size)
		}
	}
	kcm.Sets = []Set{Read}
	if _, err := Open(kcm, 64, InPlace); err == nil {
		t.Error("opened in a set it does not run in")
	}
}

// TestNoAllocations: kcm allocates nothing per chunk, of which a message lies across
// each boundary.
func TestNoAllocations(t *testing.T) {
	if race {
		t.Skip("the race detector allocates")
	}
	for _, c := range Contestants() {
		if c.Kind != Ours {
			continue
		}
		for _, size := range []int{64, 1024} {
			tr, err := Open(c, size, Read)
			if err != nil {
				t.Fatal(err)
			}
			n := testing.AllocsPerRun(10, func() {
				if err := tr.Run(10); err != nil {
					t.Error(err)
				}
			})
			if n != 0 {
				t.Errorf("%s, %d bytes: %v allocations in 10 chunks", c.Name, size, n)
			}
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestLowerHasTheChunk: the parser of kcm runs on chunks received as a loop receives
// them: adopted, and back in the pool when they are consumed.
func TestLowerHasTheChunk(t *testing.T) {
	var during int
	var k *kcm
	cutter, err := openKcm(2, false)(NewSource([]byte("\x00\x00\x00\x01a\x00\x00\x00\x01b")), Callbacks{
		Message: func(_ *strparser.Parser, m *sgmsg.Message) { during += k.lower.pool.Held() },
	})
	if err != nil {
		t.Fatal(err)
	}
	k = cutter.(*kcm)
	if err := k.Cut(1, 2); err != nil {
		t.Fatal(err)
	}
	if during != 2 || k.lower.pool.Held() != 0 || k.lower.count != 2 {
		t.Errorf("held %d times by 2 messages, then %d; %d buffers free", during, k.lower.pool.Held(), k.lower.count)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}
