package contract

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// testRandom drives a few connections with random operations, for some seeds.
// What is checked besides the book: both directions of every stream arrive whole
// and in order, and both ends are found.
func testRandom(t *testing.T, h Harness, network string) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { Random(t, h, network, seed, 600) })
	}
}

// Random runs one random sequence of the given number of steps. Backends call it
// with more seeds and steps than the suite does.
func Random(t *testing.T, h Harness, network string, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 17))
	sizes := []Sizes{{4, 256, 0}, {16, 512, 0}, {64, 2048, 0}}[r.IntN(3)]
	d := newBed(t, h, sizes)
	type end struct {
		fd   int
		peer Peer
		in   []byte // written by the far end
		read int    // read by the far end
	}
	var ends []*end
	for range 1 + r.IntN(6) {
		fd, peer := d.pair(network)
		ends = append(ends, &end{fd: fd, peer: peer})
	}
	drain := func(e *end, n int) {
		out := d.conns[e.fd].out
		n = min(n, len(out)-e.read)
		d.expect(e.peer, out[e.read:e.read+n])
		e.read += n
	}
	check := func(e *end) {
		c := d.conns[e.fd]
		d.same("received so far", c.in, e.in[:min(len(c.in), len(e.in))])
	}

	for range steps {
		e := ends[r.IntN(len(ends))]
		running := func(k backend.Op) bool { return d.running(k, e.fd) != nil }
		switch r.IntN(12) {
		case 0, 1:
			p := random(r.Uint64(), 1+r.IntN(1<<r.IntN(14)))
			n, err := e.peer.Write(p)
			if err != nil {
				t.Fatal(err)
			}
			e.in = append(e.in, p[:n]...)
		case 2, 3:
			if !running(backend.OpRecv) && !running(backend.OpRead) {
				d.recv(e.fd)
			}
		case 4:
			if !running(backend.OpRecv) && !running(backend.OpRead) {
				d.read(e.fd, 1+r.IntN(1<<r.IntN(14)))
			}
		case 5, 6:
			if !running(backend.OpSend) {
				p := random(r.Uint64(), 1+r.IntN(1<<r.IntN(16)))
				var cuts []int
				for at := r.IntN(len(p)) + 1; at < len(p) && len(cuts) < backend.MaxVector-1; at += 1 + r.IntN(len(p)) {
					cuts = append(cuts, at)
				}
				d.send(e.fd, p, cuts...)
			}
		case 7:
			if !running(backend.OpPoll) {
				d.poll(e.fd)
			}
		case 8:
			k := []backend.Op{backend.OpRecv, backend.OpRead, backend.OpSend, backend.OpPoll}[r.IntN(4)]
			if o := d.running(k, e.fd); o != nil {
				d.cancel(o)
			}
		case 9:
			drain(e, r.IntN(1<<r.IntN(17)))
		case 10:
			d.hold = r.IntN(2) == 0
			if !d.hold {
				d.release()
			}
		default:
			full := d.events
			d.events = d.events[:1+r.IntN(len(d.events))>>r.IntN(7)]
			d.turn(0)
			d.events = full
			check(e)
		}
	}

	// The end: everything that was sent arrives, in both directions.
	d.hold = false
	d.release()
	for _, e := range ends {
		if err := e.peer.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		c := d.conns[e.fd]
		for {
			o := d.running(backend.OpRecv, e.fd)
			if o == nil {
				o = d.running(backend.OpRead, e.fd)
			}
			if o == nil {
				o = d.recv(e.fd)
			}
			d.ended(o)
			if o.res == 0 {
				break
			}
			if e := o.err(); e != 0 && e != syscall.ENOBUFS && e != syscall.ECANCELED {
				t.Fatalf("%s ended with %v", o.key.Op(), e)
			}
		}
		d.same("received", c.in, e.in)
		if o := d.running(backend.OpSend, e.fd); o != nil {
			d.ended(o)
		}
		d.shutdown(e.fd, syscall.SHUT_WR)
		d.settle()
		drain(e, len(c.out))
		d.expectEOF(e.peer)
	}
}
