package epoll

import (
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// addrOf is the address that package unix has. A zone is the number of its interface.
func addrOf(sa unix.Sockaddr) backend.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return backend.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))}
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return backend.Addr{IP: netip.AddrPortFrom(ip, uint16(sa.Port))}
	case *unix.SockaddrUnix:
		if sa.Name == "@" { // how package unix shows an unnamed socket
			return backend.Addr{}
		}
		return backend.Addr{Path: sa.Name}
	}
	return backend.Addr{}
}
