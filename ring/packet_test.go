//go:build linux

package ring

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/sgmsg"
)

// packetRec is a PacketHandler that collects what it is told. Its fields belong to the
// loop's thread.
type packetRec struct {
	t    testing.TB
	p    *Packet
	echo bool             // sends everything back
	keep []*sgmsg.Message // takes them, if not nil

	got      []arrived
	calls    int
	errors   []PacketError
	sendable int
	closes   int
	cause    error

	onDatagrams func(d []Datagram)
	onError     func(e *PacketError)
}

// arrived is a Datagram with a copy of its bytes.
type arrived struct {
	Datagram
	bytes []byte
}

func (r *packetRec) Datagrams(p *Packet, d []Datagram) {
	r.alive("Datagrams")
	r.calls++
	if len(d) == 0 || len(d) > packetBatch {
		r.t.Errorf("a call with %d datagrams", len(d))
	}
	if r.onDatagrams != nil {
		r.onDatagrams(d)
		return
	}
	for i := range d {
		g := &d[i]
		r.got = append(r.got, arrived{
			Datagram{From: g.From, FromPath: g.FromPath, To: g.To, Interface: g.Interface, Time: g.Time, TOS: g.TOS, Truncated: g.Truncated},
			g.Msg.AppendTo(nil),
		})
		switch {
		case r.echo:
			back := g.Back()
			if err := p.Send(&g.Msg, &back); err != nil {
				r.t.Errorf("echo: %v", err)
			}
		case r.keep != nil:
			r.keep = append(r.keep, g.Msg.Take())
		}
	}
}

func (r *packetRec) PacketError(p *Packet, e *PacketError) {
	r.alive("PacketError")
	r.errors = append(r.errors, *e)
	if r.onError != nil {
		r.onError(e)
	}
}

func (r *packetRec) Sendable(p *Packet) {
	r.alive("Sendable")
	r.sendable++
}

func (r *packetRec) Closed(p *Packet, cause error) {
	r.alive("Closed")
	r.closes++
	r.cause = cause
}

func (r *packetRec) alive(what string) {
	r.t.Helper()
	if r.closes > 0 {
		r.t.Errorf("%s after Closed", what)
	}
}

// listenPacket opens a socket on a loop that runs.
func listenPacket(t testing.TB, l *Loop, network, address string, r *packetRec, o PacketOptions) (at netip.AddrPort) {
	t.Helper()
	r.t = t
	do(t, l, func() {
		p, err := l.ListenPacket(network, address, r, o)
		if err != nil {
			t.Error(err)
			return
		}
		r.p = p
		if a, ok := p.LocalAddr().(*net.UDPAddr); ok {
			at = a.AddrPort()
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return at
}

// udp returns a far end.
func udp(t testing.TB, network, address string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.UDPConn)
}

func addrPort(c net.PacketConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// receive reads a datagram.
func receive(t testing.TB, c *net.UDPConn) ([]byte, netip.AddrPort) {
	t.Helper()
	p := make([]byte, 1<<16)
	n, from, err := c.ReadFromUDPAddrPort(p)
	if err != nil {
		t.Fatal(err)
	}
	return p[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// sendPacket queues a datagram on the loop's thread, which the caller is on.
func sendPacket(t testing.TB, p *Packet, b []byte, r Route) {
	t.Helper()
	m := new(sgmsg.Message)
	if len(b) > 0 {
		m = message(t, p.loop, b)
	}
	if err := p.Send(m, &r); err != nil {
		m.Release()
		t.Error(err)
	}
}

var networks = []struct{ network, address string }{
	{"udp4", "127.0.0.1:0"},
	{"udp6", "[::1]:0"},
}

// TestPacketEcho: datagrams of many sizes, the empty one too, come with their sender and
// the address they were sent to, and go back.
func TestPacketEcho(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		for _, nw := range networks {
			t.Run(nw.network, func(t *testing.T) {
				l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
				r := &packetRec{echo: true}
				at := listenPacket(t, l, nw.network, nw.address, r, PacketOptions{Timestamps: true})
				peer := udp(t, nw.network, nw.address)
				began := time.Now()
				sizes := []int{1, 0, 5, 1000, 1472, 3000, 100}
				for i, n := range sizes {
					want := random(uint64(i), n)
					if _, err := peer.WriteToUDPAddrPort(want, at); err != nil {
						t.Fatal(err)
					}
					got, from := receive(t, peer)
					same(t, "the echo", got, want)
					if from != at {
						t.Fatalf("the echo comes from %v, want %v", from, at)
					}
				}
				do(t, l, func() {
					if len(r.got) != len(sizes) {
						t.Fatalf("%d datagrams, want %d", len(r.got), len(sizes))
					}
					for i, g := range r.got {
						if g.From != addrPort(peer) || g.To != at.Addr() || g.Interface != 1 || g.Truncated || len(g.bytes) != sizes[i] {
							t.Errorf("datagram %d: %+v", i, g.Datagram)
						}
						if d := g.Time.Sub(began); d < 0 || d > patience {
							t.Errorf("datagram %d came %v after the start", i, d)
						}
					}
					st := r.p.Stats()
					if n := uint64(len(sizes)); st.In != n || st.Out != n || st.BytesIn != st.BytesOut || st.Dropped != 0 || st.Errors != 0 {
						t.Errorf("counters %+v", st)
					}
					if ls := l.Stats(); ls.DatagramsIn != st.In || ls.DatagramsOut != st.Out || ls.BytesIn != st.BytesIn {
						t.Errorf("the loop's counters %+v", ls)
					}
				})
			})
		}
	})
}

// TestPacketBothFamilies: a socket for both families shows IPv4 addresses as such and
// sends to them.
func TestPacketBothFamilies(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		r := &packetRec{echo: true}
		port := listenPacket(t, l, "udp", "[::]:0", r, PacketOptions{}).Port()
		for _, nw := range networks {
			peer := udp(t, nw.network, nw.address)
			to := netip.AddrPortFrom(addrPort(peer).Addr(), port)
			// The type of service comes through too.
			if nw.network == "udp4" {
				setInt(t, peer, unix.SOL_IP, unix.IP_TOS, 0x2e)
			} else {
				setInt(t, peer, unix.SOL_IPV6, unix.IPV6_TCLASS, 0x2e)
			}
			if _, err := peer.WriteToUDPAddrPort([]byte(nw.network), to); err != nil {
				t.Fatal(err)
			}
			got, from := receive(t, peer)
			if string(got) != nw.network || from != to {
				t.Errorf("echo %q from %v, want %q from %v", got, from, nw.network, to)
			}
			do(t, l, func() {
				if g := r.got[len(r.got)-1]; g.From != addrPort(peer) || g.To != to.Addr() || g.TOS != 0x2e || g.ECN() != 2 {
					t.Errorf("%s: %+v", nw.network, g.Datagram)
				}
			})
		}
	})
}

func setInt(t testing.TB, c syscall.Conn, level, name, value int) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var serr error
	if err := rc.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), level, name, value) }); err != nil || serr != nil {
		t.Fatal(err, serr)
	}
}

// TestPacketRoute: source address and type of service are the sender's choice.
func TestPacketRoute(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		var from, at packetRec
		port := listenPacket(t, l, "udp4", "0.0.0.0:0", &from, PacketOptions{}).Port()
		to := listenPacket(t, l, "udp4", "127.0.0.1:0", &at, PacketOptions{})
		source := netip.MustParseAddr("127.0.0.7")
		do(t, l, func() {
			sendPacket(t, from.p, []byte("x"), Route{To: to, From: source, TOS: 0xb9})
			sendPacket(t, from.p, []byte("y"), Route{To: to, Interface: 1})
		})
		waitOn(t, l, "two datagrams are there", func() bool { return len(at.got) == 2 })
		do(t, l, func() {
			if g := at.got[0]; g.From != netip.AddrPortFrom(source, port) || g.TOS != 0xb9 {
				t.Errorf("%+v", g.Datagram)
			}
			if g := at.got[1]; g.From != netip.AddrPortFrom(to.Addr(), port) || g.TOS != 0 {
				t.Errorf("%+v", g.Datagram)
			}
		})
	})
}

// TestPacketUnix: unix datagram sockets, with names and without.
func TestPacketUnix(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		dir, err := os.MkdirTemp("", "kcm")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		one, two := filepath.Join(dir, "1"), filepath.Join(dir, "2")
		var a, b packetRec
		listenPacket(t, l, "unixgram", one, &a, PacketOptions{})
		b.echo = true
		listenPacket(t, l, "unixgram", two, &b, PacketOptions{})
		do(t, l, func() { sendPacket(t, a.p, []byte("hello"), Route{Path: two}) })
		waitOn(t, l, "the echo is there", func() bool { return len(a.got) == 1 })
		do(t, l, func() {
			if g := a.got[0]; g.FromPath != two || string(g.bytes) != "hello" {
				t.Errorf("%q from %q", g.bytes, g.FromPath)
			}
			if g := b.got[0]; g.FromPath != one || g.From.IsValid() {
				t.Errorf("%+v", g.Datagram)
			}
			sendPacket(t, a.p, []byte("nobody"), Route{Path: filepath.Join(dir, "3")})
		})
		waitOn(t, l, "the error is told", func() bool { return len(a.errors) == 1 })
		do(t, l, func() {
			if e := a.errors[0]; e.Errno != syscall.ENOENT || !e.Unsent || e.Path != filepath.Join(dir, "3") {
				t.Errorf("%+v", e)
			}
		})
	})
}

// TestPacketConnected: DialPacket sends without an address and hears from its peer only.
func TestPacketConnected(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		for _, nw := range networks {
			l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
			peer, stranger := udp(t, nw.network, nw.address), udp(t, nw.network, nw.address)
			r := &packetRec{t: t}
			var at netip.AddrPort
			do(t, l, func() {
				var err error
				if r.p, err = l.DialPacket(nw.network, peer.LocalAddr().String(), r, PacketOptions{}); err != nil {
					t.Fatal(err)
				}
				at = r.p.LocalAddr().(*net.UDPAddr).AddrPort()
				if got := r.p.RemoteAddr().String(); got != peer.LocalAddr().String() {
					t.Errorf("RemoteAddr %s", got)
				}
				sendPacket(t, r.p, []byte("ping"), Route{TOS: 4})
			})
			if got, from := receive(t, peer); string(got) != "ping" || from != at {
				t.Errorf("%q from %v", got, from)
			}
			stranger.WriteToUDPAddrPort([]byte("stranger"), at)
			peer.WriteToUDPAddrPort([]byte("pong"), at)
			waitOn(t, l, "the answer is there", func() bool { return len(r.got) > 0 })
			do(t, l, func() {
				if g := r.got[0]; string(g.bytes) != "pong" || g.From != addrPort(peer) {
					t.Errorf("%q from %v", g.bytes, g.From)
				}
			})
		}
	})
}

// TestPacketTruncated: what is longer than a buffer is cut, said so and counted.
func TestPacketTruncated(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 16, BufferSize: 1 << 10})
		var r packetRec
		at := listenPacket(t, l, "udp4", "127.0.0.1:0", &r, PacketOptions{})
		peer := udp(t, "udp4", "127.0.0.1:0")
		long, short := random(1, 2000), random(2, 10)
		peer.WriteToUDPAddrPort(long, at)
		peer.WriteToUDPAddrPort(short, at)
		waitOn(t, l, "both are there", func() bool { return len(r.got) == 2 })
		do(t, l, func() {
			if g := r.got[0]; !g.Truncated || len(g.bytes) == 0 || !bytes.HasPrefix(long, g.bytes) {
				t.Errorf("%d bytes, truncated %v", len(g.bytes), g.Truncated)
			}
			if g := r.got[1]; g.Truncated || !bytes.Equal(g.bytes, short) {
				t.Errorf("%d bytes, truncated %v", len(g.bytes), g.Truncated)
			}
			if st, ls := r.p.Stats(), l.Stats(); st.Truncated != 1 || ls.Truncated != 1 {
				t.Errorf("%d truncated, the loop says %d", st.Truncated, ls.Truncated)
			}
		})
	})
}

// TestPacketStarved: with all buffers held datagrams wait in the system, and come when
// buffers are released; what the system's own buffer cannot hold is counted as lost.
func TestPacketStarved(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 4, BufferSize: 1 << 10})
		r := packetRec{keep: []*sgmsg.Message{}}
		at := listenPacket(t, l, "udp4", "127.0.0.1:0", &r, PacketOptions{})
		peer := udp(t, "udp4", "127.0.0.1:0")
		for i := range 10 {
			peer.WriteToUDPAddrPort([]byte{byte(i)}, at)
		}
		waitOn(t, l, "all buffers are held and one is missed", func() bool {
			return len(r.keep) == 4 && r.p.member&(1<<packetStarved) != 0
		})
		// A release on another goroutine wakes the loop.
		for seen := 0; seen < 10; {
			var held []*sgmsg.Message
			do(t, l, func() { held, r.keep = r.keep, []*sgmsg.Message{} })
			for _, m := range held {
				if b := m.AppendTo(nil); len(b) != 1 || int(b[0]) != seen {
					t.Fatalf("datagram %d is %v", seen, b)
				}
				seen++
				m.Release()
			}
		}
		do(t, l, func() {
			r.keep = nil
			unix.SetsockoptInt(r.p.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF, 1) // the least
			r.onDatagrams = func([]Datagram) {}
			for range 1000 { // while the loop is here it receives nothing
				peer.WriteToUDPAddrPort(make([]byte, 500), at)
			}
		})
		waitOn(t, l, "something is lost", func() bool { return r.p.Stats().Lost > 0 })
	})
}

// TestPacketQueue: a full queue refuses and leaves the message; everything queued in one
// turn leaves in one system call, and Sendable tells.
func TestPacketQueue(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		var r packetRec
		listenPacket(t, l, "udp4", "127.0.0.1:0", &r, PacketOptions{QueueCount: 20, QueueBytes: 10000})
		peers := []*net.UDPConn{udp(t, "udp4", "127.0.0.1:0"), udp(t, "udp4", "127.0.0.1:0")}
		do(t, l, func() {
			for i := range 20 {
				sendPacket(t, r.p, fmt.Appendf(nil, "%d", i), Route{To: addrPort(peers[i%2])})
			}
			m := message(t, l, []byte("too many"))
			if err := r.p.SendTo(m, addrPort(peers[0])); !errors.Is(err, syscall.ENOBUFS) || m.Len() != 8 {
				t.Errorf("%v; the message has %d bytes", err, m.Len())
			}
			m.Release()
			if n, b := r.p.Queued(); n != 20 || b != 30 {
				t.Errorf("%d datagrams of %d bytes are queued", n, b)
			}
		})
		waitOn(t, l, "there is room", func() bool { return r.sendable == 1 })
		for i := range 20 {
			if got, _ := receive(t, peers[i%2]); string(got) != fmt.Sprint(i) {
				t.Errorf("datagram %d is %q", i, got)
			}
		}
		do(t, l, func() {
			sendPacket(t, r.p, make([]byte, 9000), Route{To: addrPort(peers[0])})
			m := message(t, l, make([]byte, 1001))
			if err := r.p.SendTo(m, addrPort(peers[0])); !errors.Is(err, syscall.ENOBUFS) {
				t.Errorf("a queue of bytes that is full: %v", err)
			}
			m.Release()
			var parts sgmsg.Message
			for range 65 {
				e, err := l.Alloc(1)
				if err != nil {
					t.Fatal(err)
				}
				parts.Append(e)
			}
			if err := r.p.SendTo(&parts, addrPort(peers[0])); !errors.Is(err, syscall.EMSGSIZE) || parts.Used() != 65 {
				t.Errorf("%d pieces: %v", parts.Used(), err)
			}
			parts.Release()
		})
	})
}

// TestPacketFull: a socket that is full is waited for, and nothing is lost or out of order.
func TestPacketFull(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		peer := conn(t, p[1])
		r := packetRec{t: t}
		const n = 500
		do(t, l, func() {
			if r.p, err = l.AttachPacket(p[0], &r, PacketOptions{}); err != nil {
				t.Fatal(err)
			}
			for i := range n {
				sendPacket(t, r.p, fmt.Appendf(nil, "%d", i), Route{})
			}
		})
		waitOn(t, l, "the socket is full", func() bool { return r.p.member&(1<<packetStuck) != 0 })
		var b [16]byte
		for i := range n {
			k, err := peer.Read(b[:])
			if err != nil || string(b[:k]) != fmt.Sprint(i) {
				t.Fatalf("datagram %d is %q, %v", i, b[:k], err)
			}
		}
		waitOn(t, l, "the queue is empty", func() bool { return r.p.Stats().Out == n && r.p.out.n == 0 })
	})
}

// TestPacketSlowUnix: a peer that is full can only be waited for by a timer when the socket
// is not connected to it.
func TestPacketSlowUnix(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		dir, err := os.MkdirTemp("", "kcm")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		name := filepath.Join(dir, "slow")
		peer, err := net.ListenPacket("unixgram", name)
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		var r packetRec
		listenPacket(t, l, "unixgram", filepath.Join(dir, "fast"), &r, PacketOptions{})
		const n = 400
		do(t, l, func() {
			for i := range n {
				sendPacket(t, r.p, fmt.Append(nil, i), Route{Path: name})
			}
		})
		waitOn(t, l, "the peer is full", func() bool { return r.p.pause.Armed() })
		var b [16]byte
		for i := range n {
			if k, _, err := peer.ReadFrom(b[:]); err != nil || string(b[:k]) != fmt.Sprint(i) {
				t.Fatalf("datagram %d is %q, %v", i, b[:k], err)
			}
		}
	})
}

// TestPacketClose: Close drops what is queued, Drain sends it; nothing is told afterwards,
// and the message queues are given back.
func TestPacketClose(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		for _, drain := range []bool{false, true} {
			l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
			var r packetRec
			at := listenPacket(t, l, "udp4", "127.0.0.1:0", &r, PacketOptions{})
			peer := udp(t, "udp4", "127.0.0.1:0")
			why := errors.New("enough")
			do(t, l, func() {
				sendPacket(t, r.p, []byte("last"), Route{To: addrPort(peer)})
				if drain {
					r.p.Drain(why)
				} else {
					r.p.Close(why)
					r.p.Close(nil)
				}
				m := message(t, l, []byte("late"))
				if err := r.p.SendTo(m, addrPort(peer)); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Send on a closed endpoint: %v", err)
				}
				m.Release()
				peer.WriteToUDPAddrPort([]byte("late"), at)
			})
			waitOn(t, l, "it is closed", func() bool { return r.closes == 1 })
			do(t, l, func() {
				if r.cause != why {
					t.Errorf("the cause is %v", r.cause)
				}
				if len(r.got) != 0 {
					t.Errorf("%d datagrams", len(r.got))
				}
				if want := map[bool]uint64{false: 1, true: 0}[drain]; r.p.Stats().Dropped != want || l.Stats().DatagramsDropped != want {
					t.Errorf("%d dropped, want %d", r.p.Stats().Dropped, want)
				}
			})
			if drain {
				if got, _ := receive(t, peer); string(got) != "last" {
					t.Errorf("%q", got)
				}
			}
		}
	})
}

// A nil Route is the zero one.
func TestPacketNilRoute(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		peer := udp(t, "udp4", "127.0.0.1:0")
		r := &packetRec{t: t}
		do(t, l, func() {
			p, err := l.DialPacket("udp4", peer.LocalAddr().String(), r, PacketOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			var m sgmsg.Message
			if err := m.AppendCopy(l, []byte("ping"), 0); err != nil {
				t.Error(err)
				return
			}
			if err := p.Send(&m, nil); err != nil {
				t.Error(err)
			}
		})
		if t.Failed() {
			return
		}
		if got, _ := receive(t, peer); string(got) != "ping" {
			t.Errorf("received %q", got)
		}
	})
}
