package ring

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// AttachConnecting is Attach of a TCP socket whose connect(2) is under way (SYN_SENT). The
// stream takes messages to send at once; as with Dial h.Opened is called when it is
// connected, or h.Closed with the error. RemoteAddr is nil until then. Errors: EINVAL for a
// socket that is not TCP's.
func (l *Loop) AttachConnecting(fd int, h Handler) (*Stream, error) {
	if l.stop {
		return nil, ErrClosed
	}
	if local, _ := l.be.Names(fd); local.IsUnix() {
		return nil, fmt.Errorf("attach: descriptor %d: %w", fd, syscall.EINVAL)
	}
	if err := l.be.Attach(fd); err != nil {
		return nil, fmt.Errorf("attach: descriptor %d: %w", fd, err)
	}
	_ = l.be.NoDelay(fd) // it is TCP's
	s := l.newStream(fd, h, connecting)
	s.waitConnected()
	return s, nil
}

// waitConnected waits until the socket can say how its connect went: it has write space
// then, or an error.
func (s *Stream) waitConnected() {
	s.ops |= bit(backend.OpPoll)
	s.loop.be.Poll(s.key(backend.OpPoll), int(s.fd))
}

// askConnected asks the socket. A second connect says what the first came to, whatever
// the address, if that is none of family AF_UNSPEC: its own will do.
func (s *Stream) askConnected() {
	local, _ := s.loop.be.Names(int(s.fd))
	if !local.IP.IsValid() { // never seen
		local.IP = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	s.ops |= bit(backend.OpConnect)
	s.loop.be.Connect(s.key(backend.OpConnect), int(s.fd), &local)
}

// toldConnected is what askConnected came to: it reports whether the stream is connected.
func (s *Stream) toldConnected(err syscall.Errno) bool {
	switch err {
	case 0, syscall.EISCONN: // the latter when somebody else had asked
	case syscall.EALREADY:
		s.waitConnected()
		return false
	default:
		s.end(fmt.Errorf("connect: %w", err))
		return false
	}
	_, remote := s.loop.be.Names(int(s.fd))
	s.isOf(remote)
	return true
}
