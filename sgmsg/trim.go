package sgmsg

// Trim shortens the message to n bytes from the end: whole elements are
// released, the next one is shortened. n >= Len changes nothing. Bytes that were
// allocated and not filled yet go first; the cursor stays where it is, or at the
// new end.
func (m *Message) Trim(n int) {
	m.mustLive("Trim")
	n = max(n, 0)
	m.setBlank(max(0, m.blank()-max(0, m.size-n)))
	for m.size > n && m.end > m.first {
		e := m.at(m.end - 1)
		cut := m.size - n
		if cut < int(e.Len) {
			e.Len -= uint32(cut)
			m.size = n
			break
		}
		m.size -= int(e.Len)
		if !m.borrowed {
			e.Buf.Release()
		}
		m.borrowed = false
		m.end--
	}
	if m.end == m.first {
		m.clear()
	}
	m.shrank()
}

// TrimFront removes the first n bytes: whole elements are released, the next
// one keeps its tail. n >= Len empties the message. It is what sk_msg calls a
// partial free.
func (m *Message) TrimFront(n int) {
	m.mustLive("TrimFront")
	for n > 0 && m.first < m.end {
		e := m.at(m.first)
		if n < int(e.Len) {
			e.Off += uint32(n)
			e.Len -= uint32(n)
			m.size -= n
			break
		}
		n -= int(e.Len)
		m.size -= int(e.Len)
		if m.borrowed && m.first+1 == m.end {
			m.borrowed = false
		} else {
			e.Buf.Release()
		}
		m.first++
	}
	if m.first == m.end {
		m.clear()
		return
	}
	m.shrank()
	// A long-lived queue eats from the front: move what is left down once half
	// of the list is used up, so that each element is moved at most once.
	if m.first >= 16 && m.first*2 >= m.end {
		n := m.end - m.first
		for i := range n {
			*m.at(i) = *m.at(m.first + i)
		}
		m.first, m.end = 0, n
	}
}
