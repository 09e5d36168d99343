package contract

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// patience is how long, by the backend's clock, a test waits for something that
// must happen.
const patience = 20 * time.Second

// op is one operation in the book.
type op struct {
	key       backend.Key
	fd        int
	data      []byte          // Send: the bytes asked for
	mem       sgmsg.Element   // Read: where to
	elems     []sgmsg.Element // Send: the memory, held until the last event
	cancelled bool
	done      bool
	res       int32    // of the last event
	events    int      // how many came
	fds       []int    // Accept
	packets   [][]byte // RecvMsg: the buffers' content
}

func (o *op) err() syscall.Errno { return errno(o.res) }

func errno(res int32) syscall.Errno {
	if res < 0 {
		return syscall.Errno(-res)
	}
	return 0
}

// conn is what the book knows of one attached descriptor.
type conn struct {
	slot, gen uint32
	in        []byte // the stream so far: Recv and Read
	out       []byte // what Send accepted
}

// Where a pool buffer is.
const (
	withTest    = iota // free: released and not provided
	withBackend        // provided
	heldByTest         // came in an event, its reference is held
)

// bed is a backend under test together with its book.
type bed struct {
	t    testing.TB
	h    Harness
	b    backend.Backend
	pool *sgmsg.Arena
	heap *sgmsg.Arena // memory of Send and Read, in the mapping

	events []backend.Event
	ops    map[backend.Key]*op
	conns  map[int]*conn
	slots  uint32
	where  []uint8
	hold   bool          // keep the buffers of events
	held   []sgmsg.BufID // kept ones
	back   []sgmsg.BufID // released in this turn
	closed bool
	loose  []sgmsg.Element // of no operation, released at the end
}

var defaultSizes = Sizes{Buffers: 64, BufferSize: 2048}

// newBed starts a backend with all its buffers provided.
func newBed(t *testing.T, h Harness, s Sizes) *bed {
	t.Helper()
	d := newEmptyBed(t, h, s)
	for i := range d.where {
		d.back = append(d.back, d.pool.ID(i))
	}
	d.provide()
	return d
}

// newEmptyBed starts a backend without buffers.
func newEmptyBed(t *testing.T, h Harness, s Sizes) *bed {
	t.Helper()
	if s.Large == 0 {
		s.Large = 1 << 20
	}
	runtime.LockOSThread()
	b, pool, mapping := h.New(t, s)
	heap, err := sgmsg.NewArena(mapping[len(mapping)-s.Large:], 512)
	if err != nil {
		t.Fatal(err)
	}
	d := &bed{
		t: t, h: h, b: b, pool: pool, heap: heap,
		events: make([]backend.Event, 64),
		ops:    map[backend.Key]*op{},
		conns:  map[int]*conn{},
		where:  make([]uint8, pool.Blocks()),
	}
	if err := b.Start(); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(d.finish)
	return d
}

// finish ends every test: what is in flight is cancelled and must end, then all
// is closed, and the book must balance.
func (d *bed) finish() {
	defer runtime.UnlockOSThread()
	if d.t.Failed() {
		if !d.closed {
			d.b.Close()
		}
		return
	}
	if !d.closed {
		d.quiet()
		for fd := range d.conns {
			d.closeFD(fd)
		}
		d.close()
	}
	d.release()
	if n := d.pool.Held(); n != 0 {
		d.t.Errorf("%d pool buffers are held after Close", n)
	}
	for _, e := range d.loose {
		e.Buf.Release()
	}
	for _, o := range d.ops { // forgotten by Close
		d.free(o)
	}
	if n := d.heap.Held(); n != 0 {
		d.t.Errorf("%d elements of the suite's own memory are held", n)
	}
	d.pool.Close(nil)
	d.heap.Close(nil)
}

func (d *bed) close() {
	d.closed = true
	if err := d.b.Close(); err != nil {
		d.t.Errorf("Close: %v", err)
	}
}

// quiet cancels everything, waits until it has ended, and checks that nothing
// comes after that.
func (d *bed) quiet() {
	d.t.Helper()
	for _, o := range d.ops {
		d.cancel(o)
	}
	d.until("all operations have ended", func() bool { return len(d.ops) == 0 })
	for range 3 {
		d.settle()
		d.turn(time.Millisecond)
	}
}

func (d *bed) settle() {
	if d.h.Settle != nil {
		d.h.Settle(d.b)
	}
}

// turn waits once and enters the events in the book.
func (d *bed) turn(timeout time.Duration) int {
	d.t.Helper()
	n, err := d.b.Wait(d.events, timeout)
	if err != nil {
		d.t.Fatalf("Wait: %v", err)
	}
	if n < 0 || n > len(d.events) {
		d.t.Fatalf("Wait returned %d events for a slice of %d", n, len(d.events))
	}
	for i := range d.events[:n] {
		d.enter(&d.events[i])
	}
	d.provide()
	return n
}

// until turns until cond holds.
func (d *bed) until(what string, cond func() bool) {
	d.t.Helper()
	end := d.b.Now() + patience
	for i := 0; !cond(); i++ {
		if d.b.Now() > end || i > 1_000_000 {
			d.t.Fatalf("waited in vain until %s; in flight: %s", what, d.inFlight())
		}
		d.turn(50 * time.Millisecond)
	}
}

// ended turns until the operations have had their last event.
func (d *bed) ended(ops ...*op) {
	d.t.Helper()
	for _, o := range ops {
		d.until(o.key.Op().String()+" has ended", func() bool { return o.done })
	}
}

// idle turns n times without sleeping long, for what must not happen.
func (d *bed) idle(n int) {
	d.t.Helper()
	for range n {
		d.settle()
		d.turn(0)
	}
}

func (d *bed) inFlight() (s string) {
	for k, o := range d.ops {
		s += k.Op().String()
		if o.cancelled {
			s += " (cancelled)"
		}
		s += " "
	}
	return s
}

// enter holds one event against the book.
func (d *bed) enter(e *backend.Event) {
	t := d.t
	t.Helper()
	o := d.ops[e.Key]
	if o == nil {
		t.Fatalf("event %+v (%s) of no operation in flight", *e, e.Key.Op())
	}
	kind := e.Key.Op()
	o.events++
	o.res = e.Res
	if !e.More {
		o.done = true
		delete(d.ops, e.Key)
	}
	if e.Err() == syscall.ECANCELED && !o.cancelled {
		t.Fatalf("%s ended with ECANCELED and was not cancelled", kind)
	}
	if e.Err() == syscall.ECANCELED && e.More {
		t.Fatalf("%s: ECANCELED is not its last event", kind)
	}

	buffered := e.Res > 0 && (kind == backend.OpRecv || kind == backend.OpRecvMsg)
	if buffered != (e.Buf != 0) {
		t.Fatalf("%s: event %+v has a buffer: %v, want %v", kind, *e, e.Buf != 0, buffered)
	}
	multi := kind == backend.OpRecv || kind == backend.OpRecvMsg || kind == backend.OpAccept
	if e.More && !multi {
		t.Fatalf("%s: event %+v is not its last", kind, *e)
	}

	switch kind {
	case backend.OpRecv, backend.OpRecvMsg:
		if e.Res <= 0 {
			if e.More {
				t.Fatalf("%s: result %d is not final", kind, e.Res)
			}
			if e.Res == 0 && kind == backend.OpRecvMsg {
				t.Fatalf("recvmsg ended with 0")
			}
			return
		}
		p := d.take(e)
		if kind == backend.OpRecv {
			d.conns[o.fd].in = append(d.conns[o.fd].in, p...)
		} else {
			o.packets = append(o.packets, bytes.Clone(p))
		}
		if d.hold {
			d.held = append(d.held, e.Buf)
		} else {
			d.give(e.Buf)
		}
	case backend.OpRead:
		if e.Res > int32(o.mem.Len) {
			t.Fatalf("read: %d bytes into %d", e.Res, o.mem.Len)
		}
		if e.Res > 0 {
			d.conns[o.fd].in = append(d.conns[o.fd].in, o.mem.Bytes()[:e.Res]...)
		}
		d.free(o)
	case backend.OpSend:
		if e.Res > int32(len(o.data)) || e.Res == 0 {
			t.Fatalf("%s: result %d for %d bytes", kind, e.Res, len(o.data))
		}
		if e.Res > 0 {
			d.conns[o.fd].out = append(d.conns[o.fd].out, o.data[:e.Res]...)
		}
		d.free(o)
	case backend.OpPoll, backend.OpConnect:
		if e.Res > 0 {
			t.Fatalf("%s: result %d", kind, e.Res)
		}
	case backend.OpAccept:
		if e.Res >= 0 {
			o.fds = append(o.fds, int(e.Res))
		}
	default:
		t.Fatalf("event %+v of unknown kind", *e)
	}
}

// take enters that an event's buffer now belongs to the test and returns its
// bytes.
func (d *bed) take(e *backend.Event) []byte {
	d.t.Helper()
	if !d.pool.Owns(e.Buf) || d.pool.Block(e.Buf) >= len(d.where) {
		d.t.Fatalf("event %+v: not a buffer of the pool", *e)
	}
	blk := d.pool.Block(e.Buf)
	if d.where[blk] != withBackend {
		d.t.Fatalf("event %+v: buffer %d was not with the backend", *e, blk)
	}
	if n := e.Buf.Refs(); n != 1 {
		d.t.Fatalf("event %+v: buffer %d has %d references, want 1", *e, blk, n)
	}
	if int(e.Res) > d.pool.BlockSize() {
		d.t.Fatalf("event %+v: more than a buffer of %d holds", *e, d.pool.BlockSize())
	}
	d.where[blk] = heldByTest
	return sgmsg.Element{Buf: e.Buf, Len: uint32(e.Res)}.Bytes()
}

// give releases a buffer; provide hands all released ones to the backend in one
// batch, as a loop does.
func (d *bed) give(id sgmsg.BufID) {
	id.Release()
	d.where[d.pool.Block(id)] = withTest
	d.back = append(d.back, id)
}

func (d *bed) provide() {
	if len(d.back) == 0 || d.closed {
		return
	}
	for _, id := range d.back {
		d.where[d.pool.Block(id)] = withBackend
	}
	d.b.Provide(d.back)
	d.back = d.back[:0]
}

// release gives the held buffers back.
func (d *bed) release() {
	for _, id := range d.held {
		d.give(id)
	}
	d.held = d.held[:0]
	d.provide()
}

func (d *bed) free(o *op) {
	for _, e := range o.elems {
		e.Buf.Release()
	}
	o.elems = nil
}

// attach makes a descriptor known to the backend and to the book. Slots are
// given once, and the generation is neither 0 nor small, so that keys must come
// back as they went in.
func (d *bed) attach(fd int) int {
	d.t.Helper()
	if err := d.b.Attach(fd); err != nil {
		d.t.Fatalf("Attach: %v", err)
	}
	d.slots++
	d.conns[fd] = &conn{slot: 7 + d.slots, gen: 0xfedcba - d.slots}
	return fd
}

func (d *bed) closeFD(fd int) {
	d.t.Helper()
	if err := d.b.CloseFD(fd); err != nil {
		d.t.Fatalf("CloseFD: %v", err)
	}
	delete(d.conns, fd)
}

func (d *bed) pair(network string) (int, Peer) {
	d.t.Helper()
	fd, peer := d.h.Pair(d.t, d.b, network)
	return d.attach(fd), peer
}

// random returns n bytes that depend on the seed.
func random(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1})
	p := make([]byte, n)
	r.Read(p)
	return p
}

// pump writes all of p to the far end, turning in between, and calls each after
// every turn.
func (d *bed) pump(peer Peer, p []byte, each func()) {
	d.t.Helper()
	end := d.b.Now() + patience
	for len(p) > 0 {
		n, err := peer.Write(p)
		if err != nil {
			d.t.Fatalf("the far end's Write: %v", err)
		}
		p = p[n:]
		if d.b.Now() > end {
			d.t.Fatalf("the far end cannot write its last %d bytes", len(p))
		}
		timeout := time.Duration(0)
		if n == 0 {
			timeout = time.Millisecond
		}
		d.turn(timeout)
		if each != nil {
			each()
		}
	}
}

// write writes p to the far end, which has room for it.
func (d *bed) write(peer Peer, p []byte) {
	d.t.Helper()
	n, err := peer.Write(p)
	if err != nil || n != len(p) {
		d.t.Fatalf("the far end's Write = %d, %v, want %d", n, err, len(p))
	}
	d.settle()
}

// expect reads len(want) bytes, which are on their way, at the far end.
func (d *bed) expect(peer Peer, want []byte) {
	d.t.Helper()
	got := make([]byte, len(want))
	for at := 0; at < len(got); {
		n, err := peer.Read(got[at:])
		if err != nil {
			d.t.Fatalf("the far end's Read after %d of %d bytes: %v", at, len(got), err)
		}
		at += n
	}
	d.same("the far end", got, want)
}

// expectEOF expects the end of the stream at the far end.
func (d *bed) expectEOF(peer Peer) {
	d.t.Helper()
	var p [1]byte
	if n, err := peer.Read(p[:]); !errors.Is(err, io.EOF) {
		d.t.Fatalf("the far end's Read = %d, %v, want EOF", n, err)
	}
}

func (d *bed) same(what string, got, want []byte) {
	d.t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	d.t.Fatalf("%s: %d bytes, want %d; the first difference is at byte %d", what, len(got), len(want), i)
}

// received turns until the descriptor's stream has as many bytes as want, with
// Recv kept going, and compares.
func (d *bed) received(o *op, want []byte) *op {
	d.t.Helper()
	c := d.conns[o.fd]
	d.until("all bytes are received", func() bool {
		o = d.rearm(o)
		return len(c.in) >= len(want) || o.done
	})
	d.same("received", c.in, want)
	return o
}
