package backend

import (
	"encoding/binary"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DatagramFD is [Datagrams] on real descriptors. It is embedded in a backend.
type DatagramFD struct {
	Calls uint64 // system calls made
	out   *outgoing
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// outgoing is the memory of a sendmmsg(2). The kernel is done with it when the call
// returns; its pointers are Go's.
type outgoing struct {
	hdrs  [MaxDatagrams]mmsghdr
	iovs  [MaxPieces]unix.Iovec
	names [MaxDatagrams][NameSpace]byte
	ctrls [MaxDatagrams][controlWords]uint64 // aligned as struct cmsghdr is
}

const controlWords = 12 // room for all that controlOf appends

// SendMsgs implements [Datagrams] with sendmmsg(2).
//
// A call for one datagram is raw: the scheduler is not told, which would cost more than
// the call does. One for many may take longer than others should wait for.
func (f *DatagramFD) SendMsgs(fd int, d []Datagram) (int, syscall.Errno) {
	if f.out == nil {
		f.out = new(outgoing)
	}
	o := f.out
	d = d[:min(len(d), MaxDatagrams)]
	used, bytes := 0, 0
	for i := range d {
		g := &d[i]
		h := &o.hdrs[i].hdr
		*h = unix.Msghdr{}
		n, e := 0, syscall.Errno(0)
		if g.To != (Addr{}) {
			n, e = PutSockaddr(o.names[i][:], &g.To)
			h.Name, h.Namelen = &o.names[i][0], uint32(n)
		}
		switch {
		case used+len(g.Vec) > MaxPieces:
			e = syscall.EMSGSIZE
		case !g.Six && g.From.IsValid() && !g.From.Unmap().Is4():
			e = syscall.EINVAL
		}
		if e != 0 {
			if i == 0 {
				return 0, e
			}
			d = d[:i] // it is the next call's first
			break
		}
		if g.Segment > 0 || g.TOS != 0 || g.Interface != 0 || g.From.IsValid() {
			room := unsafe.Slice((*byte)(unsafe.Pointer(&o.ctrls[i])), controlWords*8)
			c := controlOf(room[:0], g)
			h.Control = &room[0]
			h.SetControllen(len(c))
		}
		pieces := 0
		h.Iov = &o.iovs[min(used, MaxPieces-1)]
		for _, e := range g.Vec {
			if e.Len == 0 {
				continue
			}
			o.iovs[used].Base = &e.Bytes()[0]
			o.iovs[used].SetLen(int(e.Len))
			used++
			pieces++
			bytes += int(e.Len)
		}
		h.SetIovlen(pieces)
	}
	f.Calls++
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	var n uintptr
	var e syscall.Errno
	if len(d) == 1 && bytes <= WriteBytes {
		n, _, e = syscall.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.hdrs)), 1, flags, 0, 0)
	} else {
		n, _, e = syscall.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.hdrs)), uintptr(len(d)), flags, 0, 0)
	}
	if e == syscall.EINTR {
		e = syscall.EAGAIN
	}
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

// NextError implements [Datagrams] with recvmsg(2) and MSG_ERRQUEUE: the control
// message is struct sock_extended_err of linux/errqueue.h with the address of the
// offender behind it.
func (f *DatagramFD) NextError(fd int, e *PacketError) syscall.Errno {
	var name [NameSpace]byte
	var control [32]uint64
	h := unix.Msghdr{Name: &name[0], Namelen: NameSpace, Control: (*byte)(unsafe.Pointer(&control))}
	h.SetControllen(len(control) * 8)
	f.Calls++
	_, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if errno != 0 {
		return errno
	}
	*e = PacketError{To: ParseSockaddr(name[:min(h.Namelen, NameSpace)])}
	p := unsafe.Slice((*byte)(unsafe.Pointer(&control)), len(control)*8)[:h.Controllen]
	for {
		level, kind, data, rest := nextControl(p)
		if data == nil {
			return 0
		}
		p = rest
		if !(level == unix.SOL_IP && kind == unix.IP_RECVERR || level == unix.SOL_IPV6 && kind == unix.IPV6_RECVERR) || len(data) < 16 {
			continue
		}
		ne := binary.NativeEndian
		e.Errno = syscall.Errno(ne.Uint32(data))
		e.Origin, e.Type, e.Code = ErrorOrigin(data[4]), data[5], data[6]
		if e.Errno == syscall.EMSGSIZE {
			e.MTU = int(ne.Uint32(data[8:]))
		}
		e.Offender = ParseSockaddr(data[16:]).IP.Addr()
	}
}

// SetOption implements [Datagrams] with setsockopt(2).
func (f *DatagramFD) SetOption(fd int, opt SockOpt, value int) syscall.Errno {
	set := func(level, name int) syscall.Errno {
		f.Calls++
		if err := unix.SetsockoptInt(fd, level, name, value); err != nil {
			return err.(syscall.Errno)
		}
		return 0
	}
	both := func(four, six int) syscall.Errno {
		family, e := f.Option(fd, OptFamily)
		if e != 0 {
			return e
		}
		switch family {
		case unix.AF_INET:
			return set(unix.SOL_IP, four)
		case unix.AF_INET6:
			set(unix.SOL_IP, four) // for IPv4 on such a socket; refused where that is not allowed
			return set(unix.SOL_IPV6, six)
		}
		return syscall.EOPNOTSUPP
	}
	switch opt {
	case OptDestination:
		if family, _ := f.Option(fd, OptFamily); family == unix.AF_INET6 { // tells of IPv4 too
			return set(unix.SOL_IPV6, unix.IPV6_RECVPKTINFO)
		}
		return both(unix.IP_PKTINFO, 0)
	case OptTOS:
		return both(unix.IP_RECVTOS, unix.IPV6_RECVTCLASS)
	case OptErrors:
		return both(unix.IP_RECVERR, unix.IPV6_RECVERR)
	case OptDiscover:
		return both(unix.IP_MTU_DISCOVER, unix.IPV6_MTU_DISCOVER)
	case OptJoin:
		return set(unix.SOL_UDP, unix.UDP_GRO)
	case OptSplit:
		return set(unix.SOL_UDP, unix.UDP_SEGMENT)
	case OptTime:
		return set(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW)
	}
	return syscall.ENOPROTOOPT
}

// Option implements [Datagrams] with getsockopt(2).
func (f *DatagramFD) Option(fd int, opt SockOpt) (int, syscall.Errno) {
	get := func(level, name int) (int, syscall.Errno) {
		f.Calls++
		v, err := unix.GetsockoptInt(fd, level, name)
		if err != nil {
			return 0, err.(syscall.Errno)
		}
		return v, 0
	}
	switch opt {
	case OptFamily:
		return get(unix.SOL_SOCKET, unix.SO_DOMAIN)
	case OptType:
		return get(unix.SOL_SOCKET, unix.SO_TYPE)
	case OptMTU:
		family, e := f.Option(fd, OptFamily)
		if e != 0 {
			return 0, e
		}
		if family == unix.AF_INET6 {
			if v, e := get(unix.SOL_IPV6, unix.IPV6_MTU); e == 0 {
				return v, 0
			}
		}
		return get(unix.SOL_IP, unix.IP_MTU)
	case OptLost:
		const drops = 8            // SK_MEMINFO_DROPS, linux/sock_diag.h
		var info [drops + 1]uint32 // SO_MEMINFO writes as many as it is given room for
		size := uint32(unsafe.Sizeof(info))
		f.Calls++
		_, _, e := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		return int(info[drops]), e
	}
	return 0, syscall.ENOPROTOOPT
}

// PathMTU implements [Datagrams]: a socket of its own is connected, which sends nothing,
// and asked.
func (f *DatagramFD) PathMTU(to *Addr) (int, syscall.Errno) {
	if to.IsUnix() {
		return 0, syscall.EOPNOTSUPP
	}
	var name [NameSpace]byte
	n, e := PutSockaddr(name[:], to)
	if e != 0 {
		return 0, e
	}
	f.Calls += 3
	fd, err := unix.Socket(int(binary.NativeEndian.Uint16(name[:])), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err.(syscall.Errno)
	}
	defer unix.Close(fd)
	if _, _, e := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&name[0])), uintptr(n)); e != 0 {
		return 0, e
	}
	return f.Option(fd, OptMTU)
}

// PutSockaddr writes the address as a sockaddr (ip(7), ipv6(7), unix(7)) and returns its
// length. p has NameSpace bytes. A zone is the number of an interface. EINVAL: a path
// that is empty or too long, or another zone.
func PutSockaddr(p []byte, a *Addr) (int, syscall.Errno) {
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
