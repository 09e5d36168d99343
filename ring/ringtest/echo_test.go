package ringtest

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// An echo server and its clients, each on a loop of its own, written on the bare
// back end the way a loop uses it. They hold under every fault, and count what
// they saw of them.

const (
	echoBuffers = 16
	echoSize    = 512
)

// seen counts what reached the program.
type seen struct {
	events, chunks, bytes    int
	noBuffers, noBuffersFull int // ENOBUFS, and with buffers provided
	recvEnded                int // final with bytes
	shortSends, again        int
	overtaken                int // cancelled, and ended otherwise
	acceptErrors             int
	refused, resets          int
	readShort, emptyPoll     int
	whole                    int // connections echoed to the last byte
}

// node is one program on one loop.
type node struct {
	t      *testing.T
	sim    *Sim
	l      *loop
	pool   *sgmsg.Arena
	free   []sgmsg.BufID
	conns  []*echoConn
	open   int
	events []backend.Event
	seen   *seen
	rng    *rand.Rand

	listen *echoConn     // of the server
	server string        // of a client
	data   sgmsg.Element // what clients send
	mem    []byte        // of a client's Reads
	vec    []sgmsg.Element
}

type echoConn struct {
	fd        int
	slot, gen uint32
	client    bool
	ops       [backend.OpRecvMsg + 1]bool
	cancelled [backend.OpRecvMsg + 1]bool
	out       []sgmsg.Element // server: what is to be sent, with references
	total     int             // client
	sent, got int
	asked     int // bytes of the Send in flight
	mem       []byte
	again     bool // the last Send got EAGAIN
	polled    bool // and a Poll ended since
	wantRead  bool
	starved   bool // ENOBUFS, and no buffer came back since
	ended     bool // the end of the stream was received
	shut      bool
	failed    bool
	connected bool
}

func newNode(t *testing.T, s *Sim, sn *seen) *node {
	n := &node{t: t, sim: s, seen: sn, events: make([]backend.Event, 32)}
	n.rng = rand.New(rand.NewPCG(s.Seed(), 7))
	var err error
	n.pool, err = sgmsg.NewPoolArena(make([]byte, echoBuffers*echoSize), echoSize,
		func(id sgmsg.BufID) { n.free = append(n.free, id) })
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Open(backend.Config{Pool: n.pool, Entries: 8})
	if err != nil {
		t.Fatal(err)
	}
	n.l = b.(*loop)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range echoBuffers {
		n.free = append(n.free, n.pool.ID(i))
	}
	return n
}

func (n *node) add(fd int, client bool) *echoConn {
	if err := n.l.Attach(fd); err != nil {
		n.t.Fatal(err)
	}
	c := &echoConn{fd: fd, slot: uint32(len(n.conns)), gen: uint32(fd), client: client}
	n.conns = append(n.conns, c)
	n.open++
	return c
}

func (n *node) key(c *echoConn, op backend.Op) backend.Key {
	c.ops[op] = true
	return backend.MakeKey(op, c.gen, c.slot)
}

func (n *node) cancel(c *echoConn, op backend.Op) {
	if c.ops[op] && !c.cancelled[op] {
		c.cancelled[op] = true
		n.l.Cancel(backend.MakeKey(op, c.gen, c.slot))
	}
}

// dial starts a client that sends total bytes.
func (n *node) dial(total int) {
	fd, err := n.l.Socket(syscall.AF_INET, syscall.SOCK_STREAM)
	if err != nil {
		n.t.Fatal(err)
	}
	c := n.add(fd, true)
	c.total = total
	to := ParseAddr(n.server)
	n.l.Connect(n.key(c, backend.OpConnect), fd, &to)
}

// turn is one turn of the loop.
func (n *node) turn() {
	if len(n.free) > 0 {
		n.l.Provide(n.free)
		n.free = n.free[:0]
		n.fed()
	}
	if n.pool.Held() == 0 {
		n.fed() // no buffer will come back, since all are there
	}
	got, err := n.l.Wait(n.events, -1)
	if err != nil {
		n.t.Fatal(err)
	}
	for i := range n.events[:got] {
		n.event(&n.events[i])
	}
	for _, c := range n.conns {
		if c != nil {
			n.progress(c)
		}
	}
}

// fed lets receives that ended for want of a buffer go on.
func (n *node) fed() {
	for _, c := range n.conns {
		if c != nil {
			c.starved = false
		}
	}
}

func (n *node) event(e *backend.Event) {
	n.seen.events++
	c := n.conns[e.Key.Slot()]
	op := e.Key.Op()
	if c == nil || c.gen != e.Key.Gen() || !c.ops[op] {
		n.t.Fatalf("event %+v of no operation", *e)
	}
	if !e.More {
		c.ops[op] = false
		if c.cancelled[op] && e.Err() != syscall.ECANCELED {
			n.seen.overtaken++
		}
		c.cancelled[op] = false
	}
	switch e.Err() {
	case 0, syscall.ECANCELED:
	case syscall.EAGAIN, syscall.ENOBUFS, syscall.EMFILE, syscall.ECONNREFUSED:
	default:
		n.seen.resets++
		c.failed = true
	}
	switch op {
	case backend.OpAccept:
		if e.Res >= 0 {
			n.add(int(e.Res), false).connected = true
		} else if e.Err() == syscall.EMFILE && e.More {
			n.seen.acceptErrors++
		}
	case backend.OpConnect:
		c.connected = e.Res == 0
		if !c.connected {
			n.seen.refused++
			c.failed = true
			n.dial(c.total)
		}
	case backend.OpRecv:
		switch {
		case e.Res > 0:
			n.seen.chunks++
			if !e.More {
				n.seen.recvEnded++
			}
			n.received(c, sgmsg.Element{Buf: e.Buf, Len: uint32(e.Res)})
		case e.Res == 0:
			c.ended = true
		case e.Err() == syscall.ENOBUFS:
			n.seen.noBuffers++
			if len(n.l.free) == echoBuffers {
				n.seen.noBuffersFull++
			}
			c.starved = true
		}
	case backend.OpRead:
		if e.Res > 0 {
			if int(e.Res) < len(c.mem) {
				n.seen.readShort++
			}
			n.check(c, c.mem[:e.Res])
		} else if e.Res == 0 {
			c.ended = true
		}
	case backend.OpSend:
		n.sent(c, e)
	case backend.OpPoll:
		c.again = false
		c.polled = e.Res == 0
	}
}

// received takes over the reference of a chunk.
func (n *node) received(c *echoConn, e sgmsg.Element) {
	n.seen.bytes += int(e.Len)
	if c.failed {
		e.Buf.Release()
		return
	}
	if c.client {
		n.check(c, e.Bytes())
		e.Buf.Release()
		return
	}
	c.out = append(c.out, e)
}

// check compares what came back with what was sent.
func (n *node) check(c *echoConn, p []byte) {
	if c.got+len(p) > c.sent+c.asked || !bytes.Equal(p, n.data.Bytes()[c.got:c.got+len(p)]) {
		n.t.Fatalf("%d bytes after %d of %d are wrong", len(p), c.got, c.sent)
	}
	c.got += len(p)
}

func (n *node) sent(c *echoConn, e *backend.Event) {
	asked := c.asked
	c.asked = 0
	if e.Res <= 0 {
		if c.again = e.Err() == syscall.EAGAIN; c.again {
			n.seen.again++
			if c.polled {
				n.seen.emptyPoll++
			}
		}
		c.polled = false
		return
	}
	c.polled = false
	if int(e.Res) < asked {
		n.seen.shortSends++
	}
	c.sent += int(e.Res)
	if c.client {
		return
	}
	left := uint32(e.Res)
	for left > 0 {
		f := &c.out[0]
		if f.Len > left {
			f.Off += left
			f.Len -= left
			return
		}
		left -= f.Len
		f.Buf.Release()
		c.out = c.out[1:]
	}
}

// progress queues whatever the connection can do.
func (n *node) progress(c *echoConn) {
	switch {
	case c == n.listen:
		if !c.ops[backend.OpAccept] {
			n.l.Accept(n.key(c, backend.OpAccept), c.fd)
		}
		return
	case c.failed || c.ended && (c.client || len(c.out) == 0):
		n.end(c)
		return
	case !c.connected:
		return
	}
	n.receive(c)
	n.send(c)
}

func (n *node) receive(c *echoConn) {
	recv, read := c.ops[backend.OpRecv], c.ops[backend.OpRead]
	switch {
	case c.ended, c.starved:
	case recv || read:
		if n.rng.IntN(20) == 0 {
			n.cancel(c, backend.OpRecv)
			n.cancel(c, backend.OpRead)
			c.wantRead = c.client && recv
		}
	case c.wantRead && c.got < c.total:
		c.wantRead = false
		c.mem = make([]byte, 1+n.rng.IntN(c.total-c.got))
		n.l.Read(n.key(c, backend.OpRead), c.fd, c.mem)
	default:
		n.l.Recv(n.key(c, backend.OpRecv), c.fd)
	}
}

func (n *node) send(c *echoConn) {
	if c.ops[backend.OpSend] || c.ops[backend.OpPoll] {
		return
	}
	if c.again {
		n.l.Poll(n.key(c, backend.OpPoll), c.fd)
		return
	}
	n.vec = n.vec[:0]
	if c.client {
		for at := c.sent; at < c.total && len(n.vec) < 3; {
			k := min(c.total-at, 1+n.rng.IntN(600))
			n.vec = append(n.vec, sgmsg.Element{Buf: n.data.Buf, Off: uint32(at), Len: uint32(k)})
			at += k
		}
		if len(n.vec) == 0 && !c.shut {
			c.shut = true
			n.l.Shutdown(c.fd, syscall.SHUT_WR)
		}
	} else {
		n.vec = append(n.vec, c.out[:min(len(c.out), backend.MaxVector)]...)
	}
	if len(n.vec) == 0 {
		return
	}
	for _, e := range n.vec {
		c.asked += int(e.Len)
	}
	n.l.Send(n.key(c, backend.OpSend), c.fd, n.vec)
}

// end closes a connection once nothing is in flight.
func (n *node) end(c *echoConn) {
	busy := false
	for op := range c.ops {
		if c.ops[op] {
			busy = true
			n.cancel(c, backend.Op(op))
		}
	}
	if busy {
		return
	}
	if c.client && !c.failed {
		if c.got != c.total {
			n.t.Fatalf("the echo ended after %d of %d bytes", c.got, c.total)
		}
		n.seen.whole++
	}
	for _, e := range c.out {
		e.Buf.Release()
	}
	if err := n.l.CloseFD(c.fd); err != nil {
		n.t.Fatal(err)
	}
	n.conns[c.slot] = nil
	n.open--
}

// echo runs clients against a server until all is over, and checks that nothing
// is left.
func echo(t *testing.T, s *Sim, clients, total int, sn *seen) {
	t.Helper()
	heap := sgmsg.NewHeap(64 << 10)
	data, err := heap.Alloc(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	copy(data.Bytes(), echoData)

	server, client := newNode(t, s, sn), newNode(t, s, sn)
	fd, err := s.Listen("10.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	server.listen = server.add(fd, false)
	client.server, client.data = "10.0.0.1:7", data
	for range clients {
		client.dial(total)
	}
	if err := s.Run(func() bool { return client.open == 0 && server.open == 1 }, server.turn, client.turn); err != nil {
		t.Fatal(err)
	}
	server.listen.failed, server.listen = true, nil
	if err := s.Run(func() bool { return server.open == 0 }, server.turn, client.turn); err != nil {
		t.Fatal(err)
	}
	for s.Step(server.turn, client.turn) {
	}
	if !s.Idle() {
		t.Fatal("not idle at the end")
	}
	for _, k := range s.socks {
		if k != nil {
			t.Fatalf("descriptor %d is still open", k.fd)
		}
	}
	data.Buf.Release()
	heap.Close(nil)
	for _, n := range []*node{server, client} {
		if len(n.l.free) != echoBuffers || n.pool.Held() != 0 {
			t.Fatalf("%d of %d buffers came back, %d are held", len(n.l.free), echoBuffers, n.pool.Held())
		}
		if len(n.l.flight) != 0 {
			t.Fatalf("%d operations are in flight", len(n.l.flight))
		}
		if err := n.l.Close(); err != nil {
			t.Fatal(err)
		}
		n.pool.Close(nil)
	}
}

var echoData = func() []byte {
	p := make([]byte, 64<<10)
	var key [32]byte
	rand.NewChaCha8(key).Read(p)
	return p
}()
