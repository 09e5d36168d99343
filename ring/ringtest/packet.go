package ringtest

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// maxPayload is the largest payload of a UDP datagram over IPv4.
const maxPayload = 65507

// msgTrunc is MSG_TRUNC of Linux, whose layouts RecvMsg has on every system.
const msgTrunc = 0x20

// packet is a datagram on its way or in a receive queue.
type packet struct {
	from, to backend.Addr
	data     []byte
}

// Packet returns a bound datagram descriptor for a loop, not attached. name is
// as for [Sim.Listen]. The error wraps EADDRINUSE.
func (s *Sim) Packet(name string) (fd int, err error) {
	k := &socket{sim: s, kind: kindPacket}
	if err := s.bind(k, ParseAddr(name)); err != nil {
		return -1, fmt.Errorf("packet: %w", err)
	}
	return s.open(k), nil
}

// PacketPeer is a datagram socket driven by the test. Like a [Peer] it neither
// blocks nor moves the time.
type PacketPeer struct{ sock *socket }

// PacketPeer returns a datagram socket of the test under that name. The error
// wraps EADDRINUSE.
func (s *Sim) PacketPeer(name string) (*PacketPeer, error) {
	k := &socket{sim: s, kind: kindPacket}
	if err := s.bind(k, ParseAddr(name)); err != nil {
		return nil, fmt.Errorf("packet: %w", err)
	}
	return &PacketPeer{k}, nil
}

// Name returns its name.
func (p *PacketPeer) Name() string {
	if a := p.sock.local; !a.IsUnix() {
		return a.IP.String()
	}
	return p.sock.local.Path
}

// WriteTo sends a copy of b to the datagram socket of that name. EMSGSIZE above
// 65507 bytes. That nobody has the name is not found out.
func (p *PacketPeer) WriteTo(b []byte, name string) error {
	if len(b) > maxPayload {
		return syscall.EMSGSIZE
	}
	p.sock.launch(append([]byte(nil), b...), ParseAddr(name))
	return nil
}

// ReadFrom copies the oldest datagram that has arrived, as much of it as fits
// b, and returns its sender's name. EAGAIN when there is none.
func (p *PacketPeer) ReadFrom(b []byte) (n int, from string, err error) {
	k := p.sock
	if len(k.packets) == 0 {
		return 0, "", syscall.EAGAIN
	}
	pkt := k.nextPacket()
	n = copy(b, pkt.data)
	k.sim.note(record{what: didPeer, a: int64(n)})
	if pkt.from.IsUnix() {
		return n, pkt.from.Path, nil
	}
	return n, pkt.from.IP.String(), nil
}

// Close closes the socket. It never fails.
func (p *PacketPeer) Close() error {
	p.sock.close()
	return nil
}

func (k *socket) nextPacket() *packet {
	p := k.packets[0]
	k.packets = k.packets[:copy(k.packets, k.packets[1:])]
	k.bytes -= len(p.data)
	return p
}

// launch sends a datagram on its way, which may lead nowhere. Without faults
// those of one sender arrive in order.
func (k *socket) launch(data []byte, to backend.Addr) {
	s := k.sim
	s.note(record{what: didSend, fd: k.shownFD(), a: int64(len(data))})
	if s.hit(LosePacket) {
		return
	}
	copies := 1
	if s.hit(DoublePacket) {
		copies = 2
	}
	for range copies {
		t := timer{duty: dutyPacket, pkt: &packet{k.local, to, data}}
		if s.hit(OvertakePacket) {
			s.in(s.delay(), t)
			continue
		}
		d := max(s.latency(), k.lastAt-s.now)
		k.lastAt = s.now + d
		s.in(d, t)
	}
}

// arrive puts the datagram in the receive queue, if there is one with room.
func (p *packet) arrive(s *Sim) {
	k := s.names[p.to]
	if k == nil || k.kind != kindPacket || k.remote != (backend.Addr{}) && k.remote != p.from {
		return
	}
	if k.bytes+len(p.data) > s.opt.PacketBytes {
		k.lost++
		return
	}
	s.note(record{what: didArrive, fd: k.shownFD(), a: int64(len(p.data))})
	k.packets = append(k.packets, p)
	k.bytes += len(p.data)
	k.pump()
}

// pumpPackets hands datagrams to the RecvMsg operation.
func (k *socket) pumpPackets(o *op) {
	l := o.loop
	s := k.sim
	if k.kind != kindPacket {
		o.fail(syscall.EOPNOTSUPP)
		return
	}
	if k.rdShut {
		o.fail(syscall.ESHUTDOWN)
		return
	}
	for !o.done && len(k.packets) > 0 {
		if l.noBuffers() {
			o.fail(syscall.ENOBUFS)
			return
		}
		p, segment := k.nextPacket(), 0
		if k.joins {
			p, segment = k.join(p, l.pool.BlockSize()-backend.PacketOverhead)
		}
		buf := l.buffer()
		mem := sgmsg.Element{Buf: buf, Len: uint32(l.pool.BlockSize())}.Bytes()
		o.post(int32(putPacket(mem, p, segment)), buf, !s.hit(EndMultishot))
		if !o.done && s.hit(PauseRecv) {
			s.in(s.delay(), timer{duty: dutyResume, op: o, id: o.id})
			return
		}
	}
}

// join adds to p what follows it from the same sender and has its size, the last of them
// perhaps less, up to max bytes. segment is 0 if nothing was added.
func (k *socket) join(p *packet, most int) (all *packet, segment int) {
	size := len(p.data)
	for last := size; size > 0 && last == size && len(k.packets) > 0 && k.sim.hit(JoinPackets); {
		next := k.packets[0]
		last = len(next.data)
		if next.from != p.from || last == 0 || last > size || len(p.data)+last > min(most, maxPayload) {
			break
		}
		p = &packet{p.from, p.to, append(p.data[:len(p.data):len(p.data)], k.nextPacket().data...)}
		segment = size
	}
	return p, segment
}

// putPacket lays a datagram out as a multishot recvmsg of io_uring does
// (struct io_uring_recvmsg_out, linux/io_uring.h) and returns the length.
func putPacket(mem []byte, p *packet, segment int) int {
	const head = backend.PacketOverhead
	clear(mem[:head])
	n := copy(mem[head:], p.data)
	flags := uint32(0)
	if n < len(p.data) {
		flags = msgTrunc
	}
	ne := binary.NativeEndian
	ne.PutUint32(mem[0:], uint32(putSockaddr(mem[16:16+backend.NameSpace], p.from)))
	if segment > 0 {
		ne.PutUint32(mem[4:], uint32(backend.PutSegment(mem[16+backend.NameSpace:head], segment)))
	}
	ne.PutUint32(mem[8:], uint32(n))
	ne.PutUint32(mem[12:], flags)
	return head + n
}

// putSockaddr writes the address as Linux lays out sockaddr_in, sockaddr_in6
// and sockaddr_un and returns its length.
func putSockaddr(mem []byte, a backend.Addr) int {
	ne := binary.NativeEndian
	ip := a.IP.Addr()
	switch {
	case a.IsUnix():
		ne.PutUint16(mem, 1)
		n := copy(mem[2:110], a.Path)
		if n == 0 {
			return 2
		}
		if a.Path[0] == '@' {
			mem[2] = 0
			return 2 + n
		}
		return 2 + n + 1
	case ip.Is4():
		ne.PutUint16(mem, 2)
		binary.BigEndian.PutUint16(mem[2:], a.IP.Port())
		copy(mem[4:], ip.AsSlice())
		return 16
	default:
		ne.PutUint16(mem, 10)
		binary.BigEndian.PutUint16(mem[2:], a.IP.Port())
		copy(mem[8:], ip.AsSlice())
		return 28
	}
}
