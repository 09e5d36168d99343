package contract

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// Sockets is the harness of a backend that works on real descriptors: far ends
// are net connections on the loopback interface and on unix sockets in the
// test's directory.
func Sockets(create func(backend.Config) (backend.Backend, error)) Harness {
	return Harness{
		New: func(t testing.TB, s Sizes) (backend.Backend, *sgmsg.Arena, []byte) {
			t.Helper()
			pool, mapping := NewMemory(t, s)
			b, err := create(backend.Config{Pool: pool, Mapping: mapping, Entries: 256})
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			return b, pool, mapping
		},
		Pair:       RealPair,
		Listen:     RealListen,
		Share:      RealShare,
		Datagram:   RealDatagram,
		PacketPair: RealPacketPair,
		Plain:      RealPlain,
		Discard:    func(fd int) { unix.Close(fd) },
	}
}

// RealPair returns a connected stream; the far end is a net connection.
func RealPair(t testing.TB, _ backend.Backend, network string) (int, Peer) {
	t.Helper()
	ln := listen(t, network)
	defer ln.Close()
	peer := dial(t, ln.Addr())
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return dup(t, c), peer
}

// RealListen returns a listening descriptor that nobody else has.
func RealListen(t testing.TB, _ backend.Backend, network string) (int, backend.Addr, func() Peer) {
	t.Helper()
	ln := listen(t, network)
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // so that the path refuses and is not missing
	}
	defer ln.Close()
	return dup(t, ln), addrOf(ln.Addr()), func() Peer { return dial(t, ln.Addr()) }
}

// RealShare duplicates a descriptor.
func RealShare(t testing.TB, fd int) int {
	t.Helper()
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

// RealDatagram returns a datagram descriptor on 127.0.0.1.
func RealDatagram(t testing.TB, _ backend.Backend, network string) (int, PacketPeer) {
	t.Helper()
	open := func() *net.UDPConn {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c, peer := open(), open()
	defer c.Close()
	t.Cleanup(func() { peer.Close() })
	return dup(t, c), &packetPeer{peer, c.LocalAddr().(*net.UDPAddr).AddrPort()}
}

// RealPacketPair returns a pair of unix sockets: their queue is short, and full when it is
// not read.
func RealPacketPair(t testing.TB) (int, PacketPeer) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(p[1]), "datagrams")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return p[0], pairPeer{c}
}

// pairPeer is the far end of RealPacketPair, whose addresses have no names.
type pairPeer struct{ net.Conn }

func (p pairPeer) Addr() backend.Addr { return backend.Addr{} }

func (p pairPeer) Send(b []byte) error {
	_, err := p.Write(b)
	return err
}

func (p pairPeer) Recv(b []byte) (int, error) {
	p.SetReadDeadline(time.Now().Add(realPatience))
	return p.Read(b)
}

// RealPlain takes a detached descriptor over with package net. That works only
// if the descriptor is non-blocking.
func RealPlain(t testing.TB, fd int) Peer {
	t.Helper()
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Fatalf("flags of the descriptor: %#x, %v, want O_NONBLOCK", flags, err)
	}
	f := os.NewFile(uintptr(fd), "detached")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, c)
}

func listen(t testing.TB, network string) net.Listener {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		// Paths of unix sockets are short; t.TempDir's may not be.
		dir, err := os.MkdirTemp("", "kcm")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		addr = filepath.Join(dir, "s")
	}
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func dial(t testing.TB, to net.Addr) Peer {
	t.Helper()
	c, err := net.DialTimeout(to.Network(), to.String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, c)
}

// dup returns a descriptor of c's socket that outlives c.
func dup(t testing.TB, c any) (fd int) {
	t.Helper()
	rc, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var derr error
	err = rc.Control(func(s uintptr) { fd, derr = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) })
	if err != nil || derr != nil {
		t.Fatal(err, derr)
	}
	return fd
}

func addrOf(a net.Addr) backend.Addr {
	switch a := a.(type) {
	case *net.TCPAddr:
		return backend.Addr{IP: unmap(a.AddrPort())}
	case *net.UDPAddr:
		return backend.Addr{IP: unmap(a.AddrPort())}
	}
	return backend.Addr{Path: a.String()}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// realPatience ends a Read of a far end that would wait for ever.
const realPatience = 10 * time.Second

type peer struct {
	net.Conn
	raw syscall.RawConn
}

func newPeer(t testing.TB, c net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return &peer{c, raw}
}

// Write tries once: net's own Write would wait for space.
func (p *peer) Write(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	cerr := p.raw.Write(func(fd uintptr) bool {
		n, err = unix.SendmsgN(int(fd), b, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return true
	})
	if cerr != nil {
		return 0, cerr
	}
	if err == unix.EAGAIN {
		return 0, nil
	}
	return max(n, 0), err
}

func (p *peer) Read(b []byte) (int, error) {
	p.SetReadDeadline(time.Now().Add(realPatience))
	return p.Conn.Read(b)
}

func (p *peer) CloseWrite() error {
	return p.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func (p *peer) Reset() error {
	if c, ok := p.Conn.(*net.TCPConn); ok {
		if err := c.SetLinger(0); err != nil {
			return err
		}
	}
	return p.Close()
}

func (p *peer) SetReadBuffer(n int) {
	p.Conn.(interface{ SetReadBuffer(int) error }).SetReadBuffer(n)
}

type packetPeer struct {
	c  *net.UDPConn
	to netip.AddrPort
}

func (p *packetPeer) Addr() backend.Addr { return addrOf(p.c.LocalAddr()) }

func (p *packetPeer) Send(b []byte) error {
	_, err := p.c.WriteToUDPAddrPort(b, p.to)
	return err
}

func (p *packetPeer) Recv(b []byte) (int, error) {
	p.c.SetReadDeadline(time.Now().Add(realPatience))
	n, _, err := p.c.ReadFromUDPAddrPort(b)
	return n, err
}

func (p *packetPeer) Close() error { return p.c.Close() }

// Descriptor returns a descriptor of its own for a far end made by RealPair, for
// tests that drive many of them at once. It is closed when the test ends.
func Descriptor(t testing.TB, p Peer) int {
	t.Helper()
	fd := dup(t, p.(*peer).Conn)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}
