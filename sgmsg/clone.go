package sgmsg

import (
	"fmt"
	"syscall"
)

// Clone appends references to the bytes [off, off+n) of m to dst: no byte is
// copied, m is unchanged, and both may be released independently. A range that
// does not lie inside m is refused with ENOSPC and changes nothing. n == 0 does
// nothing.
//
// Source: the sk_msg clone operation of Linux, whose error it keeps.
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
		dst.AppendShared(e)
	}
	return nil
}
