package ringtest

import (
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// SendMsgs implements [backend.Datagrams]: what is given in one piece leaves as several.
func (l *loop) SendMsgs(fd int, d []backend.Datagram) (int, syscall.Errno) {
	s := l.sim
	k := l.attached("sendmsgs", fd)
	pieces := 0
	for i := range d {
		pieces += len(d[i].Vec)
	}
	if len(d) == 0 || len(d) > backend.MaxDatagrams || pieces > backend.MaxPieces {
		s.violation("sendmsgs: %d datagrams of %d elements", len(d), pieces)
	}
	for i := range d {
		if e := k.sendDatagram(&d[i]); e != 0 {
			if i > 0 {
				return i, 0
			}
			return 0, e
		}
	}
	return len(d), 0
}

func (k *socket) sendDatagram(d *backend.Datagram) syscall.Errno {
	s := k.sim
	to := d.To
	if to == (backend.Addr{}) {
		to = k.remote
	}
	var data []byte
	for _, e := range d.Vec {
		if e.Len > 0 && e.Buf.Refs() < 1 {
			s.violation("sendmsgs: memory that was released")
		}
		data = append(data, e.Bytes()...)
	}
	size := d.Segment
	switch {
	case k.kind != kindPacket:
		return syscall.EOPNOTSUPP
	case to == (backend.Addr{}):
		return syscall.EDESTADDRREQ
	case len(data) > maxPayload:
		return syscall.EMSGSIZE
	case size > 0 && (len(data) <= size || len(data) > size*backend.MaxSegments):
		s.violation("sendmsgs: %d bytes in segments of %d", len(data), size)
	case size > 0 && s.hit(RefuseSplit):
		return syscall.EINVAL
	case s.hit(SendAgain):
		return syscall.EAGAIN
	}
	s.autobind(k, to)
	for size > 0 && len(data) > size {
		k.launch(data[:size:size], to)
		data = data[size:]
	}
	k.launch(data, to)
	return 0
}

// NextError implements [backend.Datagrams]: sockets have no error queue.
func (l *loop) NextError(int, *backend.PacketError) syscall.Errno { return syscall.EAGAIN }

// SetOption implements [backend.Datagrams].
func (l *loop) SetOption(fd int, opt backend.SockOpt, value int) syscall.Errno {
	k := l.attached("setsockopt", fd)
	if k.kind == kindPacket && k.local.IP.IsValid() {
		switch opt {
		case backend.OptSplit:
			return 0
		case backend.OptJoin:
			k.joins = value != 0
			return 0
		}
	}
	return syscall.ENOPROTOOPT
}

// Option implements [backend.Datagrams]. An IP socket takes addresses of both families.
func (l *loop) Option(fd int, opt backend.SockOpt) (int, syscall.Errno) {
	k := l.sim.sock(fd)
	if k == nil {
		return 0, syscall.EBADF
	}
	switch {
	case opt == backend.OptLost:
		return k.lost, 0
	case opt == backend.OptType && k.kind == kindPacket:
		return syscall.SOCK_DGRAM, 0
	case opt == backend.OptType:
		return syscall.SOCK_STREAM, 0
	case opt != backend.OptFamily:
		return 0, syscall.ENOPROTOOPT
	case k.local.IP.IsValid():
		return syscall.AF_INET, 0
	}
	return syscall.AF_UNIX, 0
}

// PathMTU implements [backend.Datagrams].
func (l *loop) PathMTU(*backend.Addr) (int, syscall.Errno) { return 0, syscall.EOPNOTSUPP }
