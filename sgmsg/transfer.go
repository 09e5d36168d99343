package sgmsg

import (
	"fmt"
	"syscall"
)

// Xfer moves the first n bytes of element i to the end of dst, another message, and
// with them the reference; while both keep a part of the element each has one. The
// charge follows the bytes: m's account is no longer charged for them, dst's is.
//
// Errors: EINVAL when there is no such element, it has less than n bytes, or dst is
// m; ENOSPC when dst is full. Then nothing was moved.
func (m *Message) Xfer(dst *Message, i, n int) error {
	m.mustLive("Xfer")
	dst.mustLive("Xfer to a destination")
	if i < 0 || i >= m.Used() || n < 0 || n > int(m.at(m.first+uint32(i)).Len) || dst == m {
		return fmt.Errorf("xfer: %d bytes of element %d of %d: %w", n, i, m.Used(), syscall.EINVAL)
	}
	if n == 0 {
		return nil
	}
	m.settle()
	dst.settle()
	at := m.first + uint32(i)
	e := m.at(at)
	part := *e
	part.Len = uint32(n)
	if dst.Full() && !dst.at(dst.end-1).continues(part) {
		return syscall.ENOSPC
	}
	if m.blank() > 0 { // those that move may be of them
		behind := -n // bytes of m behind those that move
		for j := at; j < m.end; j++ {
			behind += int(m.at(j).Len)
		}
		m.setBlank(m.blank() - max(0, min(n, m.blank()-behind)))
	}
	if part.Len == e.Len {
		m.shut(at, 1)
	} else {
		e.Buf.Retain()
		e.Off += uint32(n)
		e.Len -= uint32(n)
	}
	m.size -= n
	if m.size == 0 {
		m.clear()
	}
	m.shrank()
	dst.Append(part)
	return nil
}

// MoveFront moves the first n bytes to the end of dst, another message, as Xfer does:
// what is handed on leaves the message and its account at once. It is the Go form of
// sk_msg's return-and-zero.
//
// Errors: EINVAL when the message has less than n bytes or dst is m, and nothing was
// moved; ENOSPC when dst is full, and what was moved stays there.
func (m *Message) MoveFront(dst *Message, n int) error {
	m.mustLive("MoveFront")
	if n < 0 || n > m.size || dst == m {
		return fmt.Errorf("move front: %d bytes of a message of %d: %w", n, m.size, syscall.EINVAL)
	}
	m.settle()
	dst.settle()
	for n > 0 {
		part := *m.at(m.first)
		part.Len = uint32(min(n, int(part.Len)))
		if dst.Full() && !dst.at(dst.end-1).continues(part) {
			return syscall.ENOSPC
		}
		part.Buf.Retain()
		m.TrimFront(int(part.Len)) // gives the charge back and keeps the cursor
		dst.Append(part)
		n -= int(part.Len)
	}
	return nil
}

// XferFull makes dst what m is: its bytes, its account, its cursor. What dst held is
// released. m is empty afterwards and bound to no account; unlike after MoveTo it may
// be used at once. Each stays lent if it was.
func (m *Message) XferFull(dst *Message) {
	m.mustLive("XferFull")
	dst.mustLive("XferFull to a destination")
	if dst == m {
		return
	}
	m.settle()
	dst.drop()
	dst.unbind()
	st, origin, r := dst.state, dst.origin, dst.rest
	*dst = *m
	*m = Message{state: m.state, origin: m.origin, rest: r}
	dst.state, dst.origin = st, origin
}
