package ringtest

import (
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// op is one operation, from the call that queues it to the Wait that delivers
// its last event. Then it is reused under another id.
type op struct {
	id      uint64
	key     backend.Key
	kind    backend.Op
	loop    *loop
	sock    *socket
	running bool // it takes part in what happens to the socket
	done    bool // its last event is queued
	lastAt  time.Duration

	mem  []byte          // Read
	got  int             // Read: bytes there so far
	vec  []sgmsg.Element // Send
	to   backend.Addr    // Connect
	need int             // Poll: room to wait for
}

// add makes an operation and holds the loop to its rules.
func (l *loop) add(k backend.Key, fd int, kind backend.Op) *op {
	s := l.sim
	sock := l.attached(kind.String(), fd)
	if l.flight[k] != nil {
		s.violation("%v: key %#x is already in flight", kind, uint64(k))
	}
	if sock.ops[kind] != nil {
		s.violation("%v: descriptor %d has one in flight", kind, fd)
	}
	if kind == backend.OpRecv && sock.ops[backend.OpRead] != nil ||
		kind == backend.OpRead && sock.ops[backend.OpRecv] != nil {
		s.violation("%v: Recv and Read of descriptor %d at one time", kind, fd)
	}
	var o *op
	if n := len(s.spareOp); n > 0 {
		o = s.spareOp[n-1]
		s.spareOp = s.spareOp[:n-1]
		*o = op{vec: o.vec[:0]}
	} else {
		o = new(op)
	}
	s.opID++
	o.id, o.key, o.kind, o.loop, o.sock = s.opID, k, kind, l, sock
	sock.ops[kind] = o
	l.flight[k] = o
	s.note(record{what: didQueue, loop: l.index, key: k, fd: int32(fd)})
	return o
}

// queueOp puts a filled operation in the queue.
func (l *loop) queueOp(o *op) {
	l.queue = append(l.queue, entry{op: o, id: o.id})
	if len(l.queue) > l.entries || l.sim.hit(EarlySubmit) {
		l.submit()
	}
}

// submit starts what is queued.
func (l *loop) submit() {
	for _, e := range l.queue {
		o := e.op
		if o.id != e.id || o.done {
			continue
		}
		s := l.sim
		switch {
		case e.cancel && s.hit(LateCancel):
			s.in(s.delay(), timer{duty: dutyCancel, op: o, id: o.id})
		case e.cancel:
			o.cancel()
		case o.kind == backend.OpSend && s.hit(LateSend):
			s.in(s.delay(), timer{duty: dutyExec, op: o, id: o.id})
		default:
			o.execute()
		}
	}
	clear(l.queue)
	l.queue = l.queue[:0]
}

// execute starts a submitted operation.
func (o *op) execute() {
	o.running = true
	k := o.sock
	switch o.kind {
	case backend.OpAccept:
		k.pumpAccept()
	case backend.OpConnect:
		o.connect()
	case backend.OpRecv, backend.OpRead, backend.OpRecvMsg:
		k.pump()
	case backend.OpSend:
		o.send()
	case backend.OpPoll:
		o.poll()
	}
}

// cancel ends an operation that has not ended by itself.
func (o *op) cancel() {
	o.loop.sim.note(record{what: didCancel, loop: o.loop.index, key: o.key, a: 1})
	if o.kind == backend.OpRead && o.got > 0 {
		o.post(int32(o.got), 0, false)
		return
	}
	o.fail(syscall.ECANCELED)
}

func (o *op) fail(e syscall.Errno) { o.post(-int32(e), 0, false) }

// post queues an event. Its place is anywhere behind the operation's earlier
// ones, in the queue and in time.
func (o *op) post(res int32, buf sgmsg.BufID, more bool) {
	l := o.loop
	s := l.sim
	at := s.now
	if s.hit(DelayEvent) {
		at += s.delay()
	}
	o.lastAt = max(at, o.lastAt)
	if o.lastAt > s.now {
		s.in(o.lastAt-s.now, timer{duty: dutyTick})
	}
	if !more {
		o.done, o.running = true, false
	}
	l.done = append(l.done, completion{
		op: o, at: o.lastAt, ev: backend.Event{Key: o.key, Res: res, Buf: buf, More: more},
	})
	for i := len(l.done) - 1; i > 0 && l.done[i-1].op != o && s.hit(Reorder); i-- {
		l.done[i], l.done[i-1] = l.done[i-1], l.done[i]
	}
}

// retire is called when the last event was delivered.
func (o *op) retire() {
	o.sock.ops[o.kind] = nil
	delete(o.loop.flight, o.key)
	o.id = 0
	o.mem = nil
	o.loop.sim.spareOp = append(o.loop.sim.spareOp, o)
}

// running returns the socket's operation of a kind if it takes part.
func (k *socket) running(kind backend.Op) *op {
	if o := k.ops[kind]; o != nil && o.running {
		return o
	}
	return nil
}
