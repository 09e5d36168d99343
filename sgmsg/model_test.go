package sgmsg

import (
	"bytes"
	"errors"
	"slices"
	"syscall"
	"testing"
)

// world is a few messages, for each the flat bytes it must hold, and the buffers
// they are made of. Each operation is done on both; after each one everything is
// compared, so a write into somebody else's bytes is seen at once.
type world struct {
	t       testing.TB
	rnd     chooser
	pool    *Arena
	private *Arena
	free    []BufID
	held    []BufID // references of the test's own
	wrapped Element // the caller's own memory
	back    int     // how often it came back
	acct    *Account
	msgs    [4]Message
	flat    [4][]byte
	built   [4]built
	next    byte
}

// built is what a message has to know while it is bound to the account.
type built struct {
	bound   bool
	charged int
	blank   int
}

// chooser makes the choices: a random source, or bytes of a fuzzer.
type chooser interface{ IntN(n int) int }

// bytesChooser takes choices from bytes, and 0 when there are none left.
type bytesChooser struct{ b []byte }

func (c *bytesChooser) IntN(n int) int {
	v := 0
	for k := n; k > 1 && len(c.b) > 0; k >>= 8 {
		v = v<<8 | int(c.b[0])
		c.b = c.b[1:]
	}
	return v % n
}

const modelBlock = 64

func newWorld(t testing.TB, rnd chooser) *world {
	w := &world{t: t, rnd: rnd}
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
	if w.wrapped, err = Wrap(w.fresh(3*allocPage+100), func() { w.back++ }); err != nil {
		t.Fatal(err)
	}
	w.held = append(w.held, w.wrapped.Buf)
	w.acct = &Account{Memory: w.private, MaxFrags: 2 + w.rnd.IntN(4)}
	switch w.rnd.IntN(4) {
	case 0:
		w.acct.MaxFrags = 0 // 17
	case 1:
		w.acct.Limit = 200
	}
	return w
}

// end releases everything and sees that nothing is left.
func (w *world) end() {
	for i := range w.msgs {
		w.msgs[i].Release()
	}
	for _, id := range w.held {
		id.Release()
	}
	if w.pool.Held() > 0 || w.private.Held() > 0 || w.private.InUse() != 0 || len(w.free) != w.pool.Blocks() || w.back != 1 {
		w.t.Fatalf("%d + %d buffers are left, %d bytes in use; wrapped memory came back %d times", w.pool.Held(), w.private.Held(), w.private.InUse(), w.back)
	}
	if n := w.acct.Charged(); n != 0 {
		w.t.Fatalf("the charge is %d when all messages are gone", n)
	}
	w.pool.Close(nil)
	w.private.Close(nil)
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

// queue does one of the operations on messages as queues, on message i.
func (w *world) queue(i int) {
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
				w.append(i, e.Bytes())
				at += max(1, int(e.Len)) + w.rnd.IntN(3)*w.rnd.IntN(20)
			}
			id.Release()
		}
	case 1:
		if id, ok := w.chunk(); ok {
			e := w.part(id)
			w.append(i, e.Bytes())
			m.Append(e)
		}
	case 2: // keep a chunk for later
		if id, ok := w.chunk(); ok {
			w.held = append(w.held, id)
		}
	case 3:
		if k := w.rnd.IntN(len(w.held)); k > 0 {
			e := w.part(w.held[k])
			w.append(i, e.Bytes())
			m.AppendShared(e)
		}
	case 4:
		if len(w.held) > 1 { // the first is the wrapped memory
			k := 1 + w.rnd.IntN(len(w.held)-1)
			w.held[k].Release()
			w.held = slices.Delete(w.held, k, k+1)
		}
	case 5:
		n := w.rnd.IntN(len(*flat) + 10)
		m.Trim(n)
		w.trim(i, min(n, len(*flat)))
	case 6:
		n := w.rnd.IntN(len(*flat) + 10)
		m.TrimFront(n)
		w.trimFront(i, min(n, len(*flat)))
	case 7:
		p := w.fresh(w.rnd.IntN(100))
		if w.allocated(m.AppendCopy(w.private, p, w.rnd.IntN(100))) {
			w.append(i, p)
		}
	case 8:
		p := w.fresh(w.rnd.IntN(20))
		if w.allocated(m.Prepend(w.private, p)) {
			w.insert(i, 0, p)
		}
	case 9:
		p := w.fresh(w.rnd.IntN(60))
		b, err := m.Reserve(w.private, w.rnd.IntN(20), len(p))
		if w.allocated(err) {
			copy(b, p)
			w.append(i, p)
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
		w.clone(i, (i+w.rnd.IntN(len(w.msgs)))%len(w.msgs), w.rnd.IntN(len(*flat)+5), w.rnd.IntN(len(*flat)+5))
	case 12:
		j := (i + 1 + w.rnd.IntN(len(w.msgs)-1)) % len(w.msgs)
		m.MoveTo(&w.msgs[j])
		w.append(j, *flat)
		w.revive(i)
	case 13:
		m.Release()
		w.revive(i)
	case 14:
		w.lend(i)
	}
}

// clone clones bytes of message i to j, which may be the same.
func (w *world) clone(i, j, off, n int) {
	m, dst, flat := &w.msgs[i], &w.msgs[j], w.flat[i]
	if blank := w.built[i].blank; off+n > len(flat)-blank && off+n <= len(flat) {
		return // what is not filled yet would change in the clone
	}
	had := dst.Len()
	err := m.Clone(dst, off, n)
	if added := dst.Len() - had; added > 0 && !dst.Shared(dst.Used()-1) {
		w.t.Fatalf("the last of %d cloned bytes is not shared", added)
	}
	switch {
	case n > 0 && off+n > len(flat):
		if !errors.Is(err, syscall.ENOSPC) || dst.Len() != had {
			w.t.Fatalf("Clone outside: %v", err)
		}
	case err != nil:
		if !errors.Is(err, syscall.ENOSPC) || !w.built[j].bound || dst.Used() < w.acct.maxFrags() {
			w.t.Fatalf("Clone to %d elements: %v", dst.Used(), err)
		}
		w.append(j, flat[off:off+dst.Len()-had])
	case n > 0:
		w.append(j, flat[off:off+n])
	}
}

// append, insert, trim and trimFront do to the flat bytes of message i, and to what it
// is charged and has not filled yet, what the operation did to the message.
func (w *world) append(i int, p []byte) {
	w.flat[i] = append(w.flat[i], p...)
	if b := &w.built[i]; b.bound && len(p) > 0 {
		b.charged += len(p)
		b.blank = 0
	}
}

func (w *world) insert(i, at int, p []byte) {
	w.flat[i] = slices.Insert(w.flat[i], at, p...)
	if b := &w.built[i]; b.bound {
		b.charged += len(p)
	}
}

func (w *world) trim(i, n int) {
	b := &w.built[i]
	b.blank = max(0, b.blank-(len(w.flat[i])-n))
	w.flat[i] = w.flat[i][:n]
	b.charged = min(b.charged, n)
}

func (w *world) trimFront(i, n int) {
	w.flat[i] = w.flat[i][n:]
	b := &w.built[i]
	b.blank = min(b.blank, len(w.flat[i]))
	b.charged = min(b.charged, len(w.flat[i]))
}

// revive resets message i, which is gone.
func (w *world) revive(i int) {
	m := &w.msgs[i]
	w.flat[i], w.built[i] = nil, built{}
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
	w.built[i] = built{} // lending ends what was built
	if last := m.Used() - 1; last >= 0 && w.rnd.IntN(4) == 0 {
		if e := m.Elem(last); w.pool.Owns(e.Buf) && e.Off+e.Len < modelBlock { // one that continues it
			e.Buf.Retain()
			id.Release()
			id = e.Buf
			more := Element{Buf: id, Off: e.Off + e.Len, Len: 1}
			m.Lend(more)
			w.append(i, more.Bytes())
		}
	}
	if !m.Lent() {
		e := w.part(id)
		m.Lend(e)
		w.append(i, e.Bytes())
	}
	if !m.Lent() {
		w.t.Fatal("not lent")
	}
	w.held = append(w.held, id) // the chunk's own reference
	w.compare()
	for range w.rnd.IntN(3) {
		if m.Lent() {
			w.borrow(i)
			w.compare()
		}
	}
	if e := w.part(id); e.Len > 0 && w.rnd.IntN(2) == 0 && m.Used() == 1 && m.Elem(0).Buf == id && m.Relend(e.Off, e.Len) {
		w.flat[i] = append(w.flat[i][:0], e.Bytes()...)
		w.compare()
	}
	m.Reclaim()
	w.built[i] = built{}
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
	switch w.rnd.IntN(7) {
	case 0:
		n := w.rnd.IntN(len(*flat) + 1)
		m.Trim(n)
		w.trim(i, n)
	case 1:
		n := w.rnd.IntN(len(*flat) + 1)
		m.TrimFront(n)
		w.trimFront(i, n)
	case 2:
		w.clone(i, j, 0, len(*flat))
	case 3:
		p := w.fresh(10)
		if w.allocated(m.Prepend(w.private, p)) {
			w.insert(i, 0, p)
		}
	case 4:
		p := w.fresh(10)
		if w.allocated(m.AppendCopy(w.private, p, 0)) {
			w.append(i, p)
		}
	case 5:
		m.MoveTo(&w.msgs[j])
		w.append(j, *flat)
		w.flat[i], w.built[i] = nil, built{}
	case 6:
		if w.bind(i); w.rnd.IntN(2) == 0 {
			w.build(i)
		}
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
	total := 0
	for i, b := range w.built {
		m := &w.msgs[i]
		if m.bound != b.bound || m.bound && m.rest.charged != b.charged || m.blank() != b.blank {
			w.t.Fatalf("message %d of %d bytes: %+v, want %+v", i, m.Len(), m.rest, b)
		}
		total += b.charged
	}
	if n := w.acct.Charged(); n != total {
		w.t.Fatalf("the charge is %d, want %d", n, total)
	}
	for id, n := range refs {
		if id.Refs() != n {
			w.t.Fatalf("buffer %#x: %d references, want %d", uint32(id), id.Refs(), n)
		}
	}
	if n := w.pool.Held() + w.private.Held() + 1; n != len(refs) {
		w.t.Fatalf("%d buffers held, want %d", n, len(refs))
	}
}
