package contract

import (
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// testCancelIdle: an operation that waits for nothing in particular ends with
// ECANCELED, once, and can be queued again.
func testCancelIdle(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 4, BufferSize: 512, Large: 1 << 20})
	lfd, _, _ := h.Listen(t, d.b, network)
	d.attach(lfd)
	fd, peer := d.pair(network)
	full, fullPeer := d.pair(network)
	d.cancel(d.fillUp(full, fullPeer))
	d.idle(2)
	for range 3 {
		for _, queue := range []func() *op{
			func() *op { return d.accept(lfd) },
			func() *op { return d.recv(fd) },
			func() *op { return d.read(fd, 100) },
			func() *op { return d.poll(full) },
		} {
			o := queue()
			d.idle(2)
			if o.done {
				t.Fatalf("%s ended with %d before it was cancelled", o.key.Op(), o.res)
			}
			d.cancel(o)
			d.ended(o)
			if o.err() != syscall.ECANCELED || o.events != 1 {
				t.Fatalf("cancelled %s ended with %d after %d events", o.key.Op(), o.res, o.events)
			}
			d.idle(1)
		}
	}
	o := d.recv(fd)
	d.write(peer, []byte("alive"))
	d.received(o, []byte("alive"))
}

// testCancelUnsubmitted: cancelled before the Wait that would submit it.
func testCancelUnsubmitted(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	lfd, _, _ := h.Listen(t, d.b, network)
	d.attach(lfd)
	fd, peer := d.pair(network)
	other, _ := d.pair(network)
	for range 3 {
		a, r, p := d.accept(lfd), d.recv(fd), d.poll(fd)
		q := d.read(other, 10)
		for _, o := range []*op{a, r, p, q} {
			d.cancel(o)
		}
		d.ended(a, r, p, q)
		for _, o := range []*op{a, r, q} {
			if o.err() != syscall.ECANCELED {
				t.Fatalf("cancelled %s ended with %d", o.key.Op(), o.res)
			}
		}
		s := d.send(fd, []byte("sent"))
		d.cancel(s)
		d.ended(s)
		if s.err() != syscall.ECANCELED {
			d.expect(peer, []byte("sent"))
		}
	}
}

// testCancelKeepsBytes: Recv cancelled and queued again, at every moment, while
// bytes arrive.
func testCancelKeepsBytes(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 8, BufferSize: 512})
	fd, peer := d.pair(network)
	want := random(8, 100*700)
	for i := range 100 {
		chunk := want[i*700 : i*700+700]
		o := d.recv(fd)
		if i%3 != 0 {
			d.turn(0)
		}
		d.write(peer, chunk[:i*7])
		if i%5 == 0 {
			d.turn(0)
		}
		if !o.done {
			d.cancel(o)
		}
		d.write(peer, chunk[i*7:])
		d.ended(o)
		c := d.conns[fd]
		d.same("received so far", c.in, want[:len(c.in)])
		if o.res == 0 {
			t.Fatal("Recv found an end")
		}
	}
	d.received(d.recv(fd), want)
}

// testCancelRead: Read cancelled with some bytes there gives them or leaves them.
func testCancelRead(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	c := d.conns[fd]
	want := random(9, 50*300)
	for i := range 50 {
		chunk := want[i*300 : i*300+300]
		o := d.read(fd, 8192)
		d.idle(i % 3)
		d.write(peer, chunk[:i])
		d.idle(i % 2)
		if !o.done {
			d.cancel(o)
		}
		d.write(peer, chunk[i:])
		d.ended(o)
		d.same("read so far", c.in, want[:len(c.in)])
	}
	for len(c.in) < len(want) {
		o := d.read(fd, len(want)-len(c.in))
		d.ended(o)
		if o.res <= 0 {
			t.Fatalf("Read ended with %d", o.res)
		}
	}
	d.same("read", c.in, want)
}

// testCancelTwice: a second Cancel, before or after the last event, changes
// nothing, not even for the next operation under the same key.
func testCancelTwice(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	o := d.recv(fd)
	d.idle(1)
	d.cancel(o)
	d.cancel(o)
	d.ended(o)
	d.cancel(o)
	if d.running(backend.OpRecv, fd) != nil {
		t.Fatal("Recv still runs")
	}
	d.idle(2)
	o = d.recv(fd)
	d.idle(2)
	if o.done {
		t.Fatalf("the next Recv ended with %d", o.res)
	}
	d.write(peer, []byte("goes on"))
	d.received(o, []byte("goes on"))
}
