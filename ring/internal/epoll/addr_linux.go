package epoll

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// putAddr writes the address as a sockaddr (ip(7), ipv6(7), unix(7)) and returns
// its length. p has NameSpace bytes.
func putAddr(p []byte, a *backend.Addr) (int, syscall.Errno) {
	clear(p)
	if a.IsUnix() {
		if len(a.Path) == 0 || len(a.Path) > unix.SizeofSockaddrUnix-3 {
			return 0, syscall.EINVAL
		}
		binary.NativeEndian.PutUint16(p, unix.AF_UNIX)
		n := 2 + copy(p[2:], a.Path)
		if a.Path[0] == '@' {
			p[2] = 0 // abstract: the length ends it
			return n, 0
		}
		return n + 1, 0
	}
	ip := a.IP.Addr()
	binary.BigEndian.PutUint16(p[2:], a.IP.Port())
	if ip.Is4() {
		binary.NativeEndian.PutUint16(p, unix.AF_INET)
		v4 := ip.As4()
		copy(p[4:], v4[:])
		return unix.SizeofSockaddrInet4, 0
	}
	binary.NativeEndian.PutUint16(p, unix.AF_INET6)
	v6 := ip.As16()
	copy(p[8:], v6[:])
	if zone := ip.Zone(); zone != "" {
		n, err := strconv.ParseUint(zone, 10, 32)
		if err != nil {
			return 0, syscall.EINVAL
		}
		binary.NativeEndian.PutUint32(p[24:], uint32(n))
	}
	return unix.SizeofSockaddrInet6, 0
}

// addrOf is the inverse. A zone is the number of its interface.
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
