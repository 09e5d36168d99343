package sgmsg

import (
	"fmt"
	"math"
	"syscall"
)

// Push, Pop and Pull are what a program does to a message that it looks at: insert,
// remove, and make a range contiguous and writable. Positions are counted from the
// start of the message at the time of the call. Each of them ends the filling of
// what Alloc added; a failed one changes nothing.
//
// Source: the helpers bpf_msg_push_data, bpf_msg_pop_data and bpf_msg_pull_data of
// Linux.

// Shared reports whether the memory of element i is somebody else's as well, so that
// this message may not write it: it was received, it is the caller's of Wrap, or
// another message or element refers to the buffer. That is seen, not noted: memory
// from an allocator is private again once all others have released the buffer.
func (m *Message) Shared(i int) bool {
	m.mustLive("Shared")
	m.Elem(i) // checks i
	return m.shared(m.first + uint32(i))
}

func (m *Message) shared(i uint32) bool {
	e := *m.at(i)
	a := e.Buf.arena()
	if a.pool != nil {
		return true
	}
	own := int32(0) // references of this message
	for j := m.first; j < m.end; j++ {
		f := m.at(j)
		if f.Buf != e.Buf || m.borrowed && j+1 == m.end {
			continue
		}
		if own++; j != i && f.Off < e.Off+e.Len && e.Off < f.Off+f.Len {
			return true // the same bytes twice
		}
	}
	return a.refs[e.Buf.block()].Load() != own
}

// Window returns the bytes that a program may look at and write before it has pulled
// others: the first element, or nil if that is shared or there is none. They are
// lent until the message changes.
func (m *Message) Window() []byte {
	m.mustLive("Window")
	if m.first == m.end || m.shared(m.first) {
		return nil
	}
	return m.at(m.first).Bytes()
}

// Pull makes the bytes [start, end) contiguous and writable and returns them, lent
// until the message changes. If they are not, the elements they lie in are replaced
// by one that is private. Nobody else sees what is written.
//
// Errors: EINVAL for a range that is empty or not inside the message, and when
// memory is needed and there is no account; ENOMEM.
func (m *Message) Pull(start, end int) ([]byte, error) {
	m.mustLive("Pull")
	if start < 0 || end <= start || end > m.size {
		return nil, fmt.Errorf("pull: bytes [%d, %d) of a message of %d: %w", start, end, m.size, syscall.EINVAL)
	}
	m.settle()
	i, off := m.find(start)
	j, last := m.find(end - 1)
	if i != j || m.shared(i) {
		e, err := m.memory("pull", last+int(m.at(j).Len)-off)
		if err != nil {
			return nil, err
		}
		p := e.Bytes()
		for k := i; k <= j; k++ {
			p = p[copy(p, m.at(k).Bytes()):]
			m.at(k).Buf.Release()
		}
		*m.at(i) = e
		m.shut(i+1, j-i)
	}
	m.setBlank(0)
	return m.at(i).Bytes()[start-off : end-off : end-off], nil
}

// Push inserts n zero bytes before position start; start = Len appends them. They
// are a new element, and one that they fall into is split; if there are not enough
// elements left for that, they become part of a private copy of the element at start
// or, at the end, of the last one. n = 0 does nothing.
//
// Errors: EINVAL when start or the new length is out of range or there is no account;
// ENOMEM.
func (m *Message) Push(start, n int) error {
	m.mustLive("Push")
	if n == 0 {
		return nil
	}
	if start < 0 || start > m.size || n < 0 || n > math.MaxInt32-m.size {
		return fmt.Errorf("push: %d bytes at %d of a message of %d: %w", n, start, m.size, syscall.EINVAL)
	}
	m.settle()
	i, front := m.end, 0 // the element, and how much of it stays before the new bytes
	if start < m.size {
		var off int
		i, off = m.find(start)
		front = start - off
	}
	room := math.MaxInt
	if m.bound {
		room = m.rest.acct.maxFrags() - m.Used()
	}
	switch {
	case room >= 2 || room == 1 && front == 0:
		e, err := m.memory("push", n)
		if err != nil {
			return err
		}
		clear(e.Bytes())
		if front == 0 {
			m.open(i, 1)
		} else {
			m.split(i, front, 0)
			i++
			m.open(i, 1)
		}
		*m.at(i) = e
	default:
		if i == m.end {
			i--
			front = int(m.at(i).Len)
		}
		if err := m.rewrite("push", i, front, n, front); err != nil {
			return err
		}
	}
	m.grewInFront(n)
	m.setBlank(0)
	return nil
}

// Pop removes the bytes [start, start+n). An element that they lie strictly inside
// of is split or, if the message is full, replaced by a private copy of what
// remains. Popping everything leaves an empty message. n = 0 does nothing.
//
// Errors: EINVAL for a range that is not inside the message; ENOMEM.
func (m *Message) Pop(start, n int) error {
	m.mustLive("Pop")
	if n == 0 {
		return nil
	}
	if start < 0 || n < 0 || n > m.size-start {
		return fmt.Errorf("pop: bytes [%d, +%d) of a message of %d: %w", start, n, m.size, syscall.EINVAL)
	}
	m.settle()
	i, off := m.find(start)
	front := start - off
	switch {
	case front > 0 && front+n < int(m.at(i).Len) && !m.Full():
		m.split(i, front, n)
	case front > 0 && front+n < int(m.at(i).Len):
		if err := m.rewrite("pop", i, front, 0, front+n); err != nil {
			return err
		}
	default:
		m.cut(i, front, n)
	}
	m.size -= n
	m.setBlank(0)
	if m.size == 0 {
		m.clear()
	}
	m.shrank()
	return nil
}

// find returns the element that byte pos of the message lies in, and the position of
// its first byte.
func (m *Message) find(pos int) (i uint32, off int) {
	for i = m.first; ; i++ {
		n := int(m.at(i).Len)
		if pos < off+n {
			return i, off
		}
		off += n
	}
}

// open makes room for k elements at i.
func (m *Message) open(i, k uint32) {
	for range k {
		m.push(Element{})
	}
	for j := m.end - 1; j >= i+k; j-- {
		*m.at(j) = *m.at(j - k)
	}
}

// shut takes k elements out at i, whose references are somebody else's by now.
func (m *Message) shut(i, k uint32) {
	for j := i; j+k < m.end; j++ {
		*m.at(j) = *m.at(j + k)
	}
	m.end -= k
}

// split makes two of element i: its first front bytes, and all behind these and the
// next skip.
func (m *Message) split(i uint32, front, skip int) {
	m.open(i+1, 1)
	e, f := m.at(i), m.at(i+1)
	*f = *e
	f.Buf.Retain()
	f.Off += uint32(front + skip)
	f.Len -= uint32(front + skip)
	e.Len = uint32(front)
}

// cut removes n bytes from element i on, behind its first front bytes. They reach to
// the end of that element, or start where it does.
func (m *Message) cut(i uint32, front, n int) {
	if front > 0 {
		e := m.at(i)
		n -= int(e.Len) - front
		e.Len = uint32(front)
		i++
	}
	j := i
	for ; n > 0; j++ {
		e := m.at(j)
		if n < int(e.Len) {
			e.Off += uint32(n)
			e.Len -= uint32(n)
			break
		}
		n -= int(e.Len)
		e.Buf.Release()
	}
	m.shut(i, j-i)
}

// rewrite replaces element i by a private one: its first front bytes, n zeros, and
// what it has from byte back on.
func (m *Message) rewrite(op string, i uint32, front, n, back int) error {
	old := *m.at(i)
	e, err := m.memory(op, front+n+int(old.Len)-back)
	if err != nil {
		return err
	}
	p := e.Bytes()
	copy(p, old.Bytes()[:front])
	clear(p[front : front+n])
	copy(p[front+n:], old.Bytes()[back:])
	old.Buf.Release()
	*m.at(i) = e
	return nil
}
