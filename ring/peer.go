package ring

import (
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// peer is the address of a stream's peer. It is asked of the kernel when the stream is made,
// since later the peer may be gone and nobody knows it any more; and kept in few bytes,
// since most streams are never asked.
type peer struct {
	ip   [16]byte
	port uint16
	kind atomic.Uint32 // says how to read the rest, which does not change afterwards
}

const (
	peerUnknown uint32 = iota // of AttachConnecting, until it is connected
	peerIPv4
	peerIPv6
	peerUnnamed // a unix socket
	peerOther   // in side.remote: with a zone or a path
)

// isOf notes the peer's address. Loop's thread, once.
func (s *Stream) isOf(a backend.Addr) {
	p := &s.peer
	kind := peerOther
	switch ip := a.IP.Addr(); {
	case a.IsUnix() && a.Path == "":
		kind = peerUnnamed
	case ip.Is4():
		kind = peerIPv4
		v4 := ip.As4()
		copy(p.ip[:], v4[:])
	case ip.IsValid() && ip.Zone() == "":
		kind = peerIPv6
		p.ip = ip.As16()
	default:
		s.ownSide().remote = netAddr(a)
	}
	p.port = a.IP.Port()
	p.kind.Store(kind)
}

// RemoteAddr returns the peer's address: *net.TCPAddr or *net.UnixAddr, also after the
// end; nil for a stream of AttachConnecting that is not connected yet. It is made anew by
// each call: whoever needs it for each message keeps it. Safe for concurrent use.
func (s *Stream) RemoteAddr() net.Addr {
	p := &s.peer
	var ip netip.Addr
	switch p.kind.Load() {
	case peerUnknown:
		return nil
	case peerIPv4:
		ip = netip.AddrFrom4([4]byte(p.ip[:4]))
	case peerIPv6:
		ip = netip.AddrFrom16(p.ip)
	case peerUnnamed:
		return netAddr(backend.Addr{})
	default:
		return s.side.remote
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, p.port))
}
