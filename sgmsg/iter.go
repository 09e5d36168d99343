package sgmsg

import "fmt"

// Iter is a position in a sequence of byte slices, the source that a message is
// filled from: what an iov_iter is in the kernel. The slices are lent to it and must
// not change while it is used. The zero Iter is empty.
//
//	it := sgmsg.NewIter(header, body)
//	n, err := m.MemCopyFrom(it, it.Len())
//
// An Iter is not safe for concurrent use.
type Iter struct {
	runs []run
	i    int // the run that is next, and
	off  int // how much of it is used up: less than its length unless it is the end
	left int
}

// run is a slice, and the buffer that it lies in if it does.
type run struct {
	b []byte
	e Element
}

// NewIter returns an iterator over the slices.
func NewIter(slices ...[]byte) *Iter {
	it := new(Iter)
	for _, p := range slices {
		it.Add(p)
	}
	return it
}

// Add puts p behind what the iterator has: bytes that can be copied.
func (it *Iter) Add(p []byte) { it.add(run{b: p}) }

// AddElement puts the bytes of e behind what the iterator has; they can be copied
// and referred to. The reference stays with the caller, who keeps it as long as the
// iterator is used.
func (it *Iter) AddElement(e Element) { it.add(run{e.Bytes(), e}) }

func (it *Iter) add(r run) {
	if len(r.b) > 0 {
		it.runs = append(it.runs, r)
		it.left += len(r.b)
	}
}

// Len returns the bytes that are left.
func (it *Iter) Len() int { return it.left }

// Advance skips n bytes. It panics if there are not so many.
func (it *Iter) Advance(n int) {
	if n < 0 || n > it.left {
		panic(fmt.Sprintf("sgmsg: Advance(%d) of an iterator with %d bytes", n, it.left))
	}
	it.left -= n
	for n > 0 {
		k := min(n, len(it.runs[it.i].b)-it.off)
		n -= k
		if it.off += k; it.off == len(it.runs[it.i].b) {
			it.i, it.off = it.i+1, 0
		}
	}
}

// Revert goes n bytes back. It panics if so many were not passed.
func (it *Iter) Revert(n int) {
	it.left += n
	for n > it.off && it.i > 0 {
		n -= it.off
		it.i--
		it.off = len(it.runs[it.i].b)
	}
	if n < 0 || n > it.off {
		panic("sgmsg: Revert of an iterator to before its start")
	}
	it.off -= n
}

// copyTo copies and skips as many bytes as fit into p.
func (it *Iter) copyTo(p []byte) int {
	n := 0
	for n < len(p) && it.left > 0 {
		k := copy(p[n:], it.runs[it.i].b[it.off:])
		it.Advance(k)
		n += k
	}
	return n
}

// element returns the next bytes that lie in one buffer, or an empty one.
func (it *Iter) element() Element {
	if it.left == 0 || it.runs[it.i].e.Len == 0 {
		return Element{}
	}
	e := it.runs[it.i].e
	e.Off += uint32(it.off)
	e.Len -= uint32(it.off)
	return e
}
