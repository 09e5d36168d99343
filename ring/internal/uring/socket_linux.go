package uring

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// Socket implements [backend.Backend] with socket(2). The error is the errno.
func (b *ring) Socket(family, sotype int) (fd int, err error) {
	b.stats.Syscalls++
	return unix.Socket(family, sotype|unix.SOCK_CLOEXEC, 0)
}

// Attach implements [backend.Backend]. The operations used here do not look at
// O_NONBLOCK, so it may be set or not: receive, send, accept and connect have their
// own flags, and io_uring parks them on the socket's wait queue. Only READ_FIXED
// heeds it and would fail with EAGAIN where it should wait. A listening socket may be
// another process's too and stays non-blocking: see Accept.
func (b *ring) Attach(fd int) error {
	if b.fixed.size == 0 {
		return nil
	}
	b.stats.Syscalls++
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		return err
	}
	b.stats.Syscalls += 2
	if listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); listens != 0 {
		return nil
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&^unix.O_NONBLOCK)
	return err
}

// Detach implements [backend.Backend]: the descriptor becomes non-blocking, which an
// accepted one was not. The error is the errno of fcntl(2).
func (b *ring) Detach(fd int) error {
	b.stats.Syscalls += 2
	return unix.SetNonblock(fd, true)
}

// CloseFD implements [backend.Backend] with close(2).
func (b *ring) CloseFD(fd int) error {
	b.stats.Syscalls++
	return unix.Close(fd)
}

// Shutdown implements [backend.Backend] with shutdown(2).
func (b *ring) Shutdown(fd, how int) error {
	b.stats.Syscalls++
	return unix.Shutdown(fd, how)
}

// NoDelay implements [backend.Backend] with TCP_NODELAY of tcp(7).
func (b *ring) NoDelay(fd int) error {
	b.stats.Syscalls++
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// Names implements [backend.Backend] with getsockname(2) and getpeername(2).
func (b *ring) Names(fd int) (local, remote backend.Addr) {
	b.stats.Syscalls += 2
	if sa, err := unix.Getsockname(fd); err == nil {
		local = fromSockaddr(sa)
	}
	if sa, err := unix.Getpeername(fd); err == nil {
		remote = fromSockaddr(sa)
	}
	return local, remote
}

// fromSockaddr converts a socket address. An IPv4 address of an IPv6 socket is
// returned as IPv4, as package net does.
func fromSockaddr(sa unix.Sockaddr) backend.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return backend.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))}
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 {
			ip = ip.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
		}
		return backend.Addr{IP: netip.AddrPortFrom(ip, uint16(sa.Port))}
	case *unix.SockaddrUnix:
		if sa.Name == "@" { // how x/sys shows an unnamed socket
			return backend.Addr{}
		}
		return backend.Addr{Path: sa.Name}
	}
	return backend.Addr{}
}

// encode writes a as a struct sockaddr_in, sockaddr_in6 or sockaddr_un and returns
// its length. A path that does not fit becomes an address without path, which
// connect(2) and sendmsg(2) refuse with EINVAL.
func encode(p *[nameBytes]byte, a *backend.Addr) int {
	native, network := binary.NativeEndian, binary.BigEndian
	if a.IsUnix() {
		const path = 2 // offsetof(struct sockaddr_un, sun_path), which has 108 bytes
		native.PutUint16(p[:], unix.AF_UNIX)
		if a.Path == "" || len(a.Path) >= 108 {
			return path
		}
		copy(p[path:], a.Path)
		if a.Path[0] == '@' {
			p[path] = 0 // abstract: the length counts, there is no end mark
			return path + len(a.Path)
		}
		p[path+len(a.Path)] = 0
		return path + len(a.Path) + 1
	}
	ip := a.IP.Addr()
	network.PutUint16(p[2:], a.IP.Port())
	if ip.Is4() {
		const size = 16 // sizeof(struct sockaddr_in)
		native.PutUint16(p[:], unix.AF_INET)
		v4 := ip.As4()
		copy(p[4:], v4[:])
		clear(p[8:size])
		return size
	}
	const size = 28 // sizeof(struct sockaddr_in6)
	native.PutUint16(p[:], unix.AF_INET6)
	native.PutUint32(p[4:], 0) // flow information
	v6 := ip.As16()
	copy(p[8:], v6[:])
	native.PutUint32(p[24:], scope(ip.Zone()))
	return size
}

// scope returns the number of an IPv6 zone, which is a number or an interface.
func scope(zone string) uint32 {
	if zone == "" {
		return 0
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		return uint32(n)
	}
	if ifi, err := net.InterfaceByName(zone); err == nil {
		return uint32(ifi.Index)
	}
	return 0
}
