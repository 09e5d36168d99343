package uring

import (
	"sync/atomic"
	"syscall"

	"github.com/kcm-go/kcm/internal/uapi"
)

// queue is the pair of rings shared with the kernel, struct io_rings: the
// submission queue written here and consumed by the kernel, the completion queue
// the other way round. Without SQPOLL the kernel touches the submission side only
// inside io_uring_enter of this very thread; the completion side too, since
// DEFER_TASKRUN posts completions nowhere else.
//
//	sqHead  written by the kernel (smp_store_release) when it has consumed entries
//	sqTail  written here, published once per enter; the kernel loads it with
//	        smp_load_acquire
//	sqFlags written by the kernel from any processor (atomic_or): task work is
//	        due, completions have overflowed
//	cqTail  written by the kernel (smp_store_release); its load here pairs with
//	        that and makes the entries before it readable
//	cqHead  written here once per batch; the kernel's load tells it which entries
//	        it may overwrite
type queue struct {
	fd         int    // the ring's descriptor
	enterFD    int    // the same, or its index registered with the thread
	enterFlags uint32 // IORING_ENTER_REGISTERED_RING with the latter

	sqHead  *atomic.Uint32
	sqTail  *atomic.Uint32
	sqFlags *atomic.Uint32
	sqes    []uapi.SQE
	sqMask  uint32
	tail    uint32 // what sqTail will be

	cqHead *atomic.Uint32
	cqTail *atomic.Uint32
	cqes   []uapi.CQE
	cqMask uint32
	head   uint32 // what cqHead will be

	mem uapi.RingMem
}

// open maps the rings that uapi.Setup created as fd with p.
func (q *queue) open(fd int, p *uapi.Params) error {
	mem, err := uapi.MapRings(fd, p)
	if err != nil {
		return err
	}
	sq, cq := &p.SQOffset, &p.CQOffset
	*q = queue{
		fd: fd, enterFD: fd, mem: mem,
		sqHead:  uapi.At[atomic.Uint32](mem.SQ, int(sq.Head)),
		sqTail:  uapi.At[atomic.Uint32](mem.SQ, int(sq.Tail)),
		sqFlags: uapi.At[atomic.Uint32](mem.SQ, int(sq.Flags)),
		sqes:    uapi.Slice[uapi.SQE](mem.SQEs, 0, int(p.SQEntries)),
		sqMask:  p.SQEntries - 1,
		cqHead:  uapi.At[atomic.Uint32](mem.CQ, int(cq.Head)),
		cqTail:  uapi.At[atomic.Uint32](mem.CQ, int(cq.Tail)),
		cqes:    uapi.Slice[uapi.CQE](mem.CQ, int(cq.Cqes), int(p.CQEntries)),
		cqMask:  p.CQEntries - 1,
	}
	if p.Flags&uapi.IORING_SETUP_NO_SQARRAY == 0 {
		// Entry i of the ring always names submission entry i.
		index := uapi.Slice[uint32](mem.SQ, int(sq.Array), int(p.SQEntries))
		for i := range index {
			index[i] = uint32(i)
		}
	}
	return nil
}

// next returns the submission entry to fill, or nil when the queue is full. Its
// content is what an earlier operation left.
func (q *queue) next() *uapi.SQE {
	if q.tail-q.sqHead.Load() > q.sqMask {
		return nil
	}
	e := &q.sqes[q.tail&q.sqMask]
	q.tail++
	return e
}

// pending returns the number of entries the kernel has not consumed yet.
func (q *queue) pending() uint32 { return q.tail - q.sqHead.Load() }

// ready returns the number of completions that are there to be read.
func (q *queue) ready() uint32 { return q.cqTail.Load() - q.head }

// submit publishes the entries and enters without sleeping. With a false quick the
// Go scheduler may take the processor away meanwhile.
func (q *queue) submit(quick bool) syscall.Errno {
	q.sqTail.Store(q.tail)
	flags := uapi.IORING_ENTER_GETEVENTS | q.enterFlags
	var errno syscall.Errno
	if quick {
		_, errno = uapi.EnterRaw(q.enterFD, q.pending(), flags)
	} else {
		_, errno = uapi.EnterWait(q.enterFD, q.pending(), 0, flags, nil)
	}
	return errno
}

// sleep publishes the entries and enters until there is a completion; a non-nil arg
// bounds the wait.
func (q *queue) sleep(arg *uapi.GetEventsArg) syscall.Errno {
	q.sqTail.Store(q.tail)
	_, errno := uapi.EnterWait(q.enterFD, q.pending(), 1, uapi.IORING_ENTER_GETEVENTS|q.enterFlags, arg)
	return errno
}

// register registers the ring's descriptor with the calling thread, which saves
// looking it up in every enter. It is a refinement: on failure nothing changes.
func (q *queue) register() {
	if index, errno := uapi.RegisterRing(q.fd); errno == 0 {
		q.enterFD, q.enterFlags = index, uapi.IORING_ENTER_REGISTERED_RING
	}
}

// unregister undoes register, on the same thread.
func (q *queue) unregister() {
	if q.enterFlags != 0 {
		uapi.UnregisterRing(q.fd, q.enterFD)
		q.enterFD, q.enterFlags = q.fd, 0
	}
}
