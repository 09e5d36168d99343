package backend

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// CloseRights closes the descriptors that came with a datagram of a unix socket (SCM_RIGHTS,
// unix(7)), given its RecvMsg buffer. Whoever may send can put some in, and nobody asked for
// them.
func CloseRights(p []byte) {
	ne := binary.NativeEndian
	if len(p) < PacketOverhead {
		return
	}
	if name := ne.Uint32(p); name > 2 && ne.Uint16(p[16:]) != unix.AF_UNIX {
		return
	}
	for c := p[16+NameSpace:][:min(ne.Uint32(p[4:]), ControlSpace)]; ; {
		level, kind, data, rest := nextControl(c)
		if data == nil {
			return
		}
		c = rest
		if level != unix.SOL_SOCKET || kind != unix.SCM_RIGHTS {
			continue
		}
		for ; len(data) >= 4; data = data[4:] {
			_ = unix.Close(int(int32(ne.Uint32(data))))
		}
	}
}
