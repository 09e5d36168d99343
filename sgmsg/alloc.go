package sgmsg

import (
	"fmt"
	"math"
	"syscall"
)

// allocRun is the largest run that Alloc asks the account's memory for, and
// allocPage what it is content with when there is no such run.
const (
	allocRun  = 32 << 10
	allocPage = 4 << 10
)

// Alloc grows the message to total bytes; total <= Len changes nothing. The content
// of the new bytes is undefined until [Message.MemCopyFrom] fills them. They come
// from the account's memory in runs of up to 32 KiB. As long as element
// firstCoalesce or a later one is the last, it grows into the room behind it if its
// buffer has any and is this message's alone; so pass 0 to grow whatever is there
// and Used to leave it as it is.
//
// Errors: EINVAL without an account that has memory. ENOSPC when another element is
// needed and the message is full, which 17 of 32 KiB make it; what was added so far
// stays, Len tells how much. ENOMEM when there is no memory or the account's limit is
// reached; the message is as before.
func (m *Message) Alloc(total, firstCoalesce int) error {
	m.mustLive("Alloc")
	if err := m.hasMemory("alloc"); err != nil {
		return err
	}
	if total > math.MaxInt32 {
		return fmt.Errorf("alloc: %d bytes, at most %d: %w", total, math.MaxInt32, syscall.EINVAL)
	}
	m.settle()
	acct := m.rest.acct
	old := m.size
	for m.size < total {
		if m.Used() > max(firstCoalesce, 0) {
			if k := min(len(m.tailRoom()), total-m.size); k > 0 {
				if !acct.try(k) {
					return m.allocFailed(old)
				}
				m.at(m.end - 1).Len += uint32(k)
				m.allocated(k)
				continue
			}
		}
		if m.Full() {
			return syscall.ENOSPC
		}
		e, err := acct.Memory.Alloc(min(total-m.size, allocRun))
		if err != nil && total-m.size > allocPage {
			e, err = acct.Memory.Alloc(allocPage)
		}
		if err != nil {
			return m.allocFailed(old)
		}
		if !acct.try(int(e.Len)) {
			e.Buf.Release()
			return m.allocFailed(old)
		}
		m.push(e)
		m.allocated(int(e.Len))
	}
	return nil
}

// allocated notes n bytes more that are charged already and not filled yet.
func (m *Message) allocated(n int) {
	m.size += n
	m.rest.charged += n
	m.rest.blank += n
}

func (m *Message) allocFailed(old int) error {
	m.charge(old - m.size) // all that was added, though an earlier part may have been returned
	m.Trim(old)
	return errNoMemory
}

// Cursor returns where MemCopyFrom goes on: behind the first copybreak bytes of
// element curr, which is the one with the last byte filled, or behind everything.
// An empty message has (0, 0).
func (m *Message) Cursor() (curr, copybreak int) {
	m.mustLive("Cursor")
	pos := m.size - m.blank()
	if pos == 0 {
		return 0, 0
	}
	i, off := m.find(pos - 1)
	return int(i - m.first), pos - off
}

// MemCopyFrom copies n bytes of it into what Alloc added and nobody filled yet, in
// order, and returns how many it copied. Bytes appended behind them, and Push, Pop and
// Pull, end the filling: what is allocated next comes behind everything.
//
// Errors, with the bytes before them copied: ENOSPC when there is no more room,
// EFAULT when it has less than n bytes.
//
// A clone of bytes that are not filled yet sees them change.
func (m *Message) MemCopyFrom(it *Iter, n int) (int, error) {
	m.mustLive("MemCopyFrom")
	done := 0
	if pos := m.size - m.blank(); n > 0 && pos < m.size {
		i, off := m.find(pos)
		room := m.at(i).Bytes()[pos-off:]
		for {
			k := it.copyTo(room[:min(len(room), n-done)])
			done += k
			if i++; done == n || k < len(room) || i == m.end {
				break
			}
			room = m.at(i).Bytes()
		}
		m.rest.blank -= done
	}
	switch {
	case done >= n:
		return done, nil
	case m.blank() > 0:
		return done, syscall.EFAULT
	}
	return done, syscall.ENOSPC
}

// ZeroCopyFrom appends references to the next n bytes of it, an element for each
// page of 4 KiB they lie in: no byte is copied. The bytes have to be buffers, made
// of the caller's memory with [Wrap] or of an arena; the message takes references of
// its own. The cursor is behind them afterwards.
//
// Errors: EFAULT when the message is full, it has less than n bytes, or they are in
// no buffer. Then it is where it was; elements that were appended stay, and are the
// caller's to trim.
func (m *Message) ZeroCopyFrom(it *Iter, n int) error {
	m.mustLive("ZeroCopyFrom")
	m.settle()
	for left := n; left > 0; {
		e := it.element()
		if e.Len == 0 || m.Full() {
			it.Revert(n - left)
			return syscall.EFAULT
		}
		e.Len = uint32(min(int(e.Len), left, allocPage-int(e.Off)%allocPage))
		e.Buf.Retain()
		m.push(e)
		m.grew(int(e.Len))
		it.Advance(int(e.Len))
		left -= int(e.Len)
	}
	return nil
}
