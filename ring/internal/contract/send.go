package contract

import (
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// testSendVector: the elements of a Send, up to MaxVector, arrive in order.
func testSendVector(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	for _, elems := range []int{1, 2, 3, 17, backend.MaxVector - 1, backend.MaxVector} {
		p := random(uint64(elems), elems*100+elems*elems)
		var cuts []int
		for i, at := 1, 0; i < elems; i++ {
			at += 1 + (i*61)%(len(p)/elems)
			cuts = append(cuts, at)
		}
		for at := 0; at < len(p); {
			o := d.send(fd, p[at:], keep(cuts, at)...)
			if len(o.elems) == 0 {
				t.Fatal("nothing to send")
			}
			if at == 0 && len(o.elems) != elems {
				t.Fatalf("%d elements, want %d", len(o.elems), elems)
			}
			d.ended(o)
			if o.res <= 0 {
				t.Fatalf("Send of %d elements: %v", elems, o.err())
			}
			d.expect(peer, p[at:at+int(o.res)])
			at += int(o.res)
		}
	}
}

// keep returns the cuts behind at, counted from there.
func keep(cuts []int, at int) (rest []int) {
	for _, c := range cuts {
		if c > at {
			rest = append(rest, c-at)
		}
	}
	return rest
}

// sendOn makes one step of sending p: Send, or Poll after an EAGAIN. It returns
// how many bytes were accepted and whether the stream is full and a Poll waits.
func (d *bed) sendOn(fd int, p []byte) (n int, poll *op) {
	d.t.Helper()
	o := d.send(fd, p, len(p)/3)
	d.ended(o)
	switch {
	case o.res > 0:
		return int(o.res), nil
	case o.err() == syscall.EAGAIN:
		return 0, d.poll(fd)
	}
	d.t.Fatalf("Send: %v", o.err())
	return 0, nil
}

// quietTime is how long a full stream must stay full to count as such: longer
// than a delayed acknowledgement, which frees space in the sender.
const quietTime = 60 * time.Millisecond

// fullBuffer is the receive buffer of a peer whose stream is to be full soon, in bytes. TCP has given the
// sender leave for as much when the buffer is set (net.ipv4.tcp_rmem). With less Linux 6.12
// drops what comes, and the sender tries again after times that double, for a minute.
const fullBuffer = 64 << 10

// fillUp sends until the stream takes no more, and returns the waiting Poll.
func (d *bed) fillUp(fd int, peer Peer) *op {
	d.t.Helper()
	peer.SetReadBuffer(fullBuffer)
	p := random(6, 64<<10)
	for range 100_000 {
		_, poll := d.sendOn(fd, p)
		if poll == nil {
			continue
		}
		for end := d.b.Now() + quietTime; !poll.done; d.turn(10 * time.Millisecond) {
			if d.b.Now() > end {
				return poll
			}
		}
		if poll.res != 0 {
			d.t.Fatalf("Poll: %v", poll.err())
		}
	}
	d.t.Fatal("the stream is never full")
	return nil
}

// testSendFull: a full stream says EAGAIN, Poll waits, and ends when the far end
// makes room; nothing is lost or doubled on the way.
func testSendFull(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 4, BufferSize: 512, Large: 4 << 20})
	fd, peer := d.pair(network)
	c := d.conns[fd]
	read := 0
	drain := func() {
		n := len(c.out) - read
		d.expect(peer, c.out[read:read+n])
		read += n
	}
	p := random(7, 100<<10)
	for range 3 {
		poll := d.fillUp(fd, peer)
		o := d.send(fd, p)
		d.ended(o)
		if o.res < 0 && o.err() != syscall.EAGAIN {
			t.Fatalf("Send on a full stream: %v", o.err())
		}
		drain()
		d.ended(poll)
		if poll.res != 0 {
			t.Fatalf("Poll: %v", poll.err())
		}
	}
	// Now with the far end reading whenever the stream is full.
	for sent := 0; sent < 4<<20; {
		n, poll := d.sendOn(fd, p)
		sent += n
		if poll != nil {
			drain()
			d.ended(poll)
		}
	}
	drain()
}

// sendFails sends until it fails and returns the error.
func (d *bed) sendFails(fd int) syscall.Errno {
	d.t.Helper()
	for range 100 {
		o := d.send(fd, []byte("into the void"))
		d.ended(o)
		if o.res < 0 {
			return o.err()
		}
		d.idle(1)
	}
	d.t.Fatal("Send never fails")
	return 0
}

func testSendReset(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	d.resetPeer(fd, peer)
	for range 3 {
		if e := d.sendFails(fd); e != syscall.EPIPE && e != syscall.ECONNRESET {
			t.Fatalf("Send after a reset: %v", e)
		}
	}
}

// testPollFree: on a stream with space Poll ends at once, again and again.
func testPollFree(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	for range 3 {
		o := d.poll(fd)
		d.ended(o)
		if o.res != 0 {
			t.Fatalf("Poll: %v", o.err())
		}
		d.ended(d.send(fd, []byte("between")))
		d.expect(peer, []byte("between"))
	}
}

// testPollReset: Poll ends when a Send would fail.
func testPollReset(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 4, BufferSize: 512, Large: 1 << 20})
	fd, peer := d.pair(network)
	poll := d.fillUp(fd, peer)
	if err := peer.Reset(); err != nil {
		t.Fatal(err)
	}
	d.ended(poll)
	if e := d.sendFails(fd); e != syscall.EPIPE && e != syscall.ECONNRESET {
		t.Fatalf("Send after a reset: %v", e)
	}
}

// testBothWays: an echo over several connections, with Recv, Send and Poll in
// flight together and chunks kept until their bytes are accepted.
func testBothWays(t *testing.T, h Harness, network string) {
	const n, size = 6, 300 << 10
	d := newBed(t, h, Sizes{Buffers: 32, BufferSize: 4096, Large: 4 << 20})
	type end struct {
		fd                int
		peer              Peer
		recv, send, poll  *op
		data              []byte
		wrote, read, sent int
	}
	var ends []*end
	for i := range n {
		fd, peer := d.pair(network)
		ends = append(ends, &end{fd: fd, peer: peer, recv: d.recv(fd), data: random(uint64(100+i), size)})
	}
	step := func(e *end) {
		c := d.conns[e.fd]
		if e.wrote < size {
			w, err := e.peer.Write(e.data[e.wrote:min(size, e.wrote+20000)])
			if err != nil {
				t.Fatal(err)
			}
			e.wrote += w
		}
		e.recv = d.rearm(e.recv)
		if e.send != nil && e.send.done {
			if e.send.err() == syscall.EAGAIN {
				e.poll = d.poll(e.fd)
			} else if e.send.res < 0 {
				t.Fatalf("Send: %v", e.send.err())
			}
			e.sent = len(c.out)
			e.send = nil
		}
		if e.poll != nil && e.poll.done {
			e.poll = nil
		}
		if e.send == nil && e.poll == nil && e.sent < len(c.in) {
			p := c.in[e.sent:min(len(c.in), e.sent+60000)]
			e.send = d.send(e.fd, p, min(len(p), 1), min(len(p), 1000))
		}
		if avail := len(c.out) - e.read; avail > 0 && (avail > 50000 || e.poll != nil || len(c.out) == size) {
			d.expect(e.peer, c.out[e.read:])
			e.read = len(c.out)
		}
	}
	d.until("all bytes are back", func() bool {
		all := true
		for _, e := range ends {
			step(e)
			all = all && e.read == size
		}
		d.turn(0)
		return all
	})
	for _, e := range ends {
		d.same("echoed", d.conns[e.fd].out, e.data)
	}
}
