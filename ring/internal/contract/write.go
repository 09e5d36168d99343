package contract

import (
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// writeNow writes p, cut into elements, and enters what was accepted in the book. The
// memory is released before it returns: a Write keeps none of it.
func (d *bed) writeNow(fd int, p []byte, cuts ...int) (int, syscall.Errno) {
	d.t.Helper()
	c := d.conns[fd]
	if d.running(backend.OpSend, fd) != nil || d.running(backend.OpPoll, fd) != nil {
		d.t.Fatal("the test writes beside its own Send or Poll")
	}
	o := &op{}
	d.fill(o, p, cuts)
	v := make([]sgmsg.Element, len(o.elems))
	copy(v, o.elems)
	n, e := d.b.Write(fd, v)
	clear(v)
	for _, el := range o.elems {
		clear(el.Bytes())
	}
	d.free(o)
	if n < 0 || n > min(len(p), backend.WriteBytes) || e != 0 && n != 0 || e == 0 && n == 0 {
		d.t.Fatalf("Write of %d bytes: %d, %v", len(p), n, e)
	}
	c.out = append(c.out, p[:n]...)
	return n, e
}

// testWriteVector: the elements of a Write arrive in order, without a Wait, between
// Sends, and no more than a Write takes.
func testWriteVector(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 64, BufferSize: 2048, Large: 2 << 20})
	fd, peer := d.pair(network)
	for elems := 1; elems <= backend.WriteElements+2; elems++ {
		p := random(uint64(elems), elems*300)
		var cuts []int
		for i := 1; i < elems; i++ {
			cuts = append(cuts, i*300-i)
		}
		for at := 0; at < len(p); {
			n, e := d.writeNow(fd, p[at:], keep(cuts, at)...)
			if e == syscall.EAGAIN && d.h.Virtual {
				continue // a fault
			}
			if e != 0 {
				t.Fatalf("Write of %d elements: %v", elems, e)
			}
			if at == 0 && elems > backend.WriteElements && n > cuts[backend.WriteElements-1] {
				t.Fatalf("Write took %d bytes of more than %d elements", n, backend.WriteElements)
			}
			d.settle()
			d.expect(peer, p[at:at+n])
			at += n
		}
		o := d.send(fd, []byte("a send between"))
		d.ended(o)
		if o.res <= 0 {
			t.Fatalf("Send: %v", o.err())
		}
		d.expect(peer, []byte("a send between")[:o.res])
	}
	n, e := d.writeNow(fd, random(3, backend.WriteBytes+1000))
	if e != 0 {
		t.Fatalf("Write: %v", e)
	}
	d.expect(peer, random(3, n))
}

// testWriteFull: on a full stream Write says EAGAIN, and what the loop does after
// that, Send and Poll, sees the space that the far end makes.
func testWriteFull(t *testing.T, h Harness, network string) {
	d := newBed(t, h, Sizes{Buffers: 4, BufferSize: 512, Large: 4 << 20})
	fd, peer := d.pair(network)
	peer.SetReadBuffer(fullBuffer)
	c := d.conns[fd]
	read := 0
	p := random(8, 40<<10)
	for range 3 {
		for range 100_000 {
			if _, e := d.writeNow(fd, p, 1000, 20_000); e == syscall.EAGAIN {
				break
			} else if e != 0 {
				t.Fatalf("Write: %v", e)
			}
		}
		// The loop takes over.
		for sent := 0; sent < len(p); {
			n, poll := d.sendOn(fd, p[sent:])
			sent += n
			if poll != nil {
				n := len(c.out) - read
				d.expect(peer, c.out[read:read+n])
				read += n
				d.ended(poll)
			}
		}
		n := len(c.out) - read
		d.expect(peer, c.out[read:read+n])
		read += n
	}
}

func testWriteReset(t *testing.T, h Harness, network string) {
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	d.resetPeer(fd, peer)
	for range 100 {
		n, e := d.writeNow(fd, []byte("into the void"))
		if e == syscall.EPIPE || e == syscall.ECONNRESET {
			return
		}
		if n == 0 && e != syscall.EAGAIN {
			t.Fatalf("Write after a reset: %v", e)
		}
		d.idle(1)
	}
	t.Fatal("Write never fails")
}

// testWriteBeside: another goroutine writes while the loop receives, waits and uses
// other descriptors.
func testWriteBeside(t *testing.T, h Harness, network string) {
	if h.Virtual {
		t.Skip("by hand only")
	}
	d := newBed(t, h, defaultSizes)
	fd, peer := d.pair(network)
	other, otherPeer := d.pair(network)
	in, out := random(1, 100_000), random(2, 40_000)
	recv := d.recv(fd)
	el := d.alloc(len(out))
	copy(el.Bytes(), out)
	done := make(chan syscall.Errno, 1)
	go func() {
		for rest := el; rest.Len > 0; {
			v := [1]sgmsg.Element{rest}
			v[0].Len = min(rest.Len, 1000)
			n, e := d.b.Write(fd, v[:])
			if e == syscall.EAGAIN {
				continue
			}
			if e != 0 {
				done <- e
				return
			}
			rest.Off += uint32(n)
			rest.Len -= uint32(n)
		}
		done <- 0
	}()
	d.pump(peer, in, func() {
		recv = d.rearm(recv)
		o := d.send(other, []byte("elsewhere"))
		d.ended(o)
		if o.res != int32(len("elsewhere")) {
			t.Fatalf("Send: %d", o.res)
		}
		d.expect(otherPeer, []byte("elsewhere"))
	})
	d.received(recv, in)
	d.expect(peer, out)
	if e := <-done; e != 0 {
		t.Fatalf("Write: %v", e)
	}
	el.Buf.Release()
}
