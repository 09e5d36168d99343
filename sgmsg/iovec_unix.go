//go:build unix

package sgmsg

import "syscall"

// AppendIovecs appends the bytes of each element to dst as the vector that writev and
// sendmsg take. The memory is lent: the message is not released before the call that
// uses it has returned or, where that goes on afterwards, completed.
func (m *Message) AppendIovecs(dst []syscall.Iovec) []syscall.Iovec {
	m.mustLive("AppendIovecs")
	for i := m.first; i < m.end; i++ {
		b := m.at(i).Bytes()
		v := syscall.Iovec{Base: &b[0]}
		v.SetLen(len(b))
		dst = append(dst, v)
	}
	return dst
}
