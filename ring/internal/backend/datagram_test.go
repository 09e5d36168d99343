//go:build linux

package backend

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
)

// TestSockaddr: what is written is read again.
func TestSockaddr(t *testing.T) {
	for _, a := range []Addr{
		{IP: netip.MustParseAddrPort("192.0.2.1:53")},
		{IP: netip.MustParseAddrPort("[2001:db8::1]:53")},
		{IP: netip.MustParseAddrPort("[fe80::1%7]:65535")},
		{Path: "/run/x"},
		{Path: "@abstract"},
	} {
		var p [NameSpace]byte
		n, e := PutSockaddr(p[:], &a)
		if e != 0 {
			t.Fatalf("%v: %v", a, e)
		}
		if got := ParseSockaddr(p[:n]); got != a {
			t.Errorf("%v is read as %v", a, got)
		}
	}
	mapped := Addr{IP: netip.MustParseAddrPort("[::ffff:192.0.2.1]:53")}
	var p [NameSpace]byte
	n, _ := PutSockaddr(p[:], &mapped)
	if got := ParseSockaddr(p[:n]); got.IP.String() != "192.0.2.1:53" {
		t.Errorf("a mapped address is read as %v", got)
	}
	for _, a := range []Addr{{Path: string(make([]byte, 108))}, {}, {IP: netip.MustParseAddrPort("[fe80::1%eth0]:1")}} {
		if _, e := PutSockaddr(p[:], &a); e != syscall.EINVAL {
			t.Errorf("%v: %v, want EINVAL", a, e)
		}
	}
}

// received is a RecvMsg buffer with that control data.
func received(control []byte) []byte {
	p := make([]byte, PacketOverhead)
	binary.NativeEndian.PutUint32(p[4:], uint32(len(control)))
	copy(p[16+NameSpace:], control)
	return p
}

// TestControl: what is sent along is laid out as what is received is read.
func TestControl(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		d    Datagram
		want Received
	}{
		{Datagram{From: v4, Interface: 3, TOS: 0xb8, Segment: 1200},
			Received{To: netip.IPv4Unspecified(), Local: v4, Interface: 3, TOS: 0xb8}},
		{Datagram{From: v6, Interface: 4, TOS: 2, Six: true}, Received{To: v6, Local: v6, Interface: 4, TOS: 2}},
		{Datagram{TOS: 1}, Received{TOS: 1}},
		{Datagram{}, Received{}},
	} {
		var room [controlWords * 8]byte
		control := controlOf(room[:0], &c.d)
		var r Received
		if ParseReceived(received(control), &r); r != c.want {
			t.Errorf("%+v: %+v, want %+v", c.d, r, c.want)
		}
	}
	var room [64]byte
	var r Received
	if ParseReceived(received(room[:PutSegment(room[:], 1400)]), &r); r.Segment != 1400 {
		t.Errorf("segment %d", r.Segment)
	}
}

// FuzzReceived: whatever is in a buffer, it is read within its bounds.
func FuzzReceived(f *testing.F) {
	var room [64]byte
	f.Add(received(room[:PutSegment(room[:], 1400)]))
	var a [NameSpace]byte
	n, _ := PutSockaddr(a[:], &Addr{Path: "@x"})
	f.Add(append(make([]byte, 16), a[:n]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := make([]byte, PacketOverhead)
		copy(p, b)
		var r Received
		ParseReceived(p, &r)
		if r.From.IP.IsValid() && r.From.Path != "" {
			t.Errorf("%+v", r)
		}
	})
}

// TestSendMsgsBounds: more pieces than there is room for are an error, and more datagrams
// are left for the next call.
func TestSendMsgsBounds(t *testing.T) {
	heap := sgmsg.NewHeap(512)
	defer heap.Close(nil)
	e, err := heap.Alloc(1)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Buf.Release()
	v := make([]sgmsg.Element, MaxPieces+1)
	for i := range v {
		v[i] = e
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fds[0])
	defer syscall.Close(fds[1])
	var f DatagramFD
	if n, e := f.SendMsgs(fds[0], []Datagram{{Vec: v}}); n != 0 || e != syscall.EMSGSIZE {
		t.Errorf("%d, %v, want EMSGSIZE", n, e)
	}
	if n, e := f.SendMsgs(fds[0], []Datagram{{Vec: v[:1]}, {Vec: v}}); n != 1 || e != 0 {
		t.Errorf("%d, %v, want the first", n, e)
	}
	n, e2 := f.SendMsgs(fds[0], make([]Datagram, MaxDatagrams+1))
	if n < 1 || n > MaxDatagrams || e2 != 0 {
		t.Errorf("%d, %v, want no more than %d", n, e2, MaxDatagrams)
	}
	// An address that cannot be is the error of its own datagram.
	bad := Datagram{To: Addr{Path: string(make([]byte, 200))}}
	if n, e := f.SendMsgs(fds[0], []Datagram{bad}); n != 0 || e != syscall.EINVAL {
		t.Errorf("%d, %v, want EINVAL", n, e)
	}
}
