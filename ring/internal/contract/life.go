package contract

import (
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

func (d *bed) shutdown(fd, how int) {
	d.t.Helper()
	if err := d.b.Shutdown(fd, how); err != nil {
		d.t.Fatalf("Shutdown: %v", err)
	}
}

func testShutdownWrite(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	o := d.recv(fd)
	d.ended(d.send(fd, []byte("last words")))
	d.shutdown(fd, syscall.SHUT_WR)
	d.settle()
	d.expect(peer, []byte("last words"))
	d.expectEOF(peer)
	if e := d.sendFails(fd); e != syscall.EPIPE {
		t.Fatalf("Send after Shutdown: %v, want EPIPE", e)
	}
	poll := d.poll(fd)
	d.ended(poll)
	d.write(peer, []byte("answer"))
	d.received(o, []byte("answer"))
}

// testShutdownBoth ends what waits on the descriptor: Recv and Poll, or Read.
func testShutdownBoth(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 4, BufferSize: 512, Large: 1 << 20})
	for _, recv := range []bool{true, false} {
		fd, peer := d.pair(network)
		poll := d.fillUp(fd, peer)
		var o *op
		if recv {
			o = d.recv(fd)
		} else {
			o = d.read(fd, 100)
		}
		d.idle(2)
		if o.done {
			t.Fatalf("%s ended with %d before Shutdown", o.key.Op(), o.res)
		}
		d.shutdown(fd, syscall.SHUT_RDWR)
		d.ended(o, poll)
		if o.res > 0 {
			t.Fatalf("%s ended with %d bytes", o.key.Op(), o.res)
		}
		if e := d.sendFails(fd); e != syscall.EPIPE {
			t.Fatalf("Send after Shutdown: %v, want EPIPE", e)
		}
		d.closeFD(fd)
	}
}

func testShutdownRead(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	o := d.recv(fd)
	d.idle(2)
	d.shutdown(fd, syscall.SHUT_RD)
	d.ended(o)
	if o.res > 0 {
		t.Fatalf("Recv ended with %d bytes", o.res)
	}
	d.ended(d.send(fd, []byte("out")))
	d.expect(peer, []byte("out"))
}

// testShortSlice: with room for one event per Wait nothing is lost and nobody
// starves.
func testShortSlice(t *testing.T, h Harness, network string) {
	const n, size = 20, 3000
	d := newBed(t, h, Sizes{Buffers: 16, BufferSize: 512})
	d.events = d.events[:1]
	lfd, _, dial := h.Listen(t, d.b, network)
	acc := d.accept(d.attach(lfd))
	var peers []Peer
	for range n {
		peers = append(peers, dial())
	}
	d.until("all connections are accepted", func() bool { return len(acc.fds) == n })

	recvs := map[int]*op{}
	for _, fd := range acc.fds {
		recvs[d.attach(fd)] = d.recv(fd)
	}
	data := random(10, size)
	for at := 0; at < size; at += 600 {
		for _, p := range peers {
			d.write(p, data[at:at+600])
		}
		d.turn(0)
	}
	for _, fd := range acc.fds {
		d.until("every stream is whole", func() bool {
			for fd, o := range recvs {
				recvs[fd] = d.rearm(o)
			}
			return len(d.conns[fd].in) == size
		})
		d.same("received", d.conns[fd].in, data)
	}

	// Everything at once: sends, polls and cancels all end.
	var ops []*op
	for _, fd := range acc.fds {
		ops = append(ops, d.send(fd, data), d.poll(fd))
		if !recvs[fd].done {
			d.cancel(recvs[fd])
			ops = append(ops, recvs[fd])
		}
	}
	d.ended(ops...)
}

// testDetach: a detached descriptor is a plain one, with every byte that was not
// received still in it.
func testDetach(t *testing.T, h Harness, network string) {
	if h.Plain == nil {
		t.Skip("the backend's descriptors are its own")
	}
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	o := d.recv(fd)
	d.write(peer, []byte("first "))
	d.received(o, []byte("first "))
	d.cancel(o)
	d.ended(o)
	d.write(peer, []byte("second"))
	if err := d.b.Detach(fd); err != nil {
		t.Fatalf("Detach: %v", err)
	}
	delete(d.conns, fd)
	plain := h.Plain(t, fd)
	d.expect(plain, []byte("second"))
	d.write(plain, []byte("answer"))
	d.expect(peer, []byte("answer"))
	if err := plain.Close(); err != nil {
		t.Fatal(err)
	}
	d.expectEOF(peer)
	d.idle(2)
}

// testReattach: what happened while a descriptor was unknown is seen once it is
// known again.
func testReattach(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	var want []byte
	for i := range 4 {
		o := d.recv(fd)
		d.idle(i % 2)
		d.cancel(o)
		d.ended(o)
		if err := d.b.Detach(fd); err != nil {
			t.Fatalf("Detach: %v", err)
		}
		d.write(peer, []byte("away"))
		want = append(want, "away"...)
		c := d.conns[fd]
		d.attach(fd)
		d.conns[fd].in = c.in
		o = d.received(d.recv(fd), want)
		d.cancel(o)
		d.ended(o)
	}
	if err := d.b.Detach(fd); err != nil {
		t.Fatalf("Detach: %v", err)
	}
	if err := peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	d.settle()
	d.attach(fd)
	o := d.recv(fd)
	d.ended(o)
	if o.res != 0 {
		t.Fatalf("Recv ended with %d, want the end of the stream", o.res)
	}
}

// testCloseInFlight: Close forgets what is in flight and leaves the memory alone
// from then on. Descriptors may be closed before or after.
func testCloseInFlight(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	lfd, _, _ := h.Listen(t, d.b, network)
	d.accept(d.attach(lfd))
	a, peerA := d.pair(network)
	b, peerB := d.pair(network)
	d.recv(a)
	r := d.read(b, 8192)
	d.idle(2)
	memory := r.mem.Bytes()
	clear(memory)
	d.close()
	peerA.Write(random(11, 4000))
	peerB.Write(random(11, 4000))
	d.settle()
	for i, c := range memory {
		if c != 0 {
			t.Fatalf("byte %d of a Read's memory was written after Close", i)
		}
	}
	for fd := range d.conns {
		if h.Discard != nil {
			h.Discard(fd) // never detached, so in whatever mode the backend had it
		}
	}
	for _, o := range d.ops {
		if k := o.key.Op(); k != backend.OpAccept && k != backend.OpRecv && k != backend.OpRead {
			t.Errorf("%s in flight", k)
		}
	}
}
