//go:build linux

package ring

import (
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace gives the loop's thread, which ends with the loop, a network of its own,
// with nothing in it but a loopback interface of that MTU.
func inNamespace(t *testing.T, l *Loop, mtu uint32) {
	t.Helper()
	var err error
	do(t, l, func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return
		}
		var fd int
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		var lo *unix.Ifreq
		if lo, err = unix.NewIfreq("lo"); err != nil {
			return
		}
		lo.SetUint32(mtu)
		if err = unix.IoctlIfreq(fd, unix.SIOCSIFMTU, lo); err != nil {
			return
		}
		lo.SetUint16(unix.IFF_UP | unix.IFF_LOOPBACK | unix.IFF_RUNNING)
		err = unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
	})
	if isErrno(err, syscall.EPERM) {
		t.Skip("a network namespace takes CAP_SYS_ADMIN")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPacketMTU: what is longer than the path's MTU and must not be fragmented is refused
// with that MTU, which can be asked for as well; others go on. Without the mark all arrive,
// also those that would have left in one piece.
func TestPacketMTU(t *testing.T) {
	const mtu = 1400
	each(t, func(t *testing.T, be Backend) {
		for _, nw := range networks {
			t.Run(nw.network, func(t *testing.T) {
				l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
				inNamespace(t, l, mtu)
				var r, plain, at packetRec
				to := listenPacket(t, l, nw.network, nw.address, &at, PacketOptions{})
				listenPacket(t, l, nw.network, nw.address, &r, PacketOptions{Fragment: FragmentNever})
				listenPacket(t, l, nw.network, nw.address, &plain, PacketOptions{})
				c := packetRec{t: t}
				do(t, l, func() {
					var err error
					if c.p, err = l.DialPacket(nw.network, to.String(), &c, PacketOptions{Fragment: FragmentProbe}); err != nil {
						t.Fatal(err)
					}
					for _, q := range []struct {
						p  *Packet
						to netip.AddrPort
					}{{r.p, to}, {c.p, netip.AddrPort{}}} {
						if n, err := q.p.PathMTU(q.to); n != mtu || err != nil {
							t.Errorf("PathMTU: %d, %v, want %d", n, err, mtu)
						}
					}
					long, short := make([]byte, 2000), make([]byte, 1000)
					for range 2 { // of one size, so that they might leave in one piece
						sendPacket(t, r.p, long, Route{To: to})
					}
					sendPacket(t, r.p, short, Route{To: to})
					sendPacket(t, c.p, long, Route{})
				})
				waitOn(t, l, "both tell", func() bool { return len(r.errors) >= 2 && len(c.errors) >= 1 && len(at.got) == 1 })
				do(t, l, func() {
					if len(r.errors) != 2 || len(c.errors) != 1 || r.p.Stats().Dropped != 2 {
						t.Errorf("%d and %d errors, %+v", len(r.errors), len(c.errors), r.p.Stats())
					}
					for _, e := range append(r.errors, c.errors...) {
						if e.Errno != syscall.EMSGSIZE || e.MTU != mtu || !e.Unsent || e.ICMP || e.To.IsValid() && e.To != to {
							t.Errorf("%+v", e)
						}
					}
					if n := len(at.got[0].bytes); n != 1000 {
						t.Errorf("%d bytes", n)
					}
					for i := range 3 {
						sendPacket(t, plain.p, random(uint64(i), 2000), Route{To: to})
					}
				})
				waitOn(t, l, "the long ones arrive", func() bool { return len(at.got) == 4 })
				do(t, l, func() {
					for i, g := range at.got[1:] {
						same(t, "datagram", g.bytes, random(uint64(i), 2000))
					}
					if len(plain.errors) != 0 || plain.p.split >= 2000 {
						t.Errorf("errors %v; up to %d bytes are sent in one piece", plain.errors, plain.p.split)
					}
				})
			})
		}
	})
}

// TestPacketUnreachable: an address that there is no way to.
func TestPacketUnreachable(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		inNamespace(t, l, 1500)
		var r packetRec
		at := listenPacket(t, l, "udp4", "127.0.0.1:0", &r, PacketOptions{})
		far := netip.MustParseAddrPort("192.0.2.1:9")
		do(t, l, func() {
			for range 2 {
				sendPacket(t, r.p, []byte("far"), Route{To: far})
			}
			sendPacket(t, r.p, []byte("near"), Route{To: at})
			if _, err := r.p.PathMTU(far); !isErrno(err, syscall.ENETUNREACH) {
				t.Errorf("PathMTU: %v", err)
			}
			if _, ok := r.p.LocalAddr().(*net.UDPAddr); !ok {
				t.Errorf("LocalAddr is %T", r.p.LocalAddr())
			}
		})
		waitOn(t, l, "both errors and the datagram are there", func() bool { return len(r.errors) >= 2 && len(r.got) == 1 })
		do(t, l, func() {
			for _, e := range r.errors {
				if e.Errno != syscall.ENETUNREACH || e.To != far || !e.Unsent {
					t.Errorf("%+v", e)
				}
			}
			if len(r.errors) != 2 {
				t.Errorf("%d errors", len(r.errors))
			}
		})
	})
}

// TestPacketTooBig: a router that cannot forward a datagram says so (RFC 1191), here in a
// message made up by the test, and the handler gets the MTU.
func TestPacketTooBig(t *testing.T) {
	const mtu = 1280
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		inNamespace(t, l, 1500)
		var r, at packetRec
		from := listenPacket(t, l, "udp4", "127.0.0.1:0", &r, PacketOptions{Fragment: FragmentNever})
		to := listenPacket(t, l, "udp4", "127.0.0.1:0", &at, PacketOptions{})
		do(t, l, func() {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
			if err != nil {
				t.Skip(err)
			}
			defer unix.Close(fd)
			// The message, then the header and the first 8 bytes of the datagram.
			b := make([]byte, 8+20+8)
			b[0], b[1] = 3, 4 // destination unreachable: fragmentation needed
			binary.BigEndian.PutUint16(b[6:], mtu)
			ip, udp := b[8:28], b[28:]
			ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
			binary.BigEndian.PutUint16(ip[2:], 1500)
			src, dst := from.Addr().As4(), to.Addr().As4()
			copy(ip[12:], src[:])
			copy(ip[16:], dst[:])
			binary.BigEndian.PutUint16(ip[10:], checksum(ip))
			binary.BigEndian.PutUint16(udp, from.Port())
			binary.BigEndian.PutUint16(udp[2:], to.Port())
			binary.BigEndian.PutUint16(udp[4:], 1480)
			binary.BigEndian.PutUint16(b[2:], checksum(b))
			if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: src}); err != nil {
				t.Fatal(err)
			}
		})
		waitOn(t, l, "it is told", func() bool { return len(r.errors) == 1 })
		do(t, l, func() {
			if e := r.errors[0]; e.Errno != syscall.EMSGSIZE || e.MTU != mtu || e.To != to || !e.ICMP || e.Type != 3 || e.Code != 4 || e.Unsent ||
				e.Offender != from.Addr() || !isErrno(&e, syscall.EMSGSIZE) || e.Error() != "send to "+to.String()+": message too long (MTU 1280)" {
				t.Errorf("%+v: %v", e, &e)
			}
			if len(at.errors) != 0 {
				t.Errorf("%v", at.errors)
			}
			sendPacket(t, r.p, []byte("on"), Route{To: to})
		})
		waitOn(t, l, "it goes on", func() bool { return len(at.got) == 1 })
	})
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
