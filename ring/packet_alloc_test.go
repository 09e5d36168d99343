//go:build linux

package ring

import (
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/uring"
)

// bouncer sends everything back, without looking.
type bouncer struct {
	packetRec
	seen uint64
}

func (b *bouncer) Datagrams(p *Packet, d []Datagram) {
	b.seen += uint64(len(d))
	for i := range d {
		back := d[i].Back()
		if err := p.Send(&d[i].Msg, &back); err != nil {
			b.t.Errorf("Send: %v", err)
		}
	}
}

// bounce makes a loop that is driven by hand and two endpoints on it, between which n
// datagrams go back and forth.
func bounce(t testing.TB, be Backend, network, address string, o PacketOptions, n, size int) (*Loop, *[2]bouncer) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	l, err := NewWith(open(be, uring.AllSwitches), wide(be))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var b [2]bouncer
	var at [2]netip.AddrPort
	for i := range b {
		b[i].t = t
		p, err := l.ListenPacket(network, address, &b[i], o)
		if err != nil {
			t.Fatal(err)
		}
		b[i].p = p
		at[i] = p.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	for i := range n {
		sendPacket(t, b[0].p, random(uint64(i), size), Route{To: at[1]})
	}
	return l, &b
}

// TestPacketAllocatesNothing: datagrams in and out cost the collector nothing, one by one
// and in pieces of many.
func TestPacketAllocatesNothing(t *testing.T) {
	skipAllocs(t)
	each(t, func(t *testing.T, be Backend) {
		for _, nw := range networks {
			for _, o := range []PacketOptions{{}, {NoSplit: true, Timestamps: true}, {NoJoin: true, NoBatch: true}} {
				l, b := bounce(t, be, nw.network, nw.address, o, 10, 1000)
				for range 50 {
					l.Turn()
				}
				before := b[0].seen + b[1].seen
				if n := testing.AllocsPerRun(200, func() { l.Turn() }); n != 0 {
					t.Errorf("%s, %+v: %v allocations for a turn", nw.network, o, n)
				}
				if seen := b[0].seen + b[1].seen - before; seen < 100 {
					t.Errorf("%s, %+v: only %d datagrams were seen", nw.network, o, seen)
				}
			}
		}
	})
}
