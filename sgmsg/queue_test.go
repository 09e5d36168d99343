package sgmsg

import (
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
)

// TestCoalesce: neighbours in one buffer are one element with one reference.
func TestCoalesce(t *testing.T) {
	a := NewHeap(4096)
	defer a.Close(nil)
	e, err := a.Alloc(64)
	if err != nil {
		t.Fatal(err)
	}
	var m, queue Message
	for i := range 16 {
		m.Lend(Element{Buf: e.Buf, Off: uint32(4 * i), Len: 4})
		m.MoveTo(&queue)
		m.Reclaim()
	}
	if queue.Used() != 1 || queue.Len() != 64 || e.Buf.Refs() != 2 {
		t.Errorf("%d elements, %d bytes, %d references", queue.Used(), queue.Len(), e.Buf.Refs())
	}
	queue.Release()
	e.Buf.Release()
	if a.Held() != 0 {
		t.Error("a buffer is still held")
	}
}

// TestLongQueue eats from the front what is put behind, with messages that never
// continue each other: the element list must not grow with the total.
func TestLongQueue(t *testing.T) {
	a := NewHeap(1 << 16)
	defer a.Close(nil)
	var q Message
	for i := range 10000 {
		if err := q.AppendCopy(a, []byte{byte(i)}, 0); err != nil {
			t.Fatal(err)
		}
		e, err := a.Alloc(1) // so that the next one has to have a buffer of its own
		if err != nil {
			t.Fatal(err)
		}
		e.Bytes()[0] = byte(i)
		q.Append(e)
		if i >= 20 {
			if b := q.Head(2, nil); b[0] != byte(i-20) {
				t.Fatalf("at %d: % x", i, b)
			}
			q.TrimFront(2)
		}
	}
	if n := cap(q.rest.more); n > 200 {
		t.Errorf("the list has room for %d elements, %d are used", n, q.Used())
	}
	q.Release()
	if a.Held() != 0 {
		t.Errorf("%d buffers are still held", a.Held())
	}
}

// TestEmptiedQueueHoldsLittle: a message that had many elements gives their list up when it
// is empty, and filling it again allocates none.
func TestEmptiedQueueHoldsLittle(t *testing.T) {
	a := NewHeap(1 << 16)
	defer a.Close(nil)
	var blocks [2]Element
	for i := range blocks {
		var err error
		if blocks[i], err = a.Alloc(64); err != nil {
			t.Fatal(err)
		}
		defer blocks[i].Buf.Release()
	}
	var m Message
	fill := func(n int) {
		for i := range n {
			m.AppendShared(blocks[i%2]) // never the last one's continuation
		}
		if m.Used() != n {
			t.Fatalf("%d elements, want %d", m.Used(), n)
		}
		m.TrimFront(m.Len())
	}
	for _, n := range []int{5, inlineElements + keptElements, 100, maxSharedElements, 3 * maxSharedElements, 7} {
		fill(n)
		if m.rest != nil && cap(m.rest.more) > keptElements {
			t.Errorf("after %d elements it has room for %d, want at most %d", n, cap(m.rest.more), keptElements)
		}
	}
	if invariants.Enabled || invariants.Race {
		return // these builds note who holds what
	}
	if n := testing.AllocsPerRun(100, func() { fill(200) }); n != 0 {
		t.Errorf("%v allocations to fill it again, want 0", n)
	}
}
