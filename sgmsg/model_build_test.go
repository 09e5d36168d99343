package sgmsg

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"
)

// step does one random operation on message i.
func (w *world) step(i int) {
	if n := len(w.flat[i]); n > 1000 { // clones double it
		n = w.rnd.IntN(100)
		w.msgs[i].Trim(n)
		w.trim(i, n)
	}
	if w.rnd.IntN(3) == 0 {
		w.queue(i)
		return
	}
	if !w.built[i].bound {
		w.bind(i)
		w.compare()
	}
	w.build(i)
}

// bind binds message i to the account, or again to it.
func (w *world) bind(i int) {
	w.msgs[i].Bind(w.acct)
	w.built[i] = built{bound: true, charged: len(w.flat[i])}
}

// build does one of the operations on messages that are built, on message i.
func (w *world) build(i int) {
	m, flat, b := &w.msgs[i], &w.flat[i], &w.built[i]
	j := (i + 1 + w.rnd.IntN(len(w.msgs)-1)) % len(w.msgs)
	used, size := m.Used(), len(*flat)
	switch w.rnd.IntN(12) {
	case 0, 1:
		w.alloc(i, size+w.rnd.IntN(90)-10, w.rnd.IntN(used+2))
	case 2:
		w.fill(i)
	case 3:
		w.refer(i)
	case 4, 5:
		w.push(i, w.rnd.IntN(size+2), w.rnd.IntN(30))
	case 6, 7:
		w.pop(i, w.rnd.IntN(size+2), w.rnd.IntN(30))
	case 8, 9:
		start := w.rnd.IntN(size + 2)
		w.pull(i, start, start+w.rnd.IntN(40))
	case 10:
		n := w.rnd.IntN(size + 2)
		if got := m.Return(n); got != min(n, b.charged) {
			w.t.Fatalf("Return(%d) of %d gave %d", n, b.charged, got)
		}
		b.charged -= min(n, b.charged)
	case 11:
		switch w.rnd.IntN(4) {
		case 0:
			w.xfer(i, j)
		case 1:
			w.moveFront(i, j, w.rnd.IntN(size+2))
		case 2:
			m.XferFull(&w.msgs[j])
			w.flat[j], w.built[j] = *flat, *b
			*flat, *b = nil, built{}
		case 3:
			if m.Lent() { // Reset is for its owner
				return
			}
			if n := m.Reset(); n != size {
				w.t.Fatalf("Reset of %d bytes released %d", size, n)
			}
			*flat, *b = nil, built{}
		}
	}
}

// is fails unless err is one of the errors.
func (w *world) is(op string, err error, want ...error) {
	for _, e := range want {
		if errors.Is(err, e) {
			return
		}
	}
	w.t.Helper()
	w.t.Fatalf("%s: %v, want %v", op, err, want)
}

func (w *world) alloc(i, total, first int) {
	m, b, was := &w.msgs[i], &w.built[i], len(w.flat[i])
	used, charge := m.Used(), w.acct.Charged()
	err := m.Alloc(total, first)
	now := m.AppendTo(nil)
	switch {
	case err == nil:
		if len(now) != max(was, total) {
			w.t.Fatalf("Alloc(%d) of %d bytes made %d", total, was, len(now))
		}
	case errors.Is(err, syscall.ENOSPC):
		if len(now) < was || len(now) >= total || m.Used() < w.acct.maxFrags() {
			w.t.Fatalf("Alloc(%d) of %d bytes made %d in %d elements: %v", total, was, len(now), m.Used(), err)
		}
	default:
		w.is("Alloc", err, syscall.ENOMEM)
		if len(now) != was || m.Used() != used || w.acct.Charged() != charge {
			w.t.Fatalf("Alloc(%d) of %d bytes made %d: %v", total, was, len(now), err)
		}
	}
	if used > 0 && first >= used && len(now) > was && m.Used() == used {
		w.t.Fatalf("Alloc grew element %d, the first to grow was %d", used-1, first)
	}
	w.limited(m, used)
	if l := w.acct.Limit; l > 0 && len(now) > was && w.acct.Charged() > l {
		w.t.Fatalf("Alloc charged %d, the limit is %d", w.acct.Charged(), l)
	}
	w.flat[i] = append(w.flat[i], now[was:]...) // the content is anything
	b.charged += len(now) - was
	b.blank += len(now) - was
}

// limited sees that a message did not get more elements than it may have.
func (w *world) limited(m *Message, had int) {
	w.t.Helper()
	if n := m.Used(); n > max(had, w.acct.maxFrags()) {
		w.t.Fatalf("%d elements became %d, there may be %d", had, n, w.acct.maxFrags())
	}
}

// source returns an iterator over some bytes, and these. Only part of it lies in
// buffers, unless all is asked for.
func (w *world) source(all bool) (*Iter, []byte) {
	it := new(Iter)
	var flat []byte
	for range w.rnd.IntN(5) {
		if all || w.rnd.IntN(2) == 0 {
			e := w.wrapped
			if k := w.rnd.IntN(len(w.held)); k > 0 {
				e = w.part(w.held[k])
			} else {
				e.Off = uint32(w.rnd.IntN(int(e.Len)))
				e.Len = min(e.Len-e.Off, uint32(w.rnd.IntN(2*modelBlock)))
			}
			it.AddElement(e)
			flat = append(flat, e.Bytes()...)
		} else {
			p := w.fresh(w.rnd.IntN(50))
			it.Add(p)
			flat = append(flat, p...)
		}
	}
	skip := w.rnd.IntN(len(flat) + 1)
	it.Advance(skip)
	back := w.rnd.IntN(skip + 1)
	it.Revert(back)
	return it, flat[skip-back:]
}

func (w *world) fill(i int) {
	m, flat, b := &w.msgs[i], w.flat[i], &w.built[i]
	it, src := w.source(false)
	n := w.rnd.IntN(len(src) + 10)
	done, err := m.MemCopyFrom(it, n)
	if want := min(n, len(src), b.blank); done != want || it.Len() != len(src)-want {
		w.t.Fatalf("MemCopyFrom(%d) of %d to %d copied %d, left %d", n, len(src), b.blank, done, it.Len())
	}
	switch {
	case done == n:
		if err != nil {
			w.t.Fatal(err)
		}
	case b.blank == done:
		w.is("MemCopyFrom", err, syscall.ENOSPC)
	default:
		w.is("MemCopyFrom", err, syscall.EFAULT)
	}
	copy(flat[len(flat)-b.blank:], src[:done])
	b.blank -= done
	curr, mark := m.Cursor()
	pos := mark
	for k := range curr {
		pos += int(m.Elem(k).Len)
	}
	if pos != len(flat)-b.blank || pos > 0 && (mark == 0 || mark > int(m.Elem(curr).Len)) {
		w.t.Fatalf("the cursor is at %d of element %d, want byte %d", mark, curr, len(flat)-b.blank)
	}
}

func (w *world) refer(i int) {
	m := &w.msgs[i]
	it, src := w.source(w.rnd.IntN(3) > 0)
	n := w.rnd.IntN(len(src) + 3)
	had, used := m.Len(), m.Used()
	err := m.ZeroCopyFrom(it, n)
	w.limited(m, used)
	added := m.Len() - had
	if err == nil {
		if added != n || it.Len() != len(src)-n {
			w.t.Fatalf("ZeroCopyFrom(%d) added %d, left %d of %d", n, added, it.Len(), len(src))
		}
	} else {
		w.is("ZeroCopyFrom", err, syscall.EFAULT)
		if added >= n || it.Len() != len(src) {
			w.t.Fatalf("ZeroCopyFrom(%d) added %d, left %d of %d: %v", n, added, it.Len(), len(src), err)
		}
	}
	w.append(i, src[:added])
}

// lens returns the lengths of the elements of message i, and which of them position
// pos lies in, with the bytes before that.
func (w *world) lens(i, pos int) (lens []int, at, off int) {
	at = -1
	sum := 0
	for k := range w.msgs[i].Used() {
		n := int(w.msgs[i].Elem(k).Len)
		if at < 0 && pos < sum+n {
			at, off = k, sum
		}
		sum += n
		lens = append(lens, n)
	}
	if at < 0 {
		at, off = len(lens), sum
	}
	return lens, at, off
}

// failed sees that an operation which failed for lack of memory changed nothing:
// compare sees to the bytes and the charge.
func (w *world) failed(i int, op string, err error, used int) bool {
	if err == nil {
		return false
	}
	w.t.Helper()
	w.is(op, err, syscall.ENOMEM)
	if w.msgs[i].Used() != used {
		w.t.Fatalf("%s failed and left %d elements of %d", op, w.msgs[i].Used(), used)
	}
	return true
}

func (w *world) push(i, start, n int) {
	m, size := &w.msgs[i], len(w.flat[i])
	lens, _, off := w.lens(i, start)
	used, room := len(lens), w.acct.maxFrags()-len(lens)
	err := m.Push(start, n)
	if n > 0 && start > size {
		w.is("Push outside", err, syscall.EINVAL)
		return
	}
	if w.failed(i, "Push", err, used) || n == 0 {
		return
	}
	want := used
	if start == off && room >= 1 {
		want++
	} else if room >= 2 {
		want += 2
	}
	if m.Used() != want {
		w.t.Fatalf("Push in front of %d made %d elements of %v, want %d of %d", start, m.Used(), lens, want, w.acct.maxFrags())
	}
	w.insert(i, start, make([]byte, n))
	w.mutated(i)
}

func (w *world) pop(i, start, n int) {
	m, size := &w.msgs[i], len(w.flat[i])
	lens, at, off := w.lens(i, start)
	err := m.Pop(start, n)
	if n > 0 && start+n > size {
		w.is("Pop outside", err, syscall.EINVAL)
		return
	}
	if w.failed(i, "Pop", err, len(lens)) || n == 0 {
		return
	}
	want := len(lens)
	if off < start && start+n < off+lens[at] {
		if want < w.acct.maxFrags() {
			want++
		}
	} else {
		for k := at; k < len(lens); k++ {
			if off >= start && off+lens[k] <= start+n {
				want--
			}
			off += lens[k]
		}
	}
	if m.Used() != want {
		w.t.Fatalf("Pop [%d, +%d) left %d elements of %v, want %d of %d", start, n, m.Used(), lens, want, w.acct.maxFrags())
	}
	w.flat[i] = append(w.flat[i][:start:start], w.flat[i][start+n:]...)
	w.built[i].charged = min(w.built[i].charged, len(w.flat[i]))
	w.mutated(i)
}

// mutated sees that the window is the first element or nothing, and that nothing is
// left to be filled.
func (w *world) mutated(i int) {
	m := &w.msgs[i]
	w.built[i].blank = 0
	switch win := m.Window(); {
	case m.Used() == 0 || m.Shared(0):
		if win != nil {
			w.t.Fatalf("the window of a message that is empty or shared has %d bytes", len(win))
		}
	case len(win) != int(m.Elem(0).Len):
		w.t.Fatalf("the window has %d bytes, the first element %d", len(win), m.Elem(0).Len)
	default:
		w.write(i, 0, win)
	}
}

func (w *world) pull(i, start, end int) {
	m, size := &w.msgs[i], len(w.flat[i])
	lens, a, _ := w.lens(i, start)
	_, b, _ := w.lens(i, end-1)
	inPlace := a == b && a < len(lens) && !m.Shared(a)
	inUse := w.private.InUse()
	win, err := m.Pull(start, end)
	if end <= start || end > size {
		w.is("Pull outside", err, syscall.EINVAL)
		return
	}
	if w.failed(i, "Pull", err, len(lens)) {
		return
	}
	if m.Used() != len(lens)-(b-a) || inPlace && w.private.InUse() != inUse {
		w.t.Fatalf("Pull [%d, %d) left %d elements of %v", start, end, m.Used(), lens)
	}
	if !bytes.Equal(win, w.flat[i][start:end]) || cap(win) != len(win) {
		w.t.Fatalf("Pull [%d, %d): % x, want % x", start, end, win, w.flat[i][start:end])
	}
	w.built[i].blank = 0
	w.write(i, start, win)
}

// write writes through a window: it must be seen in this message and nowhere else.
func (w *world) write(i, at int, win []byte) {
	copy(win, w.fresh(len(win)))
	w.flat[i] = append(w.flat[i][:at:at], append(bytes.Clone(win), w.flat[i][at+len(win):]...)...)
}

func (w *world) xfer(i, j int) {
	m, dst, flat := &w.msgs[i], &w.msgs[j], w.flat[i]
	lens, _, _ := w.lens(i, 0)
	k, n, off := w.rnd.IntN(len(lens)+1), 1, 0
	for _, l := range lens[:k] {
		off += l
	}
	if k < len(lens) {
		n = w.rnd.IntN(lens[k] + 2)
	}
	had := dst.Used()
	err := m.Xfer(dst, k, n)
	if k == len(lens) || n > lens[k] {
		w.is("Xfer", err, syscall.EINVAL)
		return
	}
	if err != nil {
		w.is("Xfer", err, syscall.ENOSPC)
		if !w.built[j].bound || had < w.acct.maxFrags() {
			w.t.Fatalf("Xfer to %d elements: %v", had, err)
		}
		return
	}
	w.append(j, flat[off:off+n])
	b := &w.built[i]
	filled := len(flat) - b.blank
	b.blank -= max(0, off+n-max(off, filled))
	w.flat[i] = append(flat[:off:off], flat[off+n:]...)
	b.charged = min(b.charged, len(w.flat[i]))
}

func (w *world) moveFront(i, j, n int) {
	m, dst, flat := &w.msgs[i], &w.msgs[j], w.flat[i]
	err := m.MoveFront(dst, n)
	if n > len(flat) {
		w.is("MoveFront", err, syscall.EINVAL)
		return
	}
	moved := len(flat) - m.Len()
	if err != nil {
		w.is("MoveFront", err, syscall.ENOSPC)
		if !w.built[j].bound || dst.Used() < w.acct.maxFrags() || moved >= n {
			w.t.Fatalf("MoveFront(%d) moved %d to %d elements: %v", n, moved, dst.Used(), err)
		}
	} else if moved != n {
		w.t.Fatalf("MoveFront(%d) moved %d", n, moved)
	}
	w.append(j, flat[:moved])
	w.trimFront(i, moved)
}

// TestModel runs random operations against flat bytes.
//
// Proves I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, I11, I12, I13, I14.
func TestModel(t *testing.T) {
	for seed := range uint64(300) {
		w := newWorld(t, rand.New(rand.NewPCG(seed, 0)))
		for range 150 {
			w.step(w.rnd.IntN(len(w.msgs)))
			w.compare()
		}
		w.end()
	}
}

// FuzzModel lets the fuzzer choose the operations.
func FuzzModel(f *testing.F) {
	for seed := range uint64(8) {
		b := make([]byte, 600)
		for i, rng := 0, rand.New(rand.NewPCG(seed, 1)); i < len(b); i++ {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &bytesChooser{b[:min(len(b), 4096)]}
		w := newWorld(t, c)
		for len(c.b) > 0 {
			w.step(w.rnd.IntN(len(w.msgs)))
			w.compare()
		}
		w.end()
	})
}
