//go:build linux

package ring

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// wide are options whose buffers can hold joined datagrams.
func wide(be Backend) Options {
	return Options{Backend: be, Buffers: 16, BufferSize: 128 << 10, Credit: 128 << 10}
}

// TestPacketSplit: runs of equal size and route leave in one piece, arrive in one piece, and
// are datagrams again for whoever looks, in order and with nothing changed. Each of both can
// be switched off.
func TestPacketSplit(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		for _, c := range []struct {
			name           string
			out, in        PacketOptions
			pieces, joined bool
		}{
			{"both", PacketOptions{}, PacketOptions{}, true, true},
			{"split only", PacketOptions{}, PacketOptions{NoJoin: true}, true, false},
			{"neither", PacketOptions{NoSplit: true}, PacketOptions{}, false, false},
			{"one by one", PacketOptions{NoSplit: true, NoBatch: true}, PacketOptions{}, false, false},
		} {
			t.Run(c.name, func(t *testing.T) {
				l := start(t, wide(be))
				var from, at packetRec
				source := listenPacket(t, l, "udp4", "127.0.0.1:0", &from, c.out)
				to := listenPacket(t, l, "udp4", "127.0.0.1:0", &at, c.in)
				do(t, l, func() {
					if n := append(from.p.Notes(), at.p.Notes()...); len(n) > 0 {
						t.Skip(n)
					}
				})
				// Runs of several sizes: with a shorter end, without, longer than one
				// piece may be, and singles.
				var want [][]byte
				add := func(k, size int) {
					for range k {
						want = append(want, random(uint64(len(want)), size))
					}
				}
				add(10, 1200)
				add(1, 7)
				add(80, 100)
				add(3, 30000)
				add(1, 0)
				add(1, 500)
				add(2, 600)
				do(t, l, func() {
					for _, b := range want {
						sendPacket(t, from.p, b, Route{To: to})
					}
				})
				waitOn(t, l, "all are there", func() bool { return len(at.got) >= len(want) })
				do(t, l, func() {
					for i, g := range at.got {
						same(t, "datagram", g.bytes, want[i])
						if g.From != source || g.To != to.Addr() || g.Truncated {
							t.Errorf("datagram %d: %+v", i, g.Datagram)
						}
					}
					out, in := from.p.Stats(), at.p.Stats()
					if (out.Split > 0) != c.pieces || (in.Joined > 0) != c.joined {
						t.Errorf("%d pieces sent, %d received", out.Split, in.Joined)
					}
					if n := uint64(len(want)); out.Out != n || in.In != n {
						t.Errorf("%d sent, %d received", out.Out, in.In)
					}
					if n := uint64(len(want)); c.out.NoBatch && out.Calls != n || !c.out.NoBatch && out.Calls > (n+packetBatch-1)/packetBatch {
						t.Errorf("%d system calls for %d datagrams", out.Calls, n)
					}
				})
			})
		}
	})
}

// TestPacketJoinedKept: a datagram cut out of a joined piece can be kept while the others
// are given back.
func TestPacketJoinedKept(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, wide(be))
		var from, at packetRec
		listenPacket(t, l, "udp6", "[::1]:0", &from, PacketOptions{})
		to := listenPacket(t, l, "udp6", "[::1]:0", &at, PacketOptions{})
		const n = 150 // more than a call of the handler has
		var kept []byte
		do(t, l, func() {
			at.onDatagrams = func(d []Datagram) {
				for i := range d {
					if b := d[i].Msg.AppendTo(nil); b[0]%3 == 0 {
						m := d[i].Msg.Take()
						kept = append(kept, b[0])
						defer m.Release()
					} else if b[0]%3 == 1 {
						d[i].Msg.Release()
					}
				}
			}
			for i := range n {
				sendPacket(t, from.p, []byte{byte(i), 1, 2}, Route{To: to})
			}
		})
		waitOn(t, l, "all are there", func() bool { return at.p.Stats().In == n })
		do(t, l, func() {
			if len(kept) != n/3 {
				t.Errorf("%d kept", len(kept))
			}
		})
	})
}

// TestPacketSmallBuffers: joining is left off where a buffer could not hold what is joined,
// and the endpoint says so.
func TestPacketSmallBuffers(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		var from, at packetRec
		listenPacket(t, l, "udp4", "127.0.0.1:0", &from, PacketOptions{})
		to := listenPacket(t, l, "udp4", "127.0.0.1:0", &at, PacketOptions{})
		do(t, l, func() {
			if len(at.p.Notes()) != 1 {
				t.Errorf("notes %q", at.p.Notes())
			}
			for range 50 {
				sendPacket(t, from.p, make([]byte, 1000), Route{To: to})
			}
		})
		waitOn(t, l, "all are there", func() bool { return len(at.got) == 50 })
		do(t, l, func() {
			if st := at.p.Stats(); st.Joined != 0 || st.Truncated != 0 {
				t.Errorf("%+v", st)
			}
		})
	})
}

// TestPacketSplitRefused: where the system does not take several datagrams in one piece,
// they go by themselves, and it is not tried again.
func TestPacketSplitRefused(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		var from, at packetRec
		listenPacket(t, l, "udp4", "127.0.0.1:0", &from, PacketOptions{})
		to := listenPacket(t, l, "udp4", "127.0.0.1:0", &at, PacketOptions{})
		do(t, l, func() {
			// Without checksums a piece cannot be split (EIO since Linux 4.18).
			if err := unix.SetsockoptInt(from.p.FD(), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
				t.Fatal(err)
			}
			notes := len(from.p.Notes())
			for i := range 20 {
				sendPacket(t, from.p, []byte{byte(i), 0, 0}, Route{To: to})
			}
			from.p.transmit()
			if n := from.p.Notes(); len(n) != notes+1 || from.p.split > 2 {
				t.Errorf("notes %q; up to %d bytes are sent in one piece", n, from.p.split)
			}
		})
		waitOn(t, l, "all are there", func() bool { return len(at.got) == 20 })
		do(t, l, func() {
			for i, g := range at.got {
				if int(g.bytes[0]) != i {
					t.Errorf("datagram %d is %v", i, g.bytes)
				}
			}
			if st := from.p.Stats(); st.Split != 0 || st.Dropped != 0 || len(from.errors) != 0 {
				t.Errorf("%+v, errors %v", st, from.errors)
			}
		})
	})
}

// TestPacketRefused: a port that nobody has is told of with its address, on sockets that
// are connected and those that are not, and both go on.
func TestPacketRefused(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		for _, nw := range networks {
			t.Run(nw.network, func(t *testing.T) {
				l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
				gone := udp(t, nw.network, nw.address)
				closed := addrPort(gone)
				gone.Close()
				peer := udp(t, nw.network, nw.address)
				var r packetRec
				at := listenPacket(t, l, nw.network, nw.address, &r, PacketOptions{})
				c := packetRec{t: t}
				blind := packetRec{t: t}
				do(t, l, func() {
					var err error
					if c.p, err = l.DialPacket(nw.network, closed.String(), &c, PacketOptions{}); err != nil {
						t.Fatal(err)
					}
					if blind.p, err = l.DialPacket(nw.network, closed.String(), &blind, PacketOptions{NoErrors: true}); err != nil {
						t.Fatal(err)
					}
					sendPacket(t, blind.p, []byte("x"), Route{})
					for range 3 { // an error that waits does not keep the next from leaving
						sendPacket(t, r.p, []byte("to nobody"), Route{To: closed})
						sendPacket(t, r.p, []byte("to somebody"), Route{To: addrPort(peer)})
						sendPacket(t, c.p, []byte("to nobody"), Route{})
					}
				})
				for range 3 {
					if got, from := receive(t, peer); string(got) != "to somebody" || from != at {
						t.Errorf("%q from %v", got, from)
					}
				}
				for r, want := range map[*packetRec]int{&r: 3, &c: 1} { // what went in one piece is told of once
					waitOn(t, l, "the errors are told", func() bool { return r.p.Stats().Out >= 3 && len(r.errors) >= want })
					do(t, l, func() {
						for _, e := range r.errors {
							if e.Errno != syscall.ECONNREFUSED || e.To != closed || e.Offender != closed.Addr() || !e.ICMP || e.Unsent {
								t.Errorf("%+v", e)
							}
						}
						if st := r.p.Stats(); len(r.errors) != want || st.Errors != uint64(want) || st.Dropped != 0 || r.closes != 0 {
							t.Errorf("%d errors, %+v, closed %d times", len(r.errors), st, r.closes)
						}
					})
				}
				waitOn(t, l, "the error without queue is told", func() bool { return len(blind.errors) > 0 })
				do(t, l, func() {
					if e := blind.errors[0]; e.Errno != syscall.ECONNREFUSED || e.To != closed || e.ICMP {
						t.Errorf("%+v", e)
					}
				})
				// Both still receive.
				peer.WriteToUDPAddrPort([]byte("still there"), at)
				waitOn(t, l, "it receives", func() bool { return len(r.got) == 1 })
				back, err := net.ListenUDP(nw.network, net.UDPAddrFromAddrPort(closed))
				if err != nil {
					t.Fatal(err)
				}
				defer back.Close()
				do(t, l, func() {
					back.WriteToUDPAddrPort([]byte("back"), c.p.LocalAddr().(*net.UDPAddr).AddrPort())
				})
				waitOn(t, l, "it receives", func() bool { return len(c.got) == 1 })
			})
		}
	})
}

// TestPacketRefusedOften: an endpoint without an error queue does not end for errors that
// others cause, however many come with nothing in between.
func TestPacketRefusedOften(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		for _, nw := range networks {
			l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
			r := &packetRec{t: t}
			gone := udp(t, nw.network, nw.address)
			gone.Close()
			do(t, l, func() {
				var err error
				if r.p, err = l.DialPacket(nw.network, gone.LocalAddr().String(), r, PacketOptions{NoErrors: true}); err != nil {
					t.Fatal(err)
				}
			})
			for i := range 3 * maxFutile {
				// Past the endpoint, which so has no success.
				do(t, l, func() { unix.Write(r.p.FD(), []byte("nobody")) })
				waitOn(t, l, "the error is told", func() bool { return len(r.errors) > i || r.closes > 0 })
			}
			do(t, l, func() {
				if r.closes > 0 || r.errors[0].Errno != syscall.ECONNREFUSED {
					t.Errorf("closed %d times, %v, the first error %v", r.closes, r.cause, r.errors[0])
				}
			})
		}
	})
}

// TestPacketTooLong: what is longer than a datagram can be is refused at once.
func TestPacketTooLong(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 64, BufferSize: 4 << 10})
		var r packetRec
		to := listenPacket(t, l, "udp4", "127.0.0.1:0", &r, PacketOptions{})
		peer := udp(t, "udp4", "127.0.0.1:0")
		do(t, l, func() {
			m := message(t, l, make([]byte, 65508))
			if err := r.p.SendTo(m, to); !isErrno(err, syscall.EMSGSIZE) || m.Len() != 65508 {
				t.Errorf("%v", err)
			}
			m.Release()
			sendPacket(t, r.p, make([]byte, 65507), Route{To: addrPort(peer)})
		})
		if got, _ := receive(t, peer); len(got) != 65507 {
			t.Errorf("%d bytes", len(got))
		}
		do(t, l, func() { sendPacket(t, r.p, []byte("to whom?"), Route{}) })
		waitOn(t, l, "the error is told", func() bool { return len(r.errors) == 1 })
		do(t, l, func() {
			if e := r.errors[0]; e.Errno != syscall.EDESTADDRREQ || !e.Unsent || r.p.Stats().Dropped != 1 {
				t.Errorf("%+v", e)
			}
		})
	})
}
