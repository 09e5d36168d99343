package sgmsg

import (
	"fmt"
	"syscall"
)

// AppendCopy copies p to the end of the message. Bytes go first into the room
// behind the last element if its buffer came from Alloc and is private to this
// message; the rest goes into one new buffer from al with room for at least
// hint bytes. On error (ENOMEM) the message is unchanged.
func (m *Message) AppendCopy(al Allocator, p []byte, hint int) error {
	m.mustLive("AppendCopy")
	if len(p) == 0 {
		return nil
	}
	m.settle()
	room := m.tailRoom()
	k := min(len(room), len(p))
	var e Element
	if k < len(p) {
		var err error
		if e, err = al.Alloc(max(hint, len(p)-k)); err != nil {
			return err
		}
		e.Len = uint32(copy(e.Bytes(), p[k:]))
	}
	if k > 0 {
		copy(room, p[:k])
		m.at(m.end - 1).Len += uint32(k)
	}
	if e.Len > 0 {
		m.push(e)
	}
	m.grew(len(p))
	return nil
}

// tailRoom returns the writable bytes behind the last element: none unless the
// message holds the only reference to a buffer that came from Alloc.
func (m *Message) tailRoom() []byte {
	if m.first == m.end || m.borrowed {
		return nil
	}
	e := m.at(m.end - 1)
	a := e.Buf.arena()
	if a.pool != nil || a.refs[e.Buf.block()].Load() != 1 {
		return nil
	}
	return e.Buf.whole()[e.Off+e.Len:]
}

// whole returns the buffer's full memory.
func (id BufID) whole() []byte {
	return Element{Buf: id, Len: uint32(id.Cap())}.Bytes()
}

// compactRun bounds the buffers of Compact: an allocator that rounds up to
// powers of two wastes little on the last of several.
const compactRun = 64 << 10

// compactSmall is the length below which an element is copied together with its neighbours
// from receive buffers, as it wastes most of a buffer of its own. Else bytes that come one by
// one would have one each. What is copied again and again is no longer than this.
const compactSmall = 256

// Compact replaces every element whose buffer lies in from by private copies
// from al, in as few buffers as possible, so that the receive buffers it pinned
// can be recycled. Small elements between and in front of them are copied too. Order and
// content stay. On error (ENOMEM) the message is unchanged.
func (m *Message) Compact(from *Arena, al Allocator) error {
	m.mustLive("Compact")
	m.settle()
	var out Message
	for i := m.first; i < m.end; {
		// The elements from i to end are copied: from receive buffers, or small.
		end, run, pinned := i, 0, false
		for ; end < m.end; end++ {
			e := *m.at(end)
			owns := from.Owns(e.Buf)
			if !owns && e.Len >= compactSmall {
				break
			}
			pinned = pinned || owns
			run += int(e.Len)
		}
		for ; i < end; i++ {
			e := *m.at(i)
			if !pinned {
				out.AppendShared(e)
				continue
			}
			if err := out.AppendCopy(al, e.Bytes(), min(run, compactRun)); err != nil {
				out.Release()
				return err
			}
			run -= int(e.Len)
		}
		if i < m.end {
			out.AppendShared(*m.at(i))
			i++
		}
	}
	st, bound := m.state, m.bound
	m.bound = false // the bytes stay, and so does what the binding knows of them
	m.drop()
	out.MoveTo(m)
	m.state, m.bound = st, bound
	return nil
}

// Prepend puts p in front of the message without copying the rest: into the
// room before the first element if that buffer came from Alloc and is private
// to this message, else into a new element from al. On error (ENOMEM) the
// message is unchanged.
func (m *Message) Prepend(al Allocator, p []byte) error {
	m.mustLive("Prepend")
	if len(p) == 0 {
		return nil
	}
	m.settle()
	if m.first < m.end {
		e := m.at(m.first)
		a := e.Buf.arena()
		if int(e.Off) >= len(p) && a.pool == nil && a.refs[e.Buf.block()].Load() == 1 {
			e.Off -= uint32(len(p))
			e.Len += uint32(len(p))
			copy(e.Bytes(), p)
			m.grewInFront(len(p))
			return nil
		}
	}
	e, err := al.Alloc(len(p))
	if err != nil {
		return err
	}
	copy(e.Bytes(), p)
	if m.first > 0 {
		m.first--
	} else {
		m.open(0, 1)
	}
	*m.at(m.first) = e
	m.grewInFront(len(p))
	return nil
}

// grewInFront notes n bytes more, put somewhere before what is not filled yet.
func (m *Message) grewInFront(n int) {
	m.size += n
	if m.bound {
		m.charge(n)
	}
}

// Reserve appends an element of n bytes from al with headroom free bytes in
// front for a later Prepend, and returns its memory to be written by the
// caller before the message is sent. Errors: ENOMEM, EINVAL for a negative size.
func (m *Message) Reserve(al Allocator, headroom, n int) ([]byte, error) {
	m.mustLive("Reserve")
	if headroom < 0 || n < 0 {
		return nil, fmt.Errorf("reserve: %d bytes behind %d: %w", n, headroom, syscall.EINVAL)
	}
	m.settle()
	e, err := al.Alloc(headroom + n)
	if err != nil {
		return nil, err
	}
	e.Off, e.Len = e.Off+uint32(headroom), uint32(n)
	if n == 0 {
		e.Buf.Release()
		return nil, nil
	}
	m.push(e)
	m.grew(n)
	return e.Bytes(), nil
}
