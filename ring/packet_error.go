package ring

import (
	"fmt"
	"net/netip"
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// PacketError tells of a datagram that did not get there: ECONNREFUSED (nobody has the
// port), EHOSTUNREACH, ENETUNREACH, EMSGSIZE (longer than the path's MTU), and so on.
type PacketError struct {
	Errno    syscall.Errno
	To       netip.AddrPort // where it was sent; zero when not known
	Path     string         // the same, of a unix socket
	Offender netip.Addr     // who reported it
	MTU      int            // with EMSGSIZE: that of the path, if known
	ICMP     bool           // somebody on the way, or the host there, says so; else this system
	Type     uint8          // of the ICMP message
	Code     uint8
	Unsent   bool // it was in the queue and is lost
}

// Error implements error.
func (e *PacketError) Error() string {
	to := e.Path
	switch {
	case e.To.IsValid():
		to = e.To.String()
	case to == "":
		to = "the peer"
	}
	if e.Errno == syscall.EMSGSIZE && e.MTU > 0 {
		return fmt.Sprintf("send to %s: %v (MTU %d)", to, e.Errno, e.MTU)
	}
	return fmt.Sprintf("send to %s: %v", to, e.Errno)
}

// Unwrap returns the errno.
func (e *PacketError) Unwrap() error { return e.Errno }

// nextError takes an entry out of the socket's error queue. A unix socket has none, and
// answers with a datagram that somebody sent.
func (p *Packet) nextError(e *PacketError) bool {
	if p.family != syscall.AF_INET && p.family != syscall.AF_INET6 {
		return false
	}
	var b backend.PacketError
	for {
		if p.loop.be.NextError(p.fd, &b) != 0 {
			return false
		}
		if b.Errno != 0 && b.Origin >= backend.OriginLocal && b.Origin <= backend.OriginICMP6 {
			break
		}
	}
	*e = PacketError{
		Errno: b.Errno, To: b.To.IP, Path: b.To.Path, Offender: b.Offender, MTU: b.MTU,
		ICMP: b.Origin != backend.OriginLocal, Type: b.Type, Code: b.Code,
	}
	return true
}

func (p *Packet) tellError(e *PacketError) {
	p.stats.Errors++
	p.h.PacketError(p, e)
}
