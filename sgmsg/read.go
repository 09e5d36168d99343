package sgmsg

import "iter"

// Segments yields the bytes of each element in order. The slices are lent: they
// are valid while the message is, and must not be written.
func (m *Message) Segments() iter.Seq[[]byte] {
	m.mustLive("Segments")
	return func(yield func([]byte) bool) {
		for i := m.first; i < m.end; i++ {
			if !yield(m.at(i).Bytes()) {
				return
			}
		}
	}
}

// CopyTo copies message bytes from position off on into p and returns how many
// were copied: min(len(p), Len()-off), or 0 when off lies outside.
func (m *Message) CopyTo(p []byte, off int) int {
	m.mustLive("CopyTo")
	if off < 0 {
		return 0
	}
	n := 0
	for i := m.first; i < m.end && n < len(p); i++ {
		b := m.at(i).Bytes()
		if off >= len(b) {
			off -= len(b)
			continue
		}
		n += copy(p[n:], b[off:])
		off = 0
	}
	return n
}

// Head returns the first n bytes in one slice: the message's own memory when
// they lie in the first element, else a copy in scratch, which is grown when it
// is shorter than n. It returns fewer than n bytes when the message is shorter.
// The slice is lent like those of Segments.
func (m *Message) Head(n int, scratch []byte) []byte {
	if m.end == 1 && m.state != gone && n > 0 { // the common case: in one piece
		if e := &m.inline[0]; uint64(e.Len) >= uint64(n) {
			return e.Bytes()[:n:n]
		}
	}
	return m.headMore(n, scratch)
}

// headMore is Head for what is in several pieces, shorter, or gone.
func (m *Message) headMore(n int, scratch []byte) []byte {
	m.mustLive("Head")
	n = min(n, m.size)
	if n <= 0 {
		return nil
	}
	if e := m.at(m.first); int(e.Len) >= n {
		return e.Bytes()[:n:n]
	}
	if len(scratch) < n {
		scratch = make([]byte, n)
	}
	return scratch[:m.CopyTo(scratch[:n], 0)]
}

// AppendTo appends all bytes to p and returns the result.
func (m *Message) AppendTo(p []byte) []byte {
	m.mustLive("AppendTo")
	for i := m.first; i < m.end; i++ {
		p = append(p, m.at(i).Bytes()...)
	}
	return p
}
