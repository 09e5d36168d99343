package uring

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// User data of the backend's own operations: keys of OpNone.
const (
	wakeKey   = uint64(backend.OpNone)<<56 | 1
	cancelKey = uint64(backend.OpNone)<<56 | 2
)

// A send never waits and raises no signal. Under MSG_DONTWAIT io_uring completes it
// with EAGAIN, where it would otherwise wait for write space by itself.
const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// sqe returns the submission entry for one more operation that will have a final
// completion. When the queue is full it submits first.
func (b *ring) sqe() *uapi.SQE {
	e := b.entry()
	if e != &b.lost {
		b.inflight++
	}
	return e
}

// entry is sqe for an operation that may have no completion.
func (b *ring) entry() *uapi.SQE {
	e := b.q.next()
	if e == nil || invariants.Sometimes(64) {
		return b.entryAfterFlush(e)
	}
	return e
}

// entryAfterFlush submits early to make room. e is an entry already taken, or nil.
func (b *ring) entryAfterFlush(e *uapi.SQE) *uapi.SQE {
	if e != nil {
		b.q.tail-- // give it back, it is not filled yet
	}
	b.flush()
	if e = b.q.next(); e == nil {
		// The kernel takes nothing any more and b.fatal says why; the next Wait
		// ends the loop. What is queued until then goes nowhere.
		b.lost = uapi.SQE{}
		return &b.lost
	}
	return e
}

// flush submits what is queued, in the middle of a turn. EAGAIN, EBUSY and EINTR pass
// once the kernel has run the work that is due, which every enter does.
func (b *ring) flush() {
	if b.fatal != nil {
		b.scratch.reset() // nobody reads it any more
		return
	}
	const tries = 1000
	var errno syscall.Errno
	for range tries {
		errno = b.enter()
		if b.q.pending() == 0 {
			return
		}
		if !passing(errno) {
			break
		}
	}
	b.fail("submit", errno)
	b.scratch.reset()
}

// Connect implements [backend.Backend] with IORING_OP_CONNECT.
func (b *ring) Connect(k backend.Key, fd int, to *backend.Addr) {
	e := b.sqe() // may submit, so it comes before the scratch
	addr, n := b.scratch.name(to)
	*e = uapi.SQE{
		Opcode:   uapi.IORING_OP_CONNECT,
		Fd:       int32(fd),
		Addr:     addr,
		Off:      uint64(n), // addr2: the length
		UserData: uint64(k),
	}
}

// Recv implements [backend.Backend] with a multishot IORING_OP_RECV that selects
// provided buffers.
func (b *ring) Recv(k backend.Key, fd int) {
	*b.sqe() = uapi.SQE{
		Opcode:   uapi.IORING_OP_RECV,
		Flags:    uapi.IOSQE_BUFFER_SELECT,
		Fd:       int32(fd),
		Ioprio:   uapi.IORING_RECV_MULTISHOT,
		BufIndex: bufGroup,
		UserData: uint64(k),
	}
}

// Send implements [backend.Backend] with IORING_OP_SEND for one element and
// IORING_OP_SENDMSG for more.
func (b *ring) Send(k backend.Key, fd int, v []sgmsg.Element) {
	if len(v) == 1 {
		e := b.sqe()
		*e = uapi.SQE{
			Opcode:   uapi.IORING_OP_SEND,
			Fd:       int32(fd),
			Addr:     address(v[0].Bytes()),
			Len:      v[0].Len,
			OpFlags:  sendFlags,
			UserData: uint64(k),
		}
		b.sends++
		b.bytes += int(v[0].Len)
		return
	}
	b.sendMsg(k, fd, v, nil)
}

// Write implements [backend.Backend] without the ring, which is one thread's.
func (b *ring) Write(fd int, v []sgmsg.Element) (int, syscall.Errno) {
	return backend.WriteFD(fd, v)
}

// SendMsg implements [backend.Backend] with IORING_OP_SENDMSG.
func (b *ring) SendMsg(k backend.Key, fd int, v []sgmsg.Element, to *backend.Addr) {
	b.sendMsg(k, fd, v, to)
}

func (b *ring) sendMsg(k backend.Key, fd int, v []sgmsg.Element, to *backend.Addr) {
	if !b.scratch.fits(len(v)) {
		b.flush()
	}
	e := b.sqe() // may submit, so it comes before the scratch
	h := b.scratch.hdr(v)
	if to != nil {
		h.Name, h.Namelen = b.scratch.name(to)
	}
	*e = uapi.SQE{
		Opcode:   uapi.IORING_OP_SENDMSG,
		Fd:       int32(fd),
		Addr:     uapi.Addr(h),
		Len:      1,
		OpFlags:  sendFlags,
		UserData: uint64(k),
	}
	b.sends++
	for i := range v {
		b.bytes += int(v[i].Len)
	}
}

// Poll implements [backend.Backend] with a one-shot IORING_OP_POLL_ADD.
func (b *ring) Poll(k backend.Key, fd int) {
	*b.sqe() = uapi.SQE{
		Opcode:   uapi.IORING_OP_POLL_ADD,
		Fd:       int32(fd),
		OpFlags:  unix.POLLOUT | unix.POLLERR | unix.POLLHUP,
		UserData: uint64(k),
	}
}

// RecvMsg implements [backend.Backend] with a multishot IORING_OP_RECVMSG that selects
// provided buffers. Its header only says how large the name and control areas are,
// so all of them share one.
func (b *ring) RecvMsg(k backend.Key, fd int) {
	*b.sqe() = uapi.SQE{
		Opcode:   uapi.IORING_OP_RECVMSG,
		Flags:    uapi.IOSQE_BUFFER_SELECT,
		Fd:       int32(fd),
		Ioprio:   uapi.IORING_RECV_MULTISHOT,
		Addr:     uapi.Addr(&b.scratch.packet),
		Len:      1,
		BufIndex: bufGroup,
		UserData: uint64(k),
	}
}

// Cancel implements [backend.Backend] with IORING_OP_ASYNC_CANCEL. It has a completion
// only when it finds nothing (ENOENT), which is not an error here.
func (b *ring) Cancel(k backend.Key) {
	*b.entry() = uapi.SQE{
		Opcode:   uapi.IORING_OP_ASYNC_CANCEL,
		Flags:    uapi.IOSQE_CQE_SKIP_SUCCESS,
		Fd:       -1,
		Addr:     uint64(k),
		UserData: cancelKey,
	}
}
