package contract

import (
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// op enters an operation under the one key its descriptor has for the kind, as
// in a loop.
func (d *bed) op(kind backend.Op, fd int) *op {
	d.t.Helper()
	c := d.conns[fd]
	if c == nil {
		d.t.Fatalf("%s on a descriptor that is not attached", kind)
	}
	o := &op{key: backend.MakeKey(kind, c.gen, c.slot), fd: fd}
	if d.ops[o.key] != nil {
		d.t.Fatalf("the test has two %s operations on one descriptor", kind)
	}
	d.ops[o.key] = o
	return o
}

func (d *bed) running(kind backend.Op, fd int) *op {
	c := d.conns[fd]
	return d.ops[backend.MakeKey(kind, c.gen, c.slot)]
}

func (d *bed) recv(fd int) *op {
	o := d.op(backend.OpRecv, fd)
	d.b.Recv(o.key, fd)
	return o
}

// rearm queues Recv again if it has ended for a reason that a loop would go on
// after.
func (d *bed) rearm(o *op) *op {
	if !o.done || o.res == 0 || o.res < 0 && o.err() != syscall.ENOBUFS {
		return o
	}
	return d.recv(o.fd)
}

func (d *bed) read(fd, n int) *op {
	d.t.Helper()
	o := d.op(backend.OpRead, fd)
	o.mem = d.alloc(n)
	o.elems = append(o.elems, o.mem)
	d.b.Read(o.key, fd, o.mem.Bytes())
	return o
}

// send sends p cut into elements at the given positions.
func (d *bed) send(fd int, p []byte, cuts ...int) *op {
	d.t.Helper()
	o := d.op(backend.OpSend, fd)
	d.fill(o, p, cuts)
	v := make([]sgmsg.Element, len(o.elems))
	copy(v, o.elems)
	d.b.Send(o.key, fd, v)
	clear(v) // consumed by the call
	return o
}

func (d *bed) fill(o *op, p []byte, cuts []int) {
	d.t.Helper()
	o.data = p
	at := 0
	for _, end := range append(cuts, len(p)) {
		if end == at {
			continue
		}
		e := d.alloc(end - at)
		copy(e.Bytes(), p[at:end])
		o.elems = append(o.elems, e)
		at = end
	}
}

func (d *bed) alloc(n int) sgmsg.Element {
	d.t.Helper()
	e, err := d.heap.Alloc(n)
	if err != nil {
		d.t.Fatal(err)
	}
	return e
}

func (d *bed) poll(fd int) *op {
	o := d.op(backend.OpPoll, fd)
	d.b.Poll(o.key, fd)
	return o
}

func (d *bed) accept(fd int) *op {
	o := d.op(backend.OpAccept, fd)
	d.b.Accept(o.key, fd)
	return o
}

func (d *bed) connect(fd int, to backend.Addr) *op {
	o := d.op(backend.OpConnect, fd)
	d.b.Connect(o.key, fd, &to)
	to = backend.Addr{Path: "consumed"}
	return o
}

func (d *bed) recvMsg(fd int) *op {
	o := d.op(backend.OpRecvMsg, fd)
	d.b.RecvMsg(o.key, fd)
	return o
}

func (d *bed) cancel(o *op) {
	o.cancelled = true
	d.b.Cancel(o.key)
}
