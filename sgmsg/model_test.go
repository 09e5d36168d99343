package sgmsg

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
)

// world is a few messages, for each the flat bytes it must hold, and the buffers
// they are made of. Each operation is done on both; after each one everything is
// compared, so a write into somebody else's bytes is seen at once.
type world struct {
	t       *testing.T
	rnd     *rand.Rand
	pool    *Arena
	private *Arena
	free    []BufID
	held    []BufID // references of the test's own
	msgs    [4]Message
	flat    [4][]byte
	next    byte
}

const modelBlock = 64

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rnd: rand.New(rand.NewPCG(seed, 0))}
	const blocks = 64
	var err error
	w.pool, err = NewPoolArena(make([]byte, blocks*modelBlock), modelBlock, func(id BufID) {
		clear(Element{Buf: id, Len: modelBlock}.Bytes()) // a late reader sees zeros
		w.free = append(w.free, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range blocks {
		w.free = append(w.free, w.pool.ID(i))
	}
	// Small enough for allocations to fail now and then.
	if w.private, err = NewArena(make([]byte, 40*32), 32); err != nil {
		t.Fatal(err)
	}
	return w
}

// fresh returns n bytes unlike those before, none of them zero.
func (w *world) fresh(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		w.next = w.next%251 + 1
		b[i] = w.next
	}
	return b
}

// chunk adopts a pool block full of fresh bytes; ok is false if none is free.
func (w *world) chunk() (id BufID, ok bool) {
	if len(w.free) == 0 {
		return 0, false
	}
	id = w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	w.pool.Adopt(id)
	copy(Element{Buf: id, Len: modelBlock}.Bytes(), w.fresh(modelBlock))
	return id, true
}

// part is a random range of a buffer, perhaps an empty one.
func (w *world) part(id BufID) Element {
	off := w.rnd.IntN(modelBlock)
	return Element{Buf: id, Off: uint32(off), Len: uint32(w.rnd.IntN(modelBlock - off + 1))}
}

// step does one random operation on message i.
func (w *world) step(i int) {
	m, flat := &w.msgs[i], &w.flat[i]
	switch op := w.rnd.IntN(15); op {
	case 0: // parts of one chunk, which often continue each other
		if id, ok := w.chunk(); ok {
			for at := 0; at < modelBlock; {
				e := Element{Buf: id, Off: uint32(at), Len: uint32(w.rnd.IntN(modelBlock - at + 1))}
				if w.rnd.IntN(2) == 0 {
					id.Retain()
					m.Append(e)
				} else {
					m.AppendShared(e)
				}
				*flat = append(*flat, e.Bytes()...)
				at += int(e.Len) + w.rnd.IntN(3)*w.rnd.IntN(20)
			}
			id.Release()
		}
	case 1:
		if id, ok := w.chunk(); ok {
			e := w.part(id)
			*flat = append(*flat, e.Bytes()...)
			m.Append(e)
		}
	case 2: // keep a chunk for later
		if id, ok := w.chunk(); ok {
			w.held = append(w.held, id)
		}
	case 3:
		if len(w.held) > 0 {
			e := w.part(w.held[w.rnd.IntN(len(w.held))])
			*flat = append(*flat, e.Bytes()...)
			m.AppendShared(e)
		}
	case 4:
		if len(w.held) > 0 {
			k := w.rnd.IntN(len(w.held))
			w.held[k].Release()
			w.held = slices.Delete(w.held, k, k+1)
		}
	case 5:
		n := w.rnd.IntN(len(*flat) + 10)
		m.Trim(n)
		*flat = (*flat)[:min(n, len(*flat))]
	case 6:
		n := w.rnd.IntN(len(*flat) + 10)
		m.TrimFront(n)
		*flat = (*flat)[min(n, len(*flat)):]
	case 7:
		p := w.fresh(w.rnd.IntN(100))
		if w.allocated(m.AppendCopy(w.private, p, w.rnd.IntN(100))) {
			*flat = append(*flat, p...)
		}
	case 8:
		p := w.fresh(w.rnd.IntN(20))
		if w.allocated(m.Prepend(w.private, p)) {
			*flat = append(p, *flat...)
		}
	case 9:
		p := w.fresh(w.rnd.IntN(60))
		b, err := m.Reserve(w.private, w.rnd.IntN(20), len(p))
		if w.allocated(err) {
			copy(b, p)
			*flat = append(*flat, p...)
		}
	case 10:
		if w.allocated(m.Compact(w.pool, w.private)) {
			for k := range m.Used() {
				if w.pool.Owns(m.Elem(k).Buf) {
					w.t.Fatal("Compact left a pool buffer")
				}
			}
		}
	case 11:
		j := (i + 1 + w.rnd.IntN(len(w.msgs)-1)) % len(w.msgs)
		off := w.rnd.IntN(len(*flat) + 5)
		n := w.rnd.IntN(len(*flat) + 5)
		err := m.Clone(&w.msgs[j], off, n)
		if n > 0 && off+n > len(*flat) {
			if !errors.Is(err, syscall.ENOSPC) {
				w.t.Fatalf("Clone outside: %v", err)
			}
		} else if err != nil {
			w.t.Fatal(err)
		} else if n > 0 {
			w.flat[j] = append(w.flat[j], (*flat)[off:off+n]...)
		}
	case 12:
		j := (i + 1 + w.rnd.IntN(len(w.msgs)-1)) % len(w.msgs)
		m.MoveTo(&w.msgs[j])
		w.flat[j] = append(w.flat[j], *flat...)
		*flat = nil
		w.revive(m)
	case 13:
		m.Release()
		*flat = nil
		w.revive(m)
	case 14:
		w.lend(i)
	}
}

func (w *world) revive(m *Message) {
	if m.Live() || m.Len() != 0 || m.Used() != 0 {
		w.t.Fatalf("a gone message: live %v, %d bytes, %d elements", m.Live(), m.Len(), m.Used())
	}
	m.Reset()
}

// lend delivers message i with one more element, as a parser does, and lets a
// borrower do a few things with it.
func (w *world) lend(i int) {
	id, ok := w.chunk()
	if !ok {
		return
	}
	m := &w.msgs[i]
	if last := m.Used() - 1; last >= 0 && w.rnd.IntN(4) == 0 {
		if e := m.Elem(last); w.pool.Owns(e.Buf) && e.Off+e.Len < modelBlock { // one that continues it
			e.Buf.Retain()
			id.Release()
			id = e.Buf
			more := Element{Buf: id, Off: e.Off + e.Len, Len: 1}
			m.Lend(more)
			w.flat[i] = append(w.flat[i], more.Bytes()...)
		}
	}
	if !m.Lent() {
		e := w.part(id)
		m.Lend(e)
		w.flat[i] = append(w.flat[i], e.Bytes()...)
	}
	if !m.Lent() {
		w.t.Fatal("not lent")
	}
	w.held = append(w.held, id) // the chunk's own reference
	w.compare()
	for range w.rnd.IntN(3) {
		if k := w.rnd.IntN(15); k != 4 && k != 14 && m.Lent() { // the lender keeps the chunk
			w.borrow(i)
			w.compare()
		}
	}
	if e := w.part(id); e.Len > 0 && w.rnd.IntN(2) == 0 && m.Used() == 1 && m.Elem(0).Buf == id && m.Relend(e.Off, e.Len) {
		w.flat[i] = append(w.flat[i][:0], e.Bytes()...)
		w.compare()
	}
	m.Reclaim()
	if m.Lent() || !m.Live() || m.Len() != 0 {
		w.t.Fatal("Reclaim left something")
	}
	w.flat[i] = nil
	for k, h := range slices.Backward(w.held) {
		if h == id {
			w.held = slices.Delete(w.held, k, k+1)
			break
		}
	}
	id.Release()
}

// borrow is what a handler may do with a lent message.
func (w *world) borrow(i int) {
	m, flat := &w.msgs[i], &w.flat[i]
	j := (i + 1) % len(w.msgs)
	switch w.rnd.IntN(6) {
	case 0:
		n := w.rnd.IntN(len(*flat) + 1)
		m.Trim(n)
		*flat = (*flat)[:n]
	case 1:
		n := w.rnd.IntN(len(*flat) + 1)
		m.TrimFront(n)
		*flat = (*flat)[n:]
	case 2:
		if err := m.Clone(&w.msgs[j], 0, len(*flat)); err != nil {
			w.t.Fatal(err)
		}
		w.flat[j] = append(w.flat[j], *flat...)
	case 3:
		p := w.fresh(10)
		if w.allocated(m.Prepend(w.private, p)) {
			*flat = append(p, *flat...)
		}
	case 4:
		p := w.fresh(10)
		if w.allocated(m.AppendCopy(w.private, p, 0)) {
			*flat = append(*flat, p...)
		}
	case 5:
		m.MoveTo(&w.msgs[j])
		w.flat[j] = append(w.flat[j], *flat...)
		*flat = nil
	}
}

func (w *world) allocated(err error) bool {
	if err != nil && !errors.Is(err, syscall.ENOMEM) {
		w.t.Fatal(err)
	}
	return err == nil
}

// compare looks at every message and at every reference.
func (w *world) compare() {
	w.t.Helper()
	refs := map[BufID]int{}
	for _, id := range w.held {
		refs[id]++
	}
	for i := range w.msgs {
		m, flat := &w.msgs[i], w.flat[i]
		if !m.Live() {
			continue
		}
		if m.Len() != len(flat) || !bytes.Equal(m.AppendTo(nil), flat) {
			w.t.Fatalf("message %d is % x, want % x", i, m.AppendTo(nil), flat)
		}
		var segs []byte
		for s := range m.Segments() {
			segs = append(segs, s...)
		}
		if !bytes.Equal(segs, flat) {
			w.t.Fatalf("message %d: segments % x", i, segs)
		}
		buf := make([]byte, w.rnd.IntN(40))
		off := w.rnd.IntN(len(flat)+4) - 1
		want := []byte{}
		if off >= 0 && off < len(flat) {
			want = flat[off:min(len(flat), off+len(buf))]
		}
		if n := m.CopyTo(buf, off); !bytes.Equal(buf[:n], want) {
			w.t.Fatalf("message %d: CopyTo at %d % x, want % x", i, off, buf[:n], want)
		}
		n := w.rnd.IntN(40)
		if h := m.Head(n, buf); !bytes.Equal(h, flat[:min(n, len(flat))]) {
			w.t.Fatalf("message %d: Head(%d) % x", i, n, h)
		}
		for k := range m.Used() {
			e := m.Elem(k)
			if e.Len == 0 {
				w.t.Fatalf("message %d: element %d is empty", i, k)
			}
			if !m.borrowed || k < m.Used()-1 {
				refs[e.Buf]++
			}
		}
	}
	for id, n := range refs {
		if id.Refs() != n {
			w.t.Fatalf("buffer %#x: %d references, want %d", uint32(id), id.Refs(), n)
		}
	}
	if n := w.pool.Held() + w.private.Held(); n != len(refs) {
		w.t.Fatalf("%d buffers held, want %d", n, len(refs))
	}
}

// TestModel runs random operations against flat bytes.
func TestModel(t *testing.T) {
	for seed := range uint64(150) {
		w := newWorld(t, seed)
		for range 150 {
			w.step(w.rnd.IntN(len(w.msgs)))
			w.compare()
		}
		for i := range w.msgs {
			w.msgs[i].Release()
		}
		for _, id := range w.held {
			id.Release()
		}
		if w.pool.Held() > 0 || w.private.Held() > 0 || w.private.InUse() != 0 || len(w.free) != w.pool.Blocks() {
			t.Fatalf("seed %d: %d + %d buffers are left, %d bytes in use", seed, w.pool.Held(), w.private.Held(), w.private.InUse())
		}
		w.pool.Close(nil)
		w.private.Close(nil)
	}
}

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
	if n := cap(q.more); n > 200 {
		t.Errorf("the list has room for %d elements, %d are used", n, q.Used())
	}
	q.Release()
	if a.Held() != 0 {
		t.Errorf("%d buffers are still held", a.Held())
	}
}
