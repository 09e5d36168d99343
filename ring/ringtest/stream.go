package ringtest

import (
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// pump lets the receiving operation of a socket do what it can.
func (k *socket) pump() {
	if o := k.running(backend.OpRecv); o != nil {
		k.pumpRecv(o)
	} else if o := k.running(backend.OpRead); o != nil {
		k.pumpRead(o)
	} else if o := k.running(backend.OpRecvMsg); o != nil {
		k.pumpPackets(o)
	}
}

// end returns how a stream without readable bytes ends: 0 for its end, a
// negative errno, or 1 if it goes on.
func (k *socket) end() int32 {
	switch e := k.failure(); {
	case e != 0:
		return -int32(e)
	case k.in == nil:
		return -int32(syscall.ENOTCONN)
	case k.in.fin || k.dead || k.rdShut:
		return 0
	}
	return 1
}

func (k *socket) pumpRecv(o *op) {
	l := o.loop
	s := k.sim
	for !o.done {
		if k.in == nil || k.in.readable() == 0 {
			if res := k.end(); res <= 0 {
				o.post(res, 0, false)
			}
			return
		}
		if l.noBuffers() {
			o.fail(syscall.ENOBUFS)
			return
		}
		n := min(k.in.readable(), l.pool.BlockSize())
		if s.hit(ShortRecv) {
			n = s.upTo(n)
		}
		if s.hit(TinyRecv) {
			n = min(n, s.upTo(3))
		}
		buf := l.buffer()
		k.in.take(sgmsg.Element{Buf: buf, Len: uint32(n)}.Bytes())
		o.post(int32(n), buf, !s.hit(EndMultishot))
		if !o.done && s.hit(PauseRecv) {
			s.in(s.delay(), timer{duty: dutyResume, op: o, id: o.id})
			return
		}
	}
}

func (k *socket) pumpRead(o *op) {
	if k.in != nil && k.in.readable() > 0 {
		n := min(k.in.readable(), len(o.mem))
		if k.sim.hit(ShortRead) {
			n = k.sim.upTo(n)
		}
		o.got = k.in.take(o.mem[:n])
		o.post(int32(o.got), 0, false)
		return
	}
	if res := k.end(); res <= 0 {
		o.post(res, 0, false)
	}
}

// canSend returns the error a Send would end with at once, EAGAIN for a full
// stream, or 0.
func (k *socket) canSend() syscall.Errno {
	if k.wrShut || k.out == nil {
		return syscall.EPIPE
	}
	if e := k.failure(); e != 0 {
		return e
	}
	if k.dead {
		return syscall.EPIPE
	}
	if k.out.room() == 0 {
		return syscall.EAGAIN
	}
	return 0
}

func (o *op) total() int {
	n := 0
	for _, e := range o.vec {
		n += int(e.Len)
	}
	return n
}

// checkVector sees to it that the memory of a send is still somebody's.
func (o *op) checkVector() {
	for _, e := range o.vec {
		if e.Len > 0 && e.Buf.Refs() < 1 {
			o.loop.sim.violation("%v: memory was released before the last event", o.kind)
		}
	}
}

func (o *op) send() {
	o.checkVector()
	n, e := o.sock.accept(o.vec, o.total())
	if e != 0 {
		o.fail(e)
		return
	}
	o.post(int32(n), 0, false)
}

// Write is a Send that happens here and now.
func (l *loop) Write(fd int, v []sgmsg.Element) (int, syscall.Errno) {
	k := l.sim.sock(fd)
	if k == nil || k.loop != l && !l.closed {
		l.sim.violation("write: descriptor %d is not attached to loop %d", fd, l.index)
	}
	if k.ops[backend.OpSend] != nil || k.ops[backend.OpPoll] != nil {
		l.sim.violation("write: descriptor %d has a send or poll in flight", fd)
	}
	v = v[:min(len(v), backend.WriteElements)]
	o := op{loop: l, kind: backend.OpSend, vec: v}
	o.checkVector()
	total := min(o.total(), backend.WriteBytes)
	if total == 0 {
		l.sim.violation("write: %d elements of 0 bytes", len(v))
	}
	return k.accept(v, total)
}

// accept takes up to total bytes of v into the stream: at least one, or an error.
func (k *socket) accept(v []sgmsg.Element, total int) (int, syscall.Errno) {
	s := k.sim
	if e := k.canSend(); e != 0 {
		return 0, e
	}
	if s.hit(SendAgain) {
		return 0, syscall.EAGAIN
	}
	n := min(total, k.out.room())
	if s.hit(ShortSend) {
		n = s.upTo(n)
	}
	from := k.out.tail
	left := n
	for _, e := range v {
		b := e.Bytes()
		b = b[:min(len(b), left)]
		if len(b) > 0 {
			k.out.put(b)
		}
		if left -= len(b); left == 0 {
			break
		}
	}
	k.out.launch(from, false)
	s.note(record{what: didSend, fd: k.shownFD(), a: int64(n), b: int64(k.out.room())})
	return n, 0
}

func (o *op) poll() {
	k := o.sock
	s := k.sim
	o.need = 1
	if k.out != nil && s.hit(LazyPoll) {
		o.need = max(1, k.out.limit/4)
	}
	k.pumpPoll()
	if !o.done && s.hit(PollHint) {
		o.post(0, 0, false)
	}
}

// pumpPoll ends a Poll whose stream has room or has failed.
func (k *socket) pumpPoll() {
	o := k.running(backend.OpPoll)
	if o == nil {
		return
	}
	if k.kind == kindPacket || k.out == nil || k.err != 0 || k.dead || k.wrShut || k.out.room() >= o.need {
		o.post(0, 0, false)
	}
}
