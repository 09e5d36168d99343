package contract

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// packet is a RecvMsg buffer taken apart.
type packet struct {
	from    netip.AddrPort
	control int
	length  int // as the header says
	flags   uint32
	payload []byte
}

func (d *bed) parse(p []byte) packet {
	d.t.Helper()
	if len(p) < backend.PacketOverhead {
		d.t.Fatalf("recvmsg: %d bytes, fewer than the fixed part has", len(p))
	}
	word := func(i int) int { return int(binary.NativeEndian.Uint32(p[4*i:])) }
	k := packet{control: word(1), length: word(2), flags: uint32(word(3)), payload: p[backend.PacketOverhead:]}
	if n := word(0); n < 2 || n > backend.NameSpace {
		d.t.Fatalf("recvmsg: a name of %d bytes", n)
	}
	if k.control > backend.ControlSpace {
		d.t.Fatalf("recvmsg: control data of %d bytes", k.control)
	}
	name := p[16:]
	port := binary.BigEndian.Uint16(name[2:])
	switch binary.NativeEndian.Uint16(name) {
	case syscall.AF_INET:
		k.from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:8])), port)
	case syscall.AF_INET6:
		k.from = netip.AddrPortFrom(netip.AddrFrom16([16]byte(name[8:24])), port)
	default:
		d.t.Fatalf("recvmsg: family %d", binary.NativeEndian.Uint16(name))
	}
	return k
}

func (d *bed) datagram(network string) (int, PacketPeer) {
	d.t.Helper()
	fd, peer := d.h.Datagram(d.t, d.b, network)
	return d.attach(fd), peer
}

func (d *bed) sendTo(peer PacketPeer, p []byte) {
	d.t.Helper()
	if err := peer.Send(p); err != nil {
		d.t.Fatalf("the far end's Send: %v", err)
	}
	d.settle()
}

// packets collects n datagrams with RecvMsg kept going.
func (d *bed) packets(o *op, n int) (all [][]byte) {
	d.t.Helper()
	seen := 0
	d.until("all datagrams are received", func() bool {
		all = append(all, o.packets[seen:]...)
		seen = len(o.packets)
		if o.done && len(all) < n {
			if o.res < 0 && o.err() != syscall.ENOBUFS {
				d.t.Fatalf("RecvMsg: %v", o.err())
			}
			d.release()
			o, seen = d.recvMsg(o.fd), 0
		}
		return len(all) >= n
	})
	return all
}

func (d *bed) checkPacket(b []byte, from PacketPeer, want []byte) {
	d.t.Helper()
	k := d.parse(b)
	d.same("payload", k.payload, want)
	if k.length != len(want) {
		d.t.Errorf("payload length %d, want %d", k.length, len(want))
	}
	if k.flags&msgTrunc != 0 {
		d.t.Errorf("flags %#x: truncated", k.flags)
	}
	if k.from != from.Addr().IP {
		d.t.Errorf("from %v, want %v", k.from, from.Addr().IP)
	}
}

// msgTrunc is MSG_TRUNC of Linux.
const msgTrunc = 0x20

// testPacketRecv: datagrams of all sizes, the empty one too, each in a buffer of
// its own with its sender, from before and after RecvMsg was queued.
func testPacketRecv(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 16, BufferSize: 2048})
	fd, peer := d.datagram(network)
	sizes := []int{5, 0, 1, 1472, 2048 - backend.PacketOverhead, 100}
	var want [][]byte
	for i, n := range sizes {
		want = append(want, random(uint64(i), n))
	}
	for _, p := range want[:3] {
		d.sendTo(peer, p)
	}
	o := d.recvMsg(fd)
	d.turn(0)
	for _, p := range want[3:] {
		d.sendTo(peer, p)
	}
	for i, b := range d.packets(o, len(want)) {
		d.checkPacket(b, peer, want[i])
	}
}

// testPacketTruncated: what does not fit its buffer is cut and marked.
func testPacketTruncated(t *testing.T, h Harness, network string) {
	const size = 512
	d := newBed(t, h, Sizes{Buffers: 8, BufferSize: size})
	fd, peer := d.datagram(network)
	long, short := random(1, 1000), random(2, 50)
	d.sendTo(peer, long)
	d.sendTo(peer, short)
	got := d.packets(d.recvMsg(fd), 2)
	k := d.parse(got[0])
	d.same("payload", k.payload, long[:size-backend.PacketOverhead])
	if k.flags&msgTrunc == 0 {
		t.Errorf("flags %#x: not marked as truncated", k.flags)
	}
	if k.length < len(k.payload) {
		t.Errorf("payload length %d, want %d or more", k.length, len(k.payload))
	}
	d.checkPacket(got[1], peer, short)
}

// testPacketNoBuffers: a datagram waits until there is a buffer.
func testPacketNoBuffers(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 2, BufferSize: 512})
	fd, peer := d.datagram(network)
	var want [][]byte
	for i := range 7 {
		want = append(want, random(uint64(20+i), 100+i))
		d.sendTo(peer, want[i])
	}
	d.hold = true
	o := d.recvMsg(fd)
	d.until("RecvMsg is out of buffers", func() bool {
		if o.done && o.res > 0 {
			t.Skip("the backend ends RecvMsg after each datagram")
		}
		return o.done
	})
	if o.err() != syscall.ENOBUFS || len(d.held) != 2 {
		t.Fatalf("RecvMsg ended with %d and %d datagrams, want ENOBUFS and 2", o.res, len(d.held))
	}
	first := o.packets
	d.release()
	for i, b := range append(first, d.packets(d.recvMsg(fd), len(want)-2)...) {
		d.checkPacket(b, peer, want[i])
	}
}

func testPacketCancel(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 4, BufferSize: 512})
	fd, peer := d.datagram(network)
	for i := range 5 {
		o := d.recvMsg(fd)
		d.idle(i % 3)
		if o.done {
			t.Fatalf("RecvMsg ended with %d before it was cancelled", o.res)
		}
		d.cancel(o)
		d.ended(o)
		if o.err() != syscall.ECANCELED {
			t.Fatalf("cancelled RecvMsg ended with %d", o.res)
		}
	}
	want := random(40, 99)
	d.sendTo(peer, want)
	d.checkPacket(d.packets(d.recvMsg(fd), 1)[0], peer, want)
}
