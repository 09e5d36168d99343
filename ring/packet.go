package ring

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// PacketHandler is told what happens on a [Packet]. All methods are called on the
// loop's thread, never concurrently and never from inside a method of Packet.
type PacketHandler interface {
	// Datagrams: these have arrived, in this order. The slice and the messages in it
	// are lent for the call; one to be kept is moved (sgmsg.Message.Take, MoveTo, Send).
	// A turn calls it once, or more often for more than 64 datagrams. Who keeps
	// datagrams keeps receive buffers: see Loop.Short and Loop.Unpin.
	Datagrams(p *Packet, d []Datagram)
	// PacketError: a datagram sent earlier did not get there, or one in the queue could
	// not be sent and is lost. The endpoint goes on. e is lent for the call.
	PacketError(p *Packet, e *PacketError)
	// Sendable: Send has refused a datagram, and half of the queue is free again.
	Sendable(p *Packet)
	// Closed: the endpoint is gone and its descriptor is closed. cause is what Close
	// was given or the error that ended it. Always the last call.
	Closed(p *Packet, cause error)
}

// Datagram is a datagram that has arrived.
type Datagram struct {
	Msg       sgmsg.Message // its bytes, in a receive buffer; lent
	From      netip.AddrPort
	FromPath  string     // of a unix socket: the sender's name, "" if it has none
	To        netip.Addr // the address it was sent to: one of this host, multicast or broadcast
	Interface uint32     // the number of the interface it came in by; 0: not known
	Time      time.Time  // when the system got it, with PacketOptions.Timestamps; else zero
	TOS       uint8      // type of service (IPv4), traffic class (IPv6)
	Truncated bool       // it was longer than Options.BufferSize less 256 bytes; the rest is lost
	local     netip.Addr // from where to answer
}

// ECN returns the two bits of explicit congestion notification (RFC 3168).
func (d *Datagram) ECN() uint8 { return d.TOS & 3 }

// Back returns the route of an answer: to the sender, from the address the datagram
// was sent to if that is one of this host, and not of many.
func (d *Datagram) Back() Route {
	r := Route{To: d.From, Path: d.FromPath, From: d.local}
	if d.local.IsLinkLocalUnicast() {
		r.Interface = d.Interface
	}
	return r
}

// Route says where a datagram goes and how. The zero Route leads to the peer of a
// connected socket.
type Route struct {
	To        netip.AddrPort // a zone is the number of its interface
	Path      string         // of a unix socket, in place of To; "@name" is abstract
	From      netip.Addr     // source address, one of ours (else ENETUNREACH, EINVAL); zero: the system's choice
	Interface uint32         // number of the interface it goes out by; 0: the system's choice
	TOS       uint8          // type of service or traffic class; 0: the socket's
}

// PacketOptions configure a Packet. The zero value works.
type PacketOptions struct {
	// QueueCount and QueueBytes bound what Send has queued and the system has not
	// taken; 1024 datagrams and 1 MiB when zero.
	QueueCount int
	QueueBytes int
	// Fragment says how datagrams are sent that are longer than the path's MTU.
	Fragment Fragmenting
	// Timestamps asks when the system received a datagram, which then costs it a look
	// at the clock for each datagram of the whole machine.
	Timestamps bool
	// NoErrors leaves the error queue off. Without it an error of an unconnected
	// socket is lost, and one of a connected socket has neither address nor MTU.
	NoErrors bool
	// NoSplit sends each datagram by itself. Else those of equal size and route that
	// follow each other go to the system in one piece that is split far below
	// (UDP_SEGMENT, GSO).
	NoSplit bool
	// NoJoin keeps the system from joining datagrams of one flow on their way up
	// (UDP_GRO). It is off in any case when a receive buffer (Options.BufferSize) could
	// not hold the longest such piece: use buffers of 128 KiB.
	NoJoin bool
	// NoBatch makes a system call for each datagram that is sent, to see what batches
	// are worth.
	NoBatch bool
}

// Fragmenting is a policy for datagrams longer than the path's MTU.
type Fragmenting uint8

const (
	// FragmentDefault is what the system is set to.
	FragmentDefault Fragmenting = iota
	// FragmentAlways lets them be fragmented, also on the way (IP_PMTUDISC_DONT).
	FragmentAlways
	// FragmentNever sends with the mark not to fragment. One that is longer than what is
	// known of the path's MTU is refused (EMSGSIZE, told by PacketError).
	FragmentNever
	// FragmentProbe is FragmentNever without regard to what is known: to find the MTU.
	FragmentProbe
)

// joinedBytes is the longest payload of a UDP datagram over IPv4: that of joined ones too.
const joinedBytes = 65535 - 20 - 8

// Packet is an endpoint of a datagram socket: UDP over IPv4 or IPv6, or unix, connected
// or not.
//
// Receiving. One multishot receive is in flight; each datagram comes in a receive buffer
// of the loop. What a turn has brought is handed to the handler at its end. Datagrams
// that were joined by the system are cut again, without copying: they share a buffer.
// Without a free buffer nothing is received until one is released, and the system drops
// what its own socket buffer cannot hold ([Packet.Stats]).
//
// Sending. Send queues. What is queued when a turn begins leaves in that turn, with one
// system call for up to 64 datagrams (sendmmsg), on every back end: such a send never
// waits, so there is nothing to be gained from making it an operation. When the socket is
// full the queue waits for write space. Datagrams leave in the order in which they were
// queued.
//
// Errors. An ICMP message and a datagram that is too long do not end the endpoint. They
// are read from the socket's error queue and told with the address that was sent to.
//
// Life. open -> (draining ->) closing -> gone, as a [Stream]'s.
//
// Methods are for the loop's thread, except Loop.
type Packet struct {
	loop *Loop
	h    PacketHandler
	opt  PacketOptions
	id   uint32
	gen  uint32
	fd   int

	family  int // AF_*; 0: not known
	ops     uint16
	ending  uint16
	member  uint8
	state   streamState
	cause   error
	links   [packetLists]packetLink
	failing syscall.Errno // what the last receive ended with, not looked into yet
	sick    bool          // the error queue is to be read
	futile  int           // failed receives in a row that nothing explains

	got []sgmsg.Element // what this turn has brought: buffers as RecvMsg fills them

	out     packetQueue
	alone   int  // so many at the head of the queue are not to be joined
	retried bool // the head has failed once
	refused bool // Send has
	vain    bool // a Poll has ended, and nothing was sent since
	pause   Timer
	linger  Timer // draining
	split   int   // the largest size of datagrams that are sent in one piece; 0: none
	doubt   doubt

	notes []string
	stats PacketStats
}

// PacketStats counts what an endpoint did.
type PacketStats struct {
	In, Out           uint64 // datagrams
	BytesIn, BytesOut uint64
	Truncated         uint64 // received and longer than a buffer
	Dropped           uint64 // queued and not sent: refused by the system, or lost in the end
	Errors            uint64 // told by PacketError
	Joined            uint64 // pieces of several datagrams that were received
	Split             uint64 // pieces of several datagrams that were sent
	Calls             uint64 // of the system, to send
	Lost              uint64 // by the system, since the socket exists, for want of room in its buffer
	Queued            int    // waiting to be sent
	QueuedBytes       int
}

// ListenPacket opens a datagram socket as net.ListenPacket does ("udp", "udp4", "udp6",
// "unixgram") and makes an endpoint of it. A name in place of an IP address keeps the loop
// waiting while it is looked up. Errors are those of net.ListenPacket and of AttachPacket.
// Loop's thread.
func (l *Loop) ListenPacket(network, address string, h PacketHandler, o PacketOptions) (*Packet, error) {
	c, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	return l.attachOpened(c, h, o)
}

// DialPacket is ListenPacket for a connected socket, as net.Dial opens it: with the zero Route
// it sends to that address, and it receives from there only. Loop's thread.
func (l *Loop) DialPacket(network, address string, h PacketHandler, o PacketOptions) (*Packet, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return l.attachOpened(c, h, o)
}

func (l *Loop) attachOpened(c io.Closer, h PacketHandler, o PacketOptions) (*Packet, error) {
	p, err := l.AttachPacketConn(c, h, o)
	if err != nil {
		_ = c.Close()
	}
	return p, err
}

// AttachPacketConn takes over the socket of a *net.UDPConn or *net.UnixConn, which is
// closed. On error it is still the caller's. EINVAL: it has no descriptor.
func (l *Loop) AttachPacketConn(c io.Closer, h PacketHandler, o PacketOptions) (*Packet, error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("attach: %T has no descriptor: %w", c, syscall.EINVAL)
	}
	fd, err := duplicate(sc)
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	p, err := l.AttachPacket(fd, h, o)
	if err != nil {
		closeDuplicate(fd)
		return nil, err
	}
	_ = c.Close()
	return p, nil
}

// AttachPacket makes an endpoint of a datagram socket, bound or connected, and takes the
// descriptor over: the loop closes it. On error the descriptor is still the caller's.
// Receiving starts at once. What the system does not have of the options is in
// [Packet.Notes]. Errors: EPROTOTYPE for a socket of another type, EINVAL for options.
func (l *Loop) AttachPacket(fd int, h PacketHandler, o PacketOptions) (*Packet, error) {
	if l.stop {
		return nil, ErrClosed
	}
	if o.QueueCount < 0 || o.QueueBytes < 0 || o.Fragment > FragmentProbe {
		return nil, fmt.Errorf("attach: packet options %+v: %w", o, syscall.EINVAL)
	}
	if o.QueueCount == 0 {
		o.QueueCount = 1024
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = 1 << 20
	}
	if kind, e := l.be.Option(fd, backend.OptType); e != 0 || kind != syscall.SOCK_DGRAM {
		if e == 0 {
			e = syscall.EPROTOTYPE
		}
		return nil, fmt.Errorf("attach: descriptor %d: %w", fd, e)
	}
	if err := l.be.Attach(fd); err != nil {
		return nil, fmt.Errorf("attach: descriptor %d: %w", fd, err)
	}
	p := &Packet{loop: l, h: h, opt: o, fd: fd, state: open_}
	p.out.limit = o.QueueCount
	p.setOptions()
	p.id, p.gen = l.enroll(p)
	p.steer()
	return p, nil
}

// setOptions switches on what the socket has.
func (p *Packet) setOptions() {
	be := p.loop.be
	p.family, _ = be.Option(p.fd, backend.OptFamily)
	set := func(opt backend.SockOpt, value int, what string) bool {
		e := be.SetOption(p.fd, opt, value)
		if e != 0 {
			p.notes = append(p.notes, fmt.Sprintf("%s: %v", what, e))
		}
		return e == 0
	}
	if p.family != syscall.AF_UNIX {
		set(backend.OptDestination, 1, "no local address of what is received")
		set(backend.OptTOS, 1, "no type of service of what is received")
		if !p.opt.NoErrors {
			set(backend.OptErrors, 1, "no error queue")
		}
		if f := p.opt.Fragment; f != FragmentDefault {
			// IP_PMTUDISC_DONT, _DO, _PROBE of linux/in.h
			set(backend.OptDiscover, [...]int{FragmentAlways: 0, FragmentNever: 2, FragmentProbe: 3}[f], "no choice about fragments")
		}
		if !p.opt.NoSplit && set(backend.OptSplit, 0, "each datagram is sent by itself (UDP_SEGMENT)") {
			p.split = joinedBytes
		}
		if !p.opt.NoJoin {
			if size, need := p.loop.opt.BufferSize, joinedBytes+backend.PacketOverhead; size < need {
				p.notes = append(p.notes, fmt.Sprintf("datagrams are received one by one (UDP_GRO): a receive buffer has %d bytes, joined ones need %d", size, need))
			} else {
				set(backend.OptJoin, 1, "datagrams are received one by one (UDP_GRO)")
			}
		}
	}
	if p.opt.Timestamps {
		set(backend.OptTime, 1, "no time of what is received")
	}
}

// Notes says, a line each, what the endpoint has to do without and why.
func (p *Packet) Notes() []string { return p.notes }

// Loop returns the endpoint's loop.
func (p *Packet) Loop() *Loop { return p.loop }

// FD returns the descriptor, for socket options. It must not be read, written or closed.
func (p *Packet) FD() int { return p.fd }

// LocalAddr returns the socket's own address, *net.UDPAddr or *net.UnixAddr, or nil when
// it is closed.
func (p *Packet) LocalAddr() net.Addr {
	if p.state >= closing {
		return nil
	}
	local, _ := p.loop.be.Names(p.fd)
	return packetAddr(local)
}

// RemoteAddr returns the peer's address; nil when the socket is closed or not connected.
func (p *Packet) RemoteAddr() net.Addr {
	if p.state >= closing {
		return nil
	}
	_, remote := p.loop.be.Names(p.fd)
	if remote == (backend.Addr{}) {
		return nil
	}
	return packetAddr(remote)
}

func packetAddr(a backend.Addr) net.Addr {
	if a.IsUnix() {
		return &net.UnixAddr{Net: "unixgram", Name: a.Path}
	}
	return net.UDPAddrFromAddrPort(a.IP)
}

// PathMTU returns what the system knows of the MTU of the path to an address, the IP
// header included: that of the interface, or less if a router said so. A zero address
// means the peer of a connected socket. It takes some system calls, so it is not for
// every datagram; what is found out later comes with PacketError. The error is the
// errno: ENETUNREACH, EOPNOTSUPP for a unix socket.
func (p *Packet) PathMTU(to netip.AddrPort) (int, error) {
	if p.state >= closing {
		return 0, ErrClosed
	}
	var n int
	var e syscall.Errno
	if to.IsValid() {
		n, e = p.loop.be.PathMTU(&backend.Addr{IP: to})
	} else {
		n, e = p.loop.be.Option(p.fd, backend.OptMTU)
	}
	if e != 0 {
		return 0, e
	}
	return n, nil
}

// Stats returns the counters. One system call.
func (p *Packet) Stats() PacketStats {
	if p.state < closing {
		p.countLost()
	}
	st := p.stats
	st.Queued, st.QueuedBytes = p.out.n, p.out.bytes
	return st
}

func (p *Packet) countLost() {
	if n, e := p.loop.be.Option(p.fd, backend.OptLost); e == 0 {
		p.stats.Lost = uint64(n)
	}
}

func (p *Packet) key(op backend.Op) backend.Key { return backend.MakeKey(op, p.gen, p.id) }

func (p *Packet) complete(ev *backend.Event) {
	op := ev.Key.Op()
	if !ev.More {
		p.ops &^= bit(op)
		p.ending &^= bit(op)
	}
	switch op {
	case backend.OpRecvMsg:
		p.received(ev)
	case backend.OpPoll:
		p.spaced()
	}
	if p.state == closing && p.ops == 0 {
		p.loop.packets[packetDying].push(p)
	}
}
