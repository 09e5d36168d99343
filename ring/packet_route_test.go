//go:build linux

package ring

import (
	"net/netip"
	"syscall"
	"testing"
)

// TestPacketWrongFamily: a source address that a socket of this family cannot have loses the
// datagram and nothing else.
func TestPacketWrongFamily(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		var from, at packetRec
		listenPacket(t, l, "udp4", "127.0.0.1:0", &from, PacketOptions{})
		to := listenPacket(t, l, "udp4", "127.0.0.1:0", &at, PacketOptions{})
		do(t, l, func() {
			sendPacket(t, from.p, []byte("before"), Route{To: to})
			sendPacket(t, from.p, []byte("wrong"), Route{To: to, From: netip.IPv6Loopback()})
			sendPacket(t, from.p, []byte("behind"), Route{To: to})
		})
		waitOn(t, l, "the others are there", func() bool { return len(at.got) == 2 })
		do(t, l, func() {
			if e := from.errors; len(e) != 1 || e[0].Errno != syscall.EINVAL || !e[0].Unsent {
				t.Errorf("%v", e)
			}
		})
	})
}

// TestPacketBadRoute: that datagrams to an address that cannot be sent to are refused, in one
// piece as by themselves, says nothing of those to others. Anybody can have an echo sent to
// port 0.
func TestPacketBadRoute(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		var from, at packetRec
		listenPacket(t, l, "udp4", "127.0.0.1:0", &from, PacketOptions{})
		to := listenPacket(t, l, "udp4", "127.0.0.1:0", &at, PacketOptions{})
		do(t, l, func() {
			if from.p.split == 0 {
				t.Skipf("%q", from.p.Notes())
			}
			notes := len(from.p.Notes())
			for range 2 {
				sendPacket(t, from.p, []byte{1}, Route{To: netip.AddrPortFrom(to.Addr(), 0)})
			}
			for range 4 {
				sendPacket(t, from.p, []byte{1}, Route{To: to})
			}
			from.p.transmit()
			if st := from.p.Stats(); st.Dropped != 2 || st.Out != 4 || st.Split != 1 || len(from.p.Notes()) != notes {
				t.Errorf("%+v, notes %q", st, from.p.Notes())
			}
		})
	})
}
