package sgmsg

import (
	"fmt"
	"syscall"
)

// Clone appends references to the bytes [off, off+n) of m to dst: no byte is
// copied, m is unchanged, and both may be released independently; the bytes are
// shared from now on. n == 0 does nothing.
//
// Errors: ENOSPC for a range that does not lie inside m, and nothing was changed;
// ENOSPC when dst is full, and what was appended stays, the caller's to trim.
//
// Source: the sk_msg clone operation of Linux, whose errors it keeps.
func (m *Message) Clone(dst *Message, off, n int) error {
	m.mustLive("Clone")
	dst.mustLive("Clone into a destination")
	if n == 0 {
		return nil
	}
	if off < 0 || n < 0 || off > m.size || n > m.size-off {
		return fmt.Errorf("clone: bytes [%d,+%d) of a message of %d: %w", off, n, m.size, syscall.ENOSPC)
	}
	for i := m.first; n > 0; i++ {
		e := *m.at(i)
		if off >= int(e.Len) {
			off -= int(e.Len)
			continue
		}
		e.Off += uint32(off)
		e.Len = uint32(min(int(e.Len)-off, n))
		off = 0
		n -= int(e.Len)
		dst.settle()
		if dst.Full() && !dst.at(dst.end-1).continues(e) {
			return syscall.ENOSPC
		}
		dst.AppendShared(e)
	}
	return nil
}
