package backend

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/kcm-go/kcm/sgmsg"
)

const (
	// MaxDatagrams is the largest number of datagrams of one SendMsgs, and
	// MaxPieces that of the elements of all of them.
	MaxDatagrams = 64
	MaxPieces    = 1024
	// MaxSegments is the largest number of segments of one Datagram
	// (UDP_MAX_SEGMENTS, net/ipv4/udp.c before Linux 6.9).
	MaxSegments = 64
)

// Datagram is one datagram that is to be sent. With Segment > 0 it is several in one
// piece: each of that many bytes, but for the last, which may have fewer.
type Datagram struct {
	Vec       []sgmsg.Element
	To        Addr // zero: the connected peer
	Segment   int
	From      netip.Addr // source address; zero: the system's choice; EINVAL: IPv6 without Six
	Interface uint32     // it goes out by; 0: the system's choice
	TOS       uint8      // type of service, or traffic class; 0: the socket's
	Six       bool       // the socket is of family AF_INET6, and so are To and From
}

// Received is what the fixed part of a RecvMsg buffer says.
type Received struct {
	From      Addr
	To        netip.Addr // the address it was sent to, if that was asked for
	Local     netip.Addr // the same, or if that is a broadcast one, one of this host; zero: none
	Interface uint32     // it came in by
	TOS       uint8
	Segment   int   // > 0: several datagrams of that size, the last perhaps shorter
	Time      int64 // when the system got it, in nanoseconds since 1970; 0: not known
	Truncated bool
}

// PacketError is an entry of a socket's error queue.
type PacketError struct {
	Errno    syscall.Errno
	Origin   ErrorOrigin
	Type     uint8 // of the ICMP message
	Code     uint8
	To       Addr       // where the datagram was sent
	Offender netip.Addr // who reports it
	MTU      int        // with EMSGSIZE: that of the path
}

// ErrorOrigin says where an error comes from: SO_EE_ORIGIN_* of linux/errqueue.h.
type ErrorOrigin uint8

const (
	OriginLocal ErrorOrigin = 1
	OriginICMP  ErrorOrigin = 2
	OriginICMP6 ErrorOrigin = 3
)

// SockOpt names an option of a datagram socket.
type SockOpt uint8

const (
	OptFamily      SockOpt = iota // get: AF_INET, AF_INET6 or AF_UNIX
	OptType                       // get: SOCK_DGRAM or another
	OptDestination                // set: tell local address and interface (IP_PKTINFO)
	OptTOS                        // set: tell the type of service (IP_RECVTOS)
	OptErrors                     // set: keep an error queue (IP_RECVERR)
	OptDiscover                   // set: path MTU discovery (IP_MTU_DISCOVER), IP_PMTUDISC_*
	OptMTU                        // get: path MTU of a connected socket (IP_MTU)
	OptJoin                       // set: UDP_GRO
	OptSplit                      // set: UDP_SEGMENT of every datagram; 0 to find out whether it is known
	OptTime                       // set: tell when a datagram came (SO_TIMESTAMPNS)
	OptLost                       // get: datagrams lost for want of room (SO_MEMINFO)
)

// Datagrams is the part of a [Backend] for datagram sockets that consists of no
// operations: like Write its methods do what they do at once. Unlike Write they are
// for the loop's thread.
type Datagrams interface {
	// SendMsgs sends the datagrams in order, without waiting for write space, at most
	// MaxDatagrams with MaxPieces elements. It returns how many of them the system
	// took, and if that is none why not: EAGAIN when the socket is full, else what is
	// wrong with the first one, or an error that the socket had to tell, of a datagram
	// sent before. It keeps nothing of d.
	SendMsgs(fd int, d []Datagram) (n int, errno syscall.Errno)
	// NextError takes the oldest entry out of the error queue: EAGAIN when there is
	// none. Not for unix sockets, which have no such queue and lose a datagram instead.
	NextError(fd int, e *PacketError) syscall.Errno
	// SetOption and Option set and get an option: ENOPROTOOPT or EOPNOTSUPP where the
	// system or this kind of socket has no such thing.
	SetOption(fd int, opt SockOpt, value int) syscall.Errno
	Option(fd int, opt SockOpt) (int, syscall.Errno)
	// PathMTU is what the system knows of the MTU of the path to an address.
	PathMTU(to *Addr) (int, syscall.Errno)
}

// Numbers of Linux, whose layouts RecvMsg has on every system.
const (
	afInet  = 2
	afInet6 = 10

	solIP, ipTOS, ipPktinfo          = 0, 1, 8    // linux/in.h
	solIPv6, ipv6Pktinfo, ipv6TClass = 41, 50, 67 // linux/in6.h
	solUDP, udpSegment, udpGRO       = 17, 103, 104
	solSocket, scmTimestampNS        = 1, 64 // SO_TIMESTAMPNS_NEW, asm-generic/socket.h

	msgTrunc = 0x20

	cmsgWord = bits.UintSize / 8 // struct cmsghdr: a size_t, then two int32
	cmsgHead = cmsgWord + 8
)

// ParseReceived reads the fixed part of a RecvMsg buffer.
func ParseReceived(p []byte, r *Received) {
	*r = Received{}
	ne := binary.NativeEndian
	name, control := ne.Uint32(p), ne.Uint32(p[4:])
	r.Truncated = ne.Uint32(p[12:])&msgTrunc != 0
	p = p[16:PacketOverhead]
	r.From = ParseSockaddr(p[:min(name, NameSpace)])
	for p = p[NameSpace:][:min(control, ControlSpace)]; ; {
		level, kind, data, rest := nextControl(p)
		if data == nil {
			return
		}
		p = rest
		switch {
		case level == solIP && kind == ipPktinfo && len(data) >= 12: // struct in_pktinfo
			r.Interface = ne.Uint32(data)
			r.Local = netip.AddrFrom4([4]byte(data[4:])) // ipi_spec_dst: whence to answer
			r.To = netip.AddrFrom4([4]byte(data[8:]))
		case level == solIPv6 && kind == ipv6Pktinfo && len(data) >= 20: // struct in6_pktinfo
			r.To = netip.AddrFrom16([16]byte(data)).Unmap()
			r.Interface = ne.Uint32(data[16:])
			if !r.To.IsMulticast() {
				r.Local = r.To
			}
		case level == solIP && kind == ipTOS && len(data) >= 1:
			r.TOS = data[0]
		case level == solIPv6 && kind == ipv6TClass && len(data) >= 4:
			r.TOS = uint8(ne.Uint32(data))
		case level == solUDP && kind == udpGRO && len(data) >= 4:
			r.Segment = int(int32(ne.Uint32(data)))
		case level == solSocket && kind == scmTimestampNS && len(data) >= 16:
			r.Time = int64(ne.Uint64(data))*1e9 + int64(ne.Uint64(data[8:]))
		}
	}
}

// nextControl takes the first control message apart; data is nil when there is none.
func nextControl(p []byte) (level, kind int32, data, rest []byte) {
	if len(p) < cmsgHead {
		return 0, 0, nil, nil
	}
	ne := binary.NativeEndian
	n := uint64(ne.Uint32(p))
	if cmsgWord == 8 {
		n = ne.Uint64(p)
	}
	if n < cmsgHead || n > uint64(len(p)) {
		return 0, 0, nil, nil
	}
	level, kind = int32(ne.Uint32(p[cmsgWord:])), int32(ne.Uint32(p[cmsgWord+4:]))
	next := min((int(n)+cmsgWord-1)&^(cmsgWord-1), len(p))
	return level, kind, p[cmsgHead:n:n], p[next:]
}

// putControl appends a control message with n bytes of data, zero, and returns the
// data.
func putControl(p []byte, level, kind int32, n int) (all, data []byte) {
	at := len(p)
	end := at + (cmsgHead+n+cmsgWord-1)&^(cmsgWord-1)
	p = p[:end]
	clear(p[at:])
	ne := binary.NativeEndian
	if cmsgWord == 8 {
		ne.PutUint64(p[at:], uint64(cmsgHead+n))
	} else {
		ne.PutUint32(p[at:], uint32(cmsgHead+n))
	}
	ne.PutUint32(p[at+cmsgWord:], uint32(level))
	ne.PutUint32(p[at+cmsgWord+4:], uint32(kind))
	return p, p[at+cmsgHead:]
}

// controlOf appends the control messages of d to p.
func controlOf(p []byte, d *Datagram) []byte {
	ne, six := binary.NativeEndian, d.Six
	var data []byte
	if d.From.IsValid() || d.Interface != 0 {
		if six {
			p, data = putControl(p, solIPv6, ipv6Pktinfo, 20)
			if d.From.IsValid() {
				a := d.From.As16()
				copy(data, a[:])
			}
			ne.PutUint32(data[16:], d.Interface)
		} else {
			p, data = putControl(p, solIP, ipPktinfo, 12)
			ne.PutUint32(data, d.Interface)
			if d.From.IsValid() {
				a := d.From.Unmap().As4()
				copy(data[4:], a[:]) // ipi_spec_dst
			}
		}
	}
	if d.TOS != 0 {
		if six && !d.To.IP.Addr().Is4In6() {
			p, data = putControl(p, solIPv6, ipv6TClass, 4)
		} else {
			p, data = putControl(p, solIP, ipTOS, 4)
		}
		ne.PutUint32(data, uint32(d.TOS))
	}
	if d.Segment > 0 {
		p, data = putControl(p, solUDP, udpSegment, 2)
		ne.PutUint16(data, uint16(d.Segment))
	}
	return p
}

// PutSegment writes the control message of a RecvMsg buffer that tells the size of joined
// datagrams, and returns its length.
func PutSegment(p []byte, size int) int {
	p, data := putControl(p[:0], solUDP, udpGRO, 4)
	binary.NativeEndian.PutUint32(data, uint32(size))
	return len(p)
}

// ParseSockaddr is the address in a struct sockaddr_in, sockaddr_in6 or sockaddr_un of
// Linux. An IPv4 address of an IPv6 socket is returned as IPv4. A zone is the number of
// its interface. Only the path of a unix socket is allocated.
func ParseSockaddr(p []byte) Addr {
	if len(p) <= 2 { // an unnamed unix socket, or none
		return Addr{}
	}
	ne, be := binary.NativeEndian, binary.BigEndian
	switch family := ne.Uint16(p); {
	case family == afInet && len(p) >= 8:
		return Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte(p[4:])), be.Uint16(p[2:]))}
	case family == afInet6 && len(p) >= 28:
		ip := netip.AddrFrom16([16]byte(p[8:])).Unmap()
		if scope := ne.Uint32(p[24:]); scope != 0 && !ip.Is4() {
			ip = ip.WithZone(strconv.FormatUint(uint64(scope), 10))
		}
		return Addr{IP: netip.AddrPortFrom(ip, be.Uint16(p[2:]))}
	case family == syscall.AF_UNIX:
		path := p[2:]
		if path[0] == 0 { // abstract: the length ends it
			return Addr{Path: "@" + string(path[1:])}
		}
		for i, c := range path {
			if c == 0 {
				path = path[:i]
				break
			}
		}
		return Addr{Path: string(path)}
	}
	return Addr{}
}
