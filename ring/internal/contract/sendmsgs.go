package contract

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// outgoing makes a Datagram of p, cut into elements at the given positions. Its memory is
// given back at the end of the test.
func (d *bed) outgoing(p []byte, to backend.Addr, cuts ...int) backend.Datagram {
	d.t.Helper()
	var o op
	d.fill(&o, p, cuts)
	d.loose = append(d.loose, o.elems...)
	return backend.Datagram{Vec: append([]sgmsg.Element(nil), o.elems...), To: to}
}

// sendAll sends the datagrams and wants them all to be taken by one call.
func (d *bed) sendAll(fd int, v ...backend.Datagram) {
	d.t.Helper()
	n, errno := d.b.SendMsgs(fd, v)
	if n != len(v) || errno != 0 {
		d.t.Fatalf("SendMsgs: %d of %d datagrams, %v", n, len(v), errno)
	}
	clear(v) // nothing of it is kept
	d.settle()
}

func (d *bed) receive(peer PacketPeer, want []byte) {
	d.t.Helper()
	got := make([]byte, 1<<16)
	m, err := peer.Recv(got)
	if err != nil {
		d.t.Fatal(err)
	}
	d.same("datagram", got[:m], want)
}

// testPacketSend: one datagram and many, in order, of all sizes, with an address and,
// once connected, without.
func testPacketSend(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 2, BufferSize: 512})
	fd, peer := d.datagram(network)
	to := peer.Addr()
	var all [][]byte
	for i, n := range []int{1, 1000, 0, 1400, 30} {
		want := random(uint64(30+i), n)
		all = append(all, want)
		d.sendAll(fd, d.outgoing(want, to, n/4, n/2))
		d.receive(peer, want)
	}
	var v []backend.Datagram
	for i := range backend.MaxDatagrams {
		v = append(v, d.outgoing(all[i%len(all)], to))
	}
	d.sendAll(fd, v...)
	for i := range backend.MaxDatagrams {
		d.receive(peer, all[i%len(all)])
	}

	c := d.connect(fd, to)
	d.ended(c)
	if c.res != 0 {
		t.Fatalf("Connect: %v", c.err())
	}
	d.sendAll(fd, d.outgoing([]byte("connected"), backend.Addr{}))
	d.receive(peer, []byte("connected"))
}

// testPacketSplit: what is given in one piece arrives as datagrams, the last one shorter.
func testPacketSplit(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 2, BufferSize: 512})
	fd, peer := d.datagram(network)
	if e := d.b.SetOption(fd, backend.OptSplit, 0); e != 0 {
		t.Skipf("UDP_SEGMENT: %v", e)
	}
	for _, c := range []struct{ total, size int }{{1000, 400}, {1200, 400}, {640, 10}, {3, 2}} {
		p := random(uint64(c.total), c.total)
		g := d.outgoing(p, peer.Addr(), c.total/3, c.total/2)
		g.Segment = c.size
		d.sendAll(fd, g, d.outgoing([]byte("behind"), peer.Addr()))
		for len(p) > 0 {
			n := min(len(p), c.size)
			d.receive(peer, p[:n])
			p = p[n:]
		}
		d.receive(peer, []byte("behind"))
	}
}

// testPacketSendErrors: the first one that fails ends the batch, and says why when it is
// the first of the next.
func testPacketSendErrors(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 2, BufferSize: 512})
	fd, peer := d.datagram(network)
	to := peer.Addr()
	nobody := d.outgoing([]byte("to whom?"), backend.Addr{})
	long := d.outgoing(random(1, 70000), to, 1000)
	fine := d.outgoing([]byte("fine"), to)
	for _, c := range []struct {
		v     []backend.Datagram
		n     int
		errno syscall.Errno
	}{
		{[]backend.Datagram{nobody, fine}, 0, syscall.EDESTADDRREQ},
		{[]backend.Datagram{long, fine}, 0, syscall.EMSGSIZE},
		{[]backend.Datagram{fine, long, fine}, 1, 0},
		{[]backend.Datagram{fine}, 1, 0},
	} {
		if n, errno := d.b.SendMsgs(fd, c.v); n != c.n || errno != c.errno {
			t.Errorf("SendMsgs: %d, %v, want %d, %v", n, errno, c.n, c.errno)
		}
		d.settle()
	}
	d.receive(peer, []byte("fine"))
	d.receive(peer, []byte("fine"))
}

// testPacketFull: a socket that is full says EAGAIN, and Poll says when it no longer is.
func testPacketFull(t *testing.T, h Harness, network string) {
	if h.PacketPair == nil {
		t.Skip("a datagram is sent or lost at once")
	}
	d := newBed(t, h, Sizes{Buffers: 2, BufferSize: 512})
	fd, peer := h.PacketPair(t)
	fd = d.attach(fd)
	sent := 0
	for ; ; sent++ {
		if sent > 100_000 {
			t.Fatal("the socket is never full")
		}
		n, errno := d.b.SendMsgs(fd, []backend.Datagram{d.outgoing(fmt.Append(nil, sent), backend.Addr{})})
		if n == 1 {
			continue
		}
		if errno != syscall.EAGAIN {
			t.Fatalf("SendMsgs: %v", errno)
		}
		break
	}
	o := d.poll(fd)
	d.idle(3)
	if o.done {
		t.Fatal("Poll of a full socket has ended")
	}
	for i := range sent {
		d.receive(peer, fmt.Append(nil, i))
	}
	d.ended(o)
	if o.res != 0 {
		t.Fatalf("Poll: %d", o.res)
	}
	d.sendAll(fd, d.outgoing([]byte("room"), backend.Addr{}))
	d.receive(peer, []byte("room"))
}

// testPacketOptions: what a receive tells when it is asked to, in the fixed part.
func testPacketOptions(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 8, BufferSize: 1024})
	fd, peer := d.datagram(network)
	if family, e := d.b.Option(fd, backend.OptFamily); e != 0 || family != syscall.AF_INET {
		t.Fatalf("the family is %d, %v", family, e)
	}
	if n, e := d.b.Option(fd, backend.OptLost); e != 0 || n != 0 {
		t.Errorf("%d datagrams are lost, %v", n, e)
	}
	told := map[backend.SockOpt]bool{}
	for _, opt := range []backend.SockOpt{backend.OptDestination, backend.OptTOS, backend.OptTime} {
		switch e := d.b.SetOption(fd, opt, 1); e {
		case 0:
			told[opt] = true
		case syscall.ENOPROTOOPT, syscall.EOPNOTSUPP:
		default:
			t.Errorf("option %d: %v", opt, e)
		}
	}
	want := random(3, 100)
	d.sendTo(peer, want)
	got := d.packets(d.recvMsg(fd), 1)[0]
	d.same("payload", got[backend.PacketOverhead:], want)
	var r backend.Received
	backend.ParseReceived(got, &r)
	if r.From != peer.Addr() || r.Segment != 0 || r.Truncated || r.TOS != 0 {
		t.Errorf("%+v", r)
	}
	local, _ := d.b.Names(fd)
	if want := local.IP.Addr(); told[backend.OptDestination] && r.To != want || !told[backend.OptDestination] && r.To != (netip.Addr{}) {
		t.Errorf("sent to %v, want %v", r.To, want)
	}
	if told[backend.OptTime] != (r.Time > 0) {
		t.Errorf("received at %d", r.Time)
	}
}

// testPacketErrors: an error of an earlier datagram is told by the queue, with its address,
// and the receive that it ended can be queued again.
func testPacketErrors(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 8, BufferSize: 1024})
	fd, peer := d.datagram(network)
	var e backend.PacketError
	if errno := d.b.NextError(fd, &e); errno != syscall.EAGAIN {
		t.Fatalf("NextError: %v, want EAGAIN", errno)
	}
	if errno := d.b.SetOption(fd, backend.OptErrors, 1); errno != 0 {
		t.Skipf("no error queue: %v", errno)
	}
	to := peer.Addr()
	peer.Close()
	o := d.recvMsg(fd)
	d.idle(2)
	d.sendAll(fd, d.outgoing([]byte("to nobody"), to))
	d.ended(o)
	if o.err() != syscall.ECONNREFUSED {
		t.Fatalf("RecvMsg: %v, want ECONNREFUSED", o.err())
	}
	if errno := d.b.NextError(fd, &e); errno != 0 || e.Errno != syscall.ECONNREFUSED || e.To != to || e.Origin != backend.OriginICMP {
		t.Errorf("NextError: %v, %+v", errno, e)
	}
	if errno := d.b.NextError(fd, &e); errno != syscall.EAGAIN {
		t.Errorf("NextError: %v, want EAGAIN", errno)
	}
	o = d.recvMsg(fd)
	d.idle(3)
	if o.done {
		t.Fatalf("RecvMsg after the queue is empty: %d", o.res)
	}
}
