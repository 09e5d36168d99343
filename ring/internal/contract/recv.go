package contract

import (
	"fmt"
	"syscall"
	"testing"
)

// testRecvOrder: a long stream through buffers of every size.
func testRecvOrder(t *testing.T, h Harness, network string) {
	for _, s := range []Sizes{{256, 64, 0}, {8, 512, 0}, {32, 4096, 0}, {4, 65536, 0}} {
		t.Run(fmt.Sprintf("%dx%d", s.Buffers, s.BufferSize), func(t *testing.T) {
			d := newBed(t, h, s)
			fd, peer := d.pair(network)
			want := random(uint64(s.BufferSize), min(400<<10, 4096*s.BufferSize))
			o := d.recv(fd)
			for rest, n := want, 1; len(rest) > 0; n = (n*3 + 1) % 20000 {
				k := min(n+1, len(rest))
				d.pump(peer, rest[:k], func() { o = d.rearm(o) })
				rest = rest[k:]
			}
			d.received(o, want)
		})
	}
}

// testRecvNoBuffers: more bytes than buffers end Recv with ENOBUFS once all are
// gone; after that it goes on where it stopped.
func testRecvNoBuffers(t *testing.T, h Harness, network string) {
	const buffers, size = 4, 512
	d := newBed(t, h, Sizes{Buffers: buffers, BufferSize: size})
	fd, peer := d.pair(network)
	want := random(1, 20*size)
	d.hold = true
	o := d.recv(fd)
	d.write(peer, want)
	for len(d.conns[fd].in) < len(want) {
		d.until("Recv is out of buffers", func() bool {
			if o.done && o.res > 0 {
				o = d.recv(fd)
			}
			return o.done || len(d.conns[fd].in) == len(want)
		})
		if !o.done {
			break
		}
		if o.err() != syscall.ENOBUFS {
			t.Fatalf("Recv ended with %d, want ENOBUFS", o.res)
		}
		if len(d.held) != buffers {
			t.Fatalf("ENOBUFS while the backend has %d buffers", buffers-len(d.held))
		}
		d.idle(2) // without buffers nothing more comes
		d.release()
		o = d.recv(fd)
	}
	d.same("received", d.conns[fd].in, want)
	if d.b.Stats().NoBuffers == 0 {
		t.Error("Stats().NoBuffers is 0")
	}
}

// testRecvNoneAtAll: a Recv that never had a buffer loses nothing either.
func testRecvNoneAtAll(t *testing.T, h Harness, network string) {
	d := newEmptyBed(t, h, Sizes{Buffers: 8, BufferSize: 1024})
	fd, peer := d.pair(network)
	want := random(2, 3000)
	d.write(peer, want)
	o := d.recv(fd)
	d.ended(o)
	if o.err() != syscall.ENOBUFS {
		t.Fatalf("Recv ended with %d, want ENOBUFS", o.res)
	}
	// Bytes that arrive now make no difference.
	d.write(peer, want)
	for i := range d.where {
		d.back = append(d.back, d.pool.ID(i))
	}
	d.provide()
	d.received(d.recv(fd), append(want[:len(want):len(want)], want...))
}

// testRecvEOF: the end is one final event, and a later Recv finds it again.
func testRecvEOF(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	o := d.recv(fd)
	d.idle(2)
	if o.events != 0 {
		t.Fatalf("Recv has an event before anything was sent")
	}
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	d.ended(o)
	if o.res != 0 || o.events != 1 {
		t.Fatalf("Recv ended with %d after %d events, want 0 and 1", o.res, o.events)
	}
	o = d.recv(fd)
	d.ended(o)
	if o.res != 0 {
		t.Fatalf("Recv after the end ended with %d, want 0", o.res)
	}
	// The other direction is open.
	d.ended(d.send(fd, []byte("still here")))
	d.expect(peer, []byte("still here"))
}

// testRecvBytesThenEOF: bytes before the end come before the end, whenever Recv
// is queued.
func testRecvBytesThenEOF(t *testing.T, h Harness, network string) {
	for _, early := range []bool{true, false} {
		for _, size := range []int{1, 2047, 2048, 2049, 4096, 30000} {
			t.Run(fmt.Sprintf("early=%v/%d", early, size), func(t *testing.T) {
				d := newBed(t, h, defaultSizes)
				fd, peer := d.pair(network)
				want := random(uint64(size), size)
				var o *op
				if early {
					o = d.recv(fd)
					d.idle(1)
				}
				d.write(peer, want)
				if err := peer.Close(); err != nil {
					t.Fatal(err)
				}
				if !early {
					d.idle(1)
					o = d.recv(fd)
				}
				d.until("the end", func() bool {
					o = d.rearm(o)
					return o.done
				})
				d.same("received", d.conns[fd].in, want)
				if o.res != 0 {
					t.Fatalf("Recv ended with %d, want 0", o.res)
				}
			})
		}
	}
}

// resetPeer resets a connection, with bytes the far end did not read.
func (d *bed) resetPeer(fd int, peer Peer) {
	d.t.Helper()
	o := d.send(fd, []byte("never read"))
	d.ended(o)
	if o.res <= 0 {
		d.t.Fatalf("Send: %v", o.err())
	}
	d.settle()
	if err := peer.Reset(); err != nil {
		d.t.Fatal(err)
	}
	d.settle()
}

func testRecvReset(t *testing.T, h Harness, network string) {
	for _, early := range []bool{true, false} {
		d := newBed(t, h, defaultSizes)
		fd, peer := d.pair(network)
		var o *op
		if early {
			o = d.recv(fd)
			d.idle(1)
		}
		d.resetPeer(fd, peer)
		if !early {
			o = d.recv(fd)
		}
		d.ended(o)
		if o.err() != syscall.ECONNRESET {
			t.Fatalf("Recv (queued early: %v) ended with %d, want ECONNRESET", early, o.res)
		}
		d.closeFD(fd)
	}
}

// testRecvMany: many connections share the buffers, and each gets its own bytes.
func testRecvMany(t *testing.T, h Harness, network string) {
	const n, size = 100, 5000
	d := newBed(t, h, Sizes{Buffers: 16, BufferSize: 512})
	type end struct {
		fd   int
		peer Peer
		o    *op
		want []byte
		at   int
	}
	var ends []*end
	for i := range n {
		fd, peer := d.pair(network)
		ends = append(ends, &end{fd: fd, peer: peer, o: d.recv(fd), want: random(uint64(i), size)})
	}
	rearm := func() {
		for _, e := range ends {
			e.o = d.rearm(e.o)
		}
	}
	for left := n; left > 0; {
		for i, e := range ends {
			if e.at == size {
				continue
			}
			k := min(size-e.at, 100+37*i)
			d.write(e.peer, e.want[e.at:e.at+k])
			if e.at += k; e.at == size {
				left--
			}
		}
		d.turn(0)
		rearm()
	}
	for _, e := range ends {
		d.until("all bytes are received", func() bool {
			rearm()
			return len(d.conns[e.fd].in) >= size
		})
	}
	for _, e := range ends {
		d.same("received", d.conns[e.fd].in, e.want)
	}
}

// testReadFills: Read brings given memory, in few events when all is there.
func testReadFills(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	want := random(3, 100<<10)
	rest := want
	for len(d.conns[fd].in) < len(want) {
		o := d.read(fd, min(64<<10, len(want)-len(d.conns[fd].in)))
		for !o.done && len(rest) > 0 {
			n, err := peer.Write(rest[:min(30000, len(rest))])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			d.idle(1)
		}
		d.ended(o)
		if o.res <= 0 {
			t.Fatalf("Read ended with %d", o.res)
		}
	}
	d.same("read", d.conns[fd].in, want)
}

// testReadShort: what is there comes without waiting for the rest only if the
// stream ends; until then Read may wait for all or come short, but it loses
// nothing.
func testReadShort(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	want := random(4, 1000)
	d.write(peer, want)
	o := d.read(fd, 4096)
	d.idle(2)
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	d.ended(o)
	for o.res > 0 {
		o = d.read(fd, 4096)
		d.ended(o)
	}
	if o.res != 0 {
		t.Fatalf("Read ended with %d, want 0", o.res)
	}
	d.same("read", d.conns[fd].in, want)
}

func testReadEOF(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	o := d.read(fd, 100)
	d.idle(2)
	if o.done {
		t.Fatalf("Read ended with %d before anything was sent", o.res)
	}
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	d.ended(o)
	if o.res != 0 {
		t.Fatalf("Read ended with %d, want 0", o.res)
	}
}

// testRecvReadTurns: Recv, Cancel, Read, Recv and so on keep the byte order.
func testRecvReadTurns(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 16, BufferSize: 1024})
	fd, peer := d.pair(network)
	want := random(5, 200<<10)
	rest := want
	feed := func(n int) {
		n, err := peer.Write(rest[:min(n, len(rest))])
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
		d.settle()
	}
	c := d.conns[fd]
	for i := 0; len(c.in) < len(want); i++ {
		if i > 100_000 {
			t.Fatalf("%d of %d bytes after %d rounds", len(c.in), len(want), i)
		}
		feed(3000 + i%7000)
		o := d.recv(fd)
		d.idle(i % 3)
		feed(500)
		if !o.done {
			d.cancel(o)
		}
		d.ended(o)
		if left := len(want) - len(c.in); left > 0 {
			o = d.read(fd, min(left, 1+i*517%9000))
			feed(1500)
			d.turn(0)
			if !o.done {
				d.cancel(o)
			}
			d.ended(o)
		}
		d.same("received so far", c.in, want[:len(c.in)])
	}
}
