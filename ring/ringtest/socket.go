package ringtest

import (
	"net/netip"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// firstFD is the lowest descriptor. It lies above what a process has of its
// own, so that a simulated descriptor that strays into a real system call meets
// EBADF and not somebody's file.
const firstFD = 1 << 16

// kind is what a socket is.
type kind uint8

const (
	kindStream kind = iota
	kindListener
	kindPacket
)

// socket is one end, held by a descriptor or by a Peer.
type socket struct {
	sim    *Sim
	fd     int // 0: not a descriptor (yet)
	kind   kind
	loop   *loop // attached to
	closed bool
	ops    [backend.OpRecvMsg + 1]*op

	local, remote backend.Addr

	// Streams. in and out are nil until connected.
	in, out    *pipe
	to         backend.Addr // what Connect was asked for
	connecting bool
	err        syscall.Errno // told once, to whoever asks first
	dead       bool          // reset
	rdShut     bool
	wrShut     bool

	// Listeners.
	backlog []*socket

	// Datagrams.
	packets []*packet
	bytes   int           // in packets
	lastAt  time.Duration // when the youngest datagram sent arrives
	joins   bool          // asked to join datagrams
	lost    int           // for want of room
}

// open gives the socket the lowest free descriptor, as a kernel does.
func (s *Sim) open(k *socket) int {
	i := s.lowest
	for i < len(s.socks) && s.socks[i] != nil {
		i++
	}
	if i == len(s.socks) {
		s.socks = append(s.socks, nil)
	}
	s.socks[i] = k
	s.lowest = i + 1
	k.fd = firstFD + i
	s.note(record{what: didOpen, fd: int32(k.fd)})
	return k.fd
}

// sock returns the socket of a descriptor, or nil.
func (s *Sim) sock(fd int) *socket {
	if i := fd - firstFD; i >= 0 && i < len(s.socks) {
		return s.socks[i]
	}
	return nil
}

// shownFD is the descriptor for the trace.
func (k *socket) shownFD() int32 { return int32(k.fd) }

// drop gives up the descriptor and closes the socket.
func (s *Sim) drop(k *socket) {
	if k.fd != 0 {
		i := k.fd - firstFD
		s.socks[i] = nil
		s.lowest = min(s.lowest, i)
	}
	k.close()
}

// close is what close(2) does: the far end finds the end of the stream, or a
// reset if bytes were left unread.
func (k *socket) close() {
	if k.closed {
		return
	}
	k.sim.note(record{what: didClose, fd: k.shownFD()})
	if k.out != nil && !k.dead {
		if k.in.readable() > 0 {
			k.sendReset()
		} else {
			k.shutdown(syscall.SHUT_WR)
		}
	}
	k.closed = true
	if k.in != nil {
		k.in.head = k.in.arrived
	}
	if n := k.sim.names[k.local]; n == k {
		delete(k.sim.names, k.local)
	}
	for _, c := range k.backlog {
		c.sendReset()
		c.closed = true
	}
	k.backlog, k.packets = nil, nil
}

// shutdown is shutdown(2).
func (k *socket) shutdown(how int) syscall.Errno {
	if k.kind == kindListener {
		k.rdShut = true
		k.pumpAccept()
		return 0
	}
	if k.out == nil || k.dead {
		return syscall.ENOTCONN
	}
	k.sim.note(record{what: didShutdown, fd: k.shownFD(), a: int64(how)})
	if how != syscall.SHUT_RD && !k.wrShut {
		k.wrShut = true
		k.out.launch(k.out.tail, true)
		k.pumpPoll()
	}
	if how != syscall.SHUT_WR {
		k.rdShut = true
		k.pump()
	}
	return 0
}

// sendReset sends a reset to the far end. What is on its way there is lost, and
// what comes from there is for nobody.
func (k *socket) sendReset() {
	if k.out == nil || k.out.dead {
		return
	}
	k.out.kill()
	k.sim.in(k.sim.latency(), timer{duty: dutyReset, sock: k.out.dst})
}

// reset is called when a reset arrives.
func (k *socket) reset() {
	if k.dead || k.closed {
		return
	}
	k.sim.note(record{what: didReset, fd: k.shownFD()})
	k.dead = true
	k.err = syscall.ECONNRESET
	k.in.kill()
	k.out.kill()
	if k.in.readable() > 0 && k.sim.hit(ResetDrops) {
		k.in.head = k.in.arrived
	}
	k.pump()
	k.pumpPoll()
}

// failure returns the error of a stream that has failed, once, or 0.
func (k *socket) failure() syscall.Errno {
	e := k.err
	k.err = 0
	return e
}

// connect makes a stream of two sockets.
func (s *Sim) connect(a, b *socket) {
	ab := &pipe{sim: s, src: a, dst: b, limit: s.opt.StreamBytes}
	ba := &pipe{sim: s, src: b, dst: a, limit: s.opt.StreamBytes}
	a.out, b.in = ab, ab
	b.out, a.in = ba, ba
}

// pair makes a connected stream of two new sockets named like a pair of TCP
// sockets on one host.
func (s *Sim) pair() (a, b *socket) {
	a, b = &socket{sim: s}, &socket{sim: s}
	a.local, b.local = s.ephemeral(loopback), s.ephemeral(loopback)
	a.remote, b.remote = b.local, a.local
	s.connect(a, b)
	return a, b
}

// Pair returns a connected stream: a descriptor for a loop, not attached, and
// the far end for the test.
func (s *Sim) Pair() (fd int, p *Peer) {
	a, b := s.pair()
	return s.open(a), &Peer{b}
}

// PairLoops returns the two descriptors of a connected stream, neither
// attached, for one loop or for two.
func (s *Sim) PairLoops() (fd1, fd2 int) {
	a, b := s.pair()
	return s.open(a), s.open(b)
}

// Take takes over the stream descriptor, which no loop knows (any more), as a
// far end of the test: what a plain connection is to a detached descriptor.
func (s *Sim) Take(fd int) *Peer {
	k := s.sock(fd)
	if k == nil || k.loop != nil || k.kind != kindStream || k.in == nil {
		s.violation("Take: descriptor %d is no stream, or is attached", fd)
	}
	i := fd - firstFD
	s.socks[i] = nil
	s.lowest = min(s.lowest, i)
	k.fd = 0
	return &Peer{k}
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// ephemeral returns a name nobody has.
func (s *Sim) ephemeral(ip netip.Addr) backend.Addr {
	for {
		if s.port++; s.port < 32768 {
			s.port = 32768
		}
		a := backend.Addr{IP: netip.AddrPortFrom(ip, s.port)}
		if s.names[a] == nil {
			return a
		}
	}
}

// ParseAddr turns "10.0.0.1:80" or "[::1]:80" into an IP name and anything else
// into the path of a unix socket.
func ParseAddr(name string) backend.Addr {
	if ip, err := netip.ParseAddrPort(name); err == nil {
		return backend.Addr{IP: ip}
	}
	return backend.Addr{Path: name}
}
