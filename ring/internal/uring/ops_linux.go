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
	ringKey   = uint64(backend.OpNone)<<56 | 3 // a wake-up that came without the wake descriptor
)

// A send never waits and raises no signal. Under MSG_DONTWAIT io_uring completes it
// with EAGAIN, where it would otherwise wait for write space by itself.
const sendFlags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL

// sqe returns the submission entry of one more operation that will have a final
// completion; the caller fills in what else it needs. When the queue is full sqe submits
// first.
func (b *ring) sqe(op uint8, fd int, key uint64) *uapi.SQE {
	e := b.entry(op, fd, key)
	if e != &b.lost {
		b.inflight++
	}
	return e
}

// entry is sqe for an operation that may have no completion.
func (b *ring) entry(op uint8, fd int, key uint64) *uapi.SQE {
	e := b.q.next()
	if e == nil || invariants.Sometimes(64) {
		e = b.entryAfterFlush(e)
	}
	*e = uapi.SQE{}
	e.Opcode, e.Fd, e.UserData = op, int32(fd), key
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
	e := b.sqe(uapi.IORING_OP_CONNECT, fd, uint64(k)) // may submit, so it comes before the scratch
	addr, n := b.scratch.name(to)
	e.Addr = addr
	e.Off = uint64(n) // addr2: the length
}

// Recv implements [backend.Backend] with a multishot IORING_OP_RECV that selects
// provided buffers.
func (b *ring) Recv(k backend.Key, fd int) {
	e := b.sqe(uapi.IORING_OP_RECV, fd, uint64(k))
	e.Flags = uapi.IOSQE_BUFFER_SELECT
	e.Ioprio = uapi.IORING_RECV_MULTISHOT
	e.BufIndex = bufGroup
	e.FileIndex = b.recvLimit // optlen
}

// tryRecvLimit switches the limit of Recv on if the kernel knows it (Linux 6.17). An older one
// refuses an entry that has it before it looks at the descriptor.
func (b *ring) tryRecvLimit() {
	if b.cfg.RecvBytes <= 0 || !b.use.Has(RecvLimit) {
		return
	}
	b.recvLimit = uint32(min(b.cfg.RecvBytes, maxRead))
	b.Recv(backend.MakeKey(backend.OpRecv, 0, 0), -1)
	b.q.submit(false)
	if b.q.ready() != 1 || b.q.cqes[b.q.head&b.q.cqMask].Res != -int32(syscall.EBADF) {
		b.recvLimit = 0
	}
	b.discard()
}

// Send implements [backend.Backend] with IORING_OP_SEND for one element and
// IORING_OP_SENDMSG for more.
func (b *ring) Send(k backend.Key, fd int, v []sgmsg.Element) {
	if len(v) == 1 {
		e := b.sqe(uapi.IORING_OP_SEND, fd, uint64(k))
		e.Addr = address(v[0].Bytes())
		e.Len = v[0].Len
		e.OpFlags = sendFlags
		b.sends++
		b.bytes += int(v[0].Len)
		return
	}
	b.sendMsg(k, fd, v)
}

// Write implements [backend.Backend] without the ring, which is one thread's.
func (b *ring) Write(fd int, v []sgmsg.Element) (int, syscall.Errno) {
	return backend.WriteFD(fd, v)
}

func (b *ring) sendMsg(k backend.Key, fd int, v []sgmsg.Element) {
	if !b.scratch.fits(len(v)) {
		b.flush()
	}
	e := b.sqe(uapi.IORING_OP_SENDMSG, fd, uint64(k)) // may submit, so it comes before the scratch
	h := b.scratch.hdr(v)
	e.Addr = uapi.Addr(h)
	e.Len = 1
	e.OpFlags = sendFlags
	b.sends++
	for i := range v {
		b.bytes += int(v[i].Len)
	}
}

// Poll implements [backend.Backend] with a one-shot IORING_OP_POLL_ADD.
func (b *ring) Poll(k backend.Key, fd int) {
	e := b.sqe(uapi.IORING_OP_POLL_ADD, fd, uint64(k))
	e.OpFlags = unix.POLLOUT | unix.POLLERR | unix.POLLHUP
}

// RecvMsg implements [backend.Backend] with a multishot IORING_OP_RECVMSG that selects
// provided buffers. Its header only says how large the name and control areas are,
// so all of them share one.
func (b *ring) RecvMsg(k backend.Key, fd int) {
	e := b.sqe(uapi.IORING_OP_RECVMSG, fd, uint64(k))
	e.Flags = uapi.IOSQE_BUFFER_SELECT
	e.Ioprio = uapi.IORING_RECV_MULTISHOT
	e.Addr = uapi.Addr(&b.scratch.packet)
	e.Len = 1
	e.BufIndex = bufGroup
}

// Cancel implements [backend.Backend] with IORING_OP_ASYNC_CANCEL. It has a completion
// only when it finds nothing (ENOENT), which is not an error here.
func (b *ring) Cancel(k backend.Key) {
	e := b.entry(uapi.IORING_OP_ASYNC_CANCEL, -1, cancelKey)
	e.Flags = uapi.IOSQE_CQE_SKIP_SUCCESS
	e.Addr = uint64(k)
}
