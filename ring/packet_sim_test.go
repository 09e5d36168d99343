//go:build linux

package ring

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

// fullSpy has a datagram socket that is full for as long as it is asked to be.
type fullSpy struct {
	backend.Backend
	full  bool
	room  int // datagrams that it takes all the same
	polls []backend.Key
	due   []backend.Event
}

func (b *fullSpy) SendMsgs(fd int, d []backend.Datagram) (int, syscall.Errno) {
	if !b.full {
		return b.Backend.SendMsgs(fd, d)
	}
	if b.room == 0 {
		return 0, syscall.EAGAIN
	}
	n, e := b.Backend.SendMsgs(fd, d[:min(b.room, len(d))])
	b.room -= n
	return n, e
}

func (b *fullSpy) Poll(k backend.Key, fd int) { b.polls = append(b.polls, k) }

func (b *fullSpy) Cancel(k backend.Key) {
	if k.Op() == backend.OpPoll {
		b.end(-int32(syscall.ECANCELED))
		return
	}
	b.Backend.Cancel(k)
}

// end ends the polls.
func (b *fullSpy) end(res int32) {
	for _, k := range b.polls {
		b.due = append(b.due, backend.Event{Key: k, Res: res})
	}
	b.polls = nil
}

func (b *fullSpy) Wait(ev []backend.Event, timeout time.Duration) (int, error) {
	if len(b.due) > 0 {
		n := copy(ev, b.due)
		b.due = b.due[n:]
		b.Backend.Wait(nil, 0)
		return n, nil
	}
	return b.Backend.Wait(ev, timeout)
}

// packets attaches an endpoint of that name and returns it with a far end.
func (b *bed) packets(r *packetRec, o PacketOptions) (*packetRec, *ringtest.PacketPeer) {
	b.t.Helper()
	fd, err := b.sim.Packet("10.0.0.1:7")
	if err != nil {
		b.t.Fatal(err)
	}
	peer, err := b.sim.PacketPeer("10.0.0.2:7")
	if err != nil {
		b.t.Fatal(err)
	}
	r.t = b.t
	if r.p, err = b.l.AttachPacket(fd, r, o); err != nil {
		b.t.Fatal(err)
	}
	return r, peer
}

// TestPacketEvicted: datagrams that cannot be sent are copied out of the receive buffers, so
// that others can be received; when there is no memory for that, the oldest are lost.
func TestPacketEvicted(t *testing.T) {
	for _, full := range []bool{false, true} {
		o := small()
		o.Buffers = 8
		b := newBed(t, o)
		socket := &fullSpy{Backend: b.l.be, full: true}
		b.l.be = socket
		r, peer := b.packets(&packetRec{echo: true}, PacketOptions{})
		var hog sgmsg.Message
		if full {
			for {
				e, err := b.l.mem.spill.Alloc(512)
				if err != nil {
					break
				}
				hog.Append(e)
			}
		}
		const n = 30
		for i := range n {
			if err := peer.WriteTo(random(uint64(i), 100), "10.0.0.1:7"); err != nil {
				t.Fatal(err)
			}
		}
		b.until("all are received", func() bool { return len(r.got) == n })
		for i, g := range r.got {
			same(t, "datagram", g.bytes, random(uint64(i), 100))
		}
		st, ls := r.p.Stats(), b.l.Stats()
		if full {
			if st.Dropped == 0 || st.Dropped != ls.DatagramsDropped || st.Dropped+uint64(st.Queued) != n {
				t.Errorf("%+v", st)
			}
		} else if st.Queued != n || ls.Evicted < n/2 {
			t.Errorf("%d queued, %d evicted", st.Queued, ls.Evicted)
		}
		hog.Reset()
		if !full { // the socket has room again: the copies leave, in order
			socket.full = false
			socket.end(0)
			b.until("all are sent", func() bool { return r.p.Stats().Out == n })
			b.sim.Settle()
			for i := range n {
				var p [200]byte
				k, _, err := peer.ReadFrom(p[:])
				if err != nil {
					t.Fatal(err)
				}
				same(t, "the echo", p[:k], random(uint64(i), 100))
			}
		}
		why := errors.New("enough")
		r.p.Close(why)
		b.until("it is closed", func() bool { return r.closes == 1 })
		if st := r.p.Stats(); r.cause != why || st.Dropped+st.Out != n {
			t.Errorf("%v, %+v", r.cause, r.p.Stats())
		}
	}
}

// TestPacketPause: a loop does not spin on a socket that is full and says that it is not.
func TestPacketPause(t *testing.T) {
	b := newFaultyBed(t, small(), ringtest.SendAgain)
	r, _ := b.packets(&packetRec{}, PacketOptions{})
	sendPacket(t, r.p, []byte("waits"), Route{To: netip.MustParseAddrPort("10.0.0.2:7")})
	const ms = 20
	b.until("some time has passed", func() bool { return b.sim.Now() >= ms*time.Millisecond })
	if n := r.p.Stats().Calls; n < ms || n > 3*ms {
		t.Errorf("%d attempts in %d ms", n, ms)
	}
}

// TestPacketLost: what the system could not keep is counted.
func TestPacketLost(t *testing.T) {
	network := ringtest.Calm()
	network.PacketBytes = 1000
	b := newBedOn(t, ringtest.New(1, network), small())
	r, peer := b.packets(&packetRec{}, PacketOptions{})
	for range 7 {
		peer.WriteTo(make([]byte, 300), "10.0.0.1:7")
	}
	b.sim.Settle()
	b.until("the rest is received", func() bool { return len(r.got) == 3 })
	if st := r.p.Stats(); st.Lost != 4 || st.In != 3 {
		t.Errorf("%+v", st)
	}
}

// TestPacketBackendFails: an endpoint of a loop that ends is told why, and gives back what
// it has.
func TestPacketBackendFails(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.packets(&packetRec{}, PacketOptions{})
	peer.WriteTo([]byte("x"), "10.0.0.1:7")
	b.until("it is there", func() bool { return len(r.got) == 1 })
	sendPacket(t, r.p, []byte("y"), Route{To: netip.MustParseAddrPort("10.0.0.2:7")})
	b.spy.waitErr = errors.New("no more")
	b.turn()
	if r.closes != 1 || !errors.Is(r.cause, b.spy.waitErr) || r.p.LocalAddr() != nil || r.p.RemoteAddr() != nil {
		t.Errorf("closed %d times: %v", r.closes, r.cause)
	}
	if _, err := r.p.PathMTU(netip.AddrPort{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("PathMTU: %v", err)
	}
}

// TestPacketLoopCloses: so does one that is closed.
func TestPacketLoopCloses(t *testing.T) {
	b := newBed(t, small())
	r, _ := b.packets(&packetRec{}, PacketOptions{})
	sendPacket(t, r.p, []byte("y"), Route{})
	b.close()
	if r.closes != 1 || !errors.Is(r.cause, ErrClosed) {
		t.Errorf("closed %d times: %v", r.closes, r.cause)
	}
	if _, err := b.l.AttachPacket(1, r, PacketOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("AttachPacket: %v", err)
	}
}

// TestPacketRefusals: what cannot be an endpoint is still the caller's.
func TestPacketRefusals(t *testing.T) {
	b := newBed(t, small())
	stream, _ := b.sim.Pair()
	fd, err := b.sim.Packet("10.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fd   int
		o    PacketOptions
		want syscall.Errno
	}{
		{stream, PacketOptions{}, syscall.EPROTOTYPE},
		{1 << 20, PacketOptions{}, syscall.EBADF},
		{fd, PacketOptions{QueueCount: -1}, syscall.EINVAL},
		{fd, PacketOptions{QueueBytes: -1}, syscall.EINVAL},
		{fd, PacketOptions{Fragment: FragmentProbe + 1}, syscall.EINVAL},
	} {
		if _, err := b.l.AttachPacket(c.fd, &packetRec{t: t}, c.o); !isErrno(err, c.want) {
			t.Errorf("%+v: %v, want %v", c.o, err, c.want)
		}
	}
	if len(b.spy.attached) != 0 {
		t.Error("something is left attached")
	}
	if _, err := b.l.AttachPacketConn(nil, &packetRec{t: t}, PacketOptions{}); !isErrno(err, syscall.EINVAL) {
		t.Errorf("AttachPacketConn(nil): %v", err)
	}
}

// TestPacketState: an endpoint has a line in the loop's state.
func TestPacketState(t *testing.T) {
	b := newBed(t, small())
	b.l.be = &fullSpy{Backend: b.l.be, full: true}
	r, _ := b.packets(&packetRec{}, PacketOptions{})
	sendPacket(t, r.p, []byte("waits"), Route{To: netip.MustParseAddrPort("10.0.0.2:7")})
	b.turn()
	var out bytes.Buffer
	if err := b.l.WriteState(&out); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "datagrams") || !strings.Contains(s, "10.0.0.1:7") || !strings.Contains(s, "open, 1 queued (5 bytes)") {
		t.Errorf("%s", s)
	}
}

// TestPacketBroadcast: what was sent to all is told with that address and answered from one
// of the host's own.
func TestPacketBroadcast(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		r := &packetRec{echo: true}
		port := listenPacket(t, l, "udp4", "0.0.0.0:0", r, PacketOptions{}).Port()
		peer := udp(t, "udp4", "127.0.0.1:0")
		setInt(t, peer, unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
		all := netip.AddrPortFrom(netip.MustParseAddr("127.255.255.255"), port)
		if _, err := peer.WriteToUDPAddrPort([]byte("all"), all); err != nil {
			t.Skip(err)
		}
		if got, from := receive(t, peer); string(got) != "all" || from != netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port) {
			t.Errorf("%q from %v", got, from)
		}
		do(t, l, func() {
			if g := r.got[0]; g.To != all.Addr() {
				t.Errorf("sent to %v", g.To)
			}
		})
	})
}

// errorFlood has an error queue that is filled faster than it is read.
type errorFlood struct {
	backend.Backend
	read int
}

func (b *errorFlood) NextError(fd int, e *backend.PacketError) syscall.Errno {
	if b.read++; b.read > 10_000 { // so that a test ends
		return syscall.EAGAIN
	}
	*e = backend.PacketError{Errno: syscall.EHOSTUNREACH, Origin: backend.OriginICMP}
	return 0
}

func (b *errorFlood) SendMsgs(int, []backend.Datagram) (int, syscall.Errno) {
	return 0, syscall.EHOSTUNREACH
}

// TestPacketErrorFlood: a turn reads a bounded number of errors, and goes on with the next.
func TestPacketErrorFlood(t *testing.T) {
	b := newBed(t, small())
	flood := &errorFlood{Backend: b.l.be}
	b.l.be = flood
	r, _ := b.packets(&packetRec{}, PacketOptions{})
	sendPacket(t, r.p, []byte("x"), Route{To: netip.MustParseAddrPort("10.0.0.2:7")})
	for range 5 {
		before := flood.read
		b.turn()
		if n := flood.read - before; n > 4*maxErrors {
			t.Fatalf("a turn read %d errors", n)
		}
	}
	if flood.read < 5*maxErrors || r.closes > 0 {
		t.Errorf("%d errors were read; closed %d times", flood.read, r.closes)
	}
}

// TestPacketDrainLingers: an endpoint that is drained does not wait for ever for a socket that
// is full, but for as long as something leaves.
func TestPacketDrainLingers(t *testing.T) {
	o := small()
	o.Linger = time.Second
	b := newBed(t, o)
	socket := &fullSpy{Backend: b.l.be, full: true}
	b.l.be = socket
	r, _ := b.packets(&packetRec{}, PacketOptions{NoSplit: true})
	const n = 5
	for range n {
		sendPacket(t, r.p, []byte("waits"), Route{To: netip.MustParseAddrPort("10.0.0.2:7")})
	}
	b.until("it is full", func() bool { return len(socket.polls) == 1 })
	r.p.Drain(nil)
	over := false
	b.sim.After(o.Linger/2, func() { over = true })
	b.until("half of the time has passed", func() bool { return over })
	socket.room = 2
	socket.end(0)
	b.until("two are sent", func() bool { return r.p.Stats().Out == 2 })
	began := b.sim.Now()
	b.until("it is closed", func() bool { return r.closes == 1 })
	if d := b.sim.Now() - began; d < o.Linger-tick || d > o.Linger+2*tick {
		t.Errorf("closed %v after the last was sent, want %v", d, o.Linger)
	}
	if st := r.p.Stats(); st.Dropped != n-2 {
		t.Errorf("%+v", st)
	}
}
