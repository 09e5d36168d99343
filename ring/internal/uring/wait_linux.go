package uring

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// quickBytes bounds what one enter that keeps the Go scheduler's processor may be
// expected to copy, in bytes: about 50 us of copying. The garbage collector cannot
// stop the world before such an enter returns.
const quickBytes = 256 << 10

// Wait implements [backend.Backend]. It makes at most one enter in a turn that has
// something to do, and none when completions are there already and neither entries
// nor task work are pending: IORING_SETUP_TASKRUN_FLAG lets the kernel say so in
// shared memory, so that polling with timeout 0 costs no system call.
//
// Since Linux 6.14 an enter runs some 20 completions, 40 if it submits as well, and
// leaves the rest, announced by that flag, to the next Wait.
//
// An enter that cannot sleep is made without telling the Go scheduler: sends always
// complete during their submission, and pending task work produces completions.
func (b *ring) Wait(events []backend.Event, timeout time.Duration) (int, error) {
	b.stats.Waits++
	var deadline time.Duration
	tried := false
	for b.fatal == nil {
		flags := b.q.sqFlags.Load()
		// The kernel may leave the flag set with no task work behind it, so an
		// enter that found none is not repeated for it.
		work := flags&(uapi.IORING_SQ_TASKRUN|uapi.IORING_SQ_CQ_OVERFLOW) != 0 && !tried
		if flags&uapi.IORING_SQ_CQ_OVERFLOW != 0 {
			b.stats.Overflows++
		}
		ready := int(b.q.ready())
		var errno syscall.Errno
		switch {
		case b.q.pending() == 0 && (ready >= len(events) || !work && (ready > 0 || timeout == 0)):
			// Enough is there, or nothing can come of an enter.
		case ready > 0 || timeout == 0 || work || b.sends > 0:
			tried = true
			errno = b.enter()
		default:
			if timeout > 0 {
				now := b.Now()
				if deadline == 0 {
					deadline = now + timeout
				}
				if timeout = deadline - now; timeout <= 0 {
					return 0, nil
				}
			}
			errno = b.sleep(timeout)
		}
		n := b.reap(events)
		switch {
		case errno == syscall.EINTR:
			b.stats.Interrupts++
		case !passing(errno):
			b.fail("wait", errno)
		}
		if n > 0 || timeout == 0 || errno != 0 || b.woke {
			b.woke = false
			return n, nil
		}
	}
	return 0, b.fatal
}

// enter submits what is queued and runs what is due, without sleeping.
func (b *ring) enter() syscall.Errno {
	b.stats.Syscalls++
	errno := b.q.submit(b.bytes <= quickBytes)
	b.submitted()
	return errno
}

// sleep submits what is queued and sleeps until there is a completion, at most d if
// that is not negative.
func (b *ring) sleep(d time.Duration) syscall.Errno {
	b.stats.Syscalls++
	b.stats.Sleeps++
	errno := b.q.sleep(b.until(d))
	b.submitted()
	return errno
}

// submitted makes the scratch free once the kernel has taken all entries.
func (b *ring) submitted() {
	if b.q.pending() == 0 {
		b.scratch.reset()
		b.sends, b.bytes = 0, 0
	}
}

// until returns the argument of a wait that lasts at most d, nil for no limit.
func (b *ring) until(d time.Duration) *uapi.GetEventsArg {
	if d < 0 {
		return nil
	}
	b.scratch.timeout = uapi.Timespec{Sec: int64(d / time.Second), Nsec: int64(d % time.Second)}
	b.waitArg.Ts = uapi.Addr(&b.scratch.timeout)
	return &b.waitArg
}

// passing reports whether an errno of enter only means to look at the completions
// and come again.
func passing(errno syscall.Errno) bool {
	switch errno {
	case 0, syscall.EINTR, syscall.ETIME, syscall.EBUSY, syscall.EAGAIN:
		return true
	}
	return false
}

// fail notes the error that the next Wait returns.
func (b *ring) fail(op string, errno syscall.Errno) {
	if b.fatal == nil {
		b.fatal = fmt.Errorf("io_uring: %s: %w", op, errno)
	}
}

// reap turns completions into events, as many as fit, and returns their number. The
// kernel may overwrite the completions afterwards.
func (b *ring) reap(events []backend.Event) int {
	n := 0
	head, tail := b.q.head, b.q.cqTail.Load()
	for head != tail && n < len(events) {
		c := &b.q.cqes[head&b.q.cqMask]
		if b.remains(&events[n], c) { // c comes again
			n++
			continue
		}
		head++
		if b.event(&events[n], c) {
			n++
		}
	}
	if head != b.q.head {
		b.q.head = head
		b.q.cqHead.Store(head)
	}
	return n
}

// event turns a completion into *e and reports true, or handles it here if it is of
// an operation of the backend's own.
func (b *ring) event(e *backend.Event, c *uapi.CQE) bool {
	switch c.UserData {
	case cancelKey:
		return false
	case ringKey:
		b.woke = true
		b.wakes.Store(false) // as in wokenUp
		return false
	}
	more := c.Flags&uapi.IORING_CQE_F_MORE != 0
	if !more {
		b.inflight--
	}
	if c.UserData == wakeKey {
		b.wokenUp(c.Res)
		return false
	}
	k := backend.Key(c.UserData)
	*e = backend.Event{Key: k, Res: c.Res, More: more}
	if c.Flags&uapi.IORING_CQE_F_BUFFER != 0 {
		block := int(c.BufferID())
		if c.Res > 0 {
			e.Buf = b.cfg.Pool.ID(block)
			b.cfg.Pool.Adopt(e.Buf)
			b.bytes += int(c.Res)
			if k.Op() == backend.OpRecvMsg {
				backend.CloseRights(sgmsg.Element{Buf: e.Buf, Len: uint32(c.Res)}.Bytes())
			}
		} else { // taken for nothing: the kernel may have it again
			b.bufs.push(block)
			b.bufs.publish()
		}
	}
	if !more && k.Op() == backend.OpAccept {
		delete(b.accepts, k)
	}
	switch {
	case k.Op() == backend.OpPoll:
		e.Res = min(e.Res, 0) // not the events that were polled
	case c.Res == -int32(syscall.ENOBUFS):
		b.stats.NoBuffers++
	case c.Res == -int32(syscall.EINTR):
		// A worker thread of the kernel took the operation over and the signal
		// that ended it is a cancellation.
		e.Res = -int32(syscall.ECANCELED)
	}
	return true
}

// Wake implements [backend.Backend]. It has the kernel put a completion into the ring
// (IORING_REGISTER_SEND_MSG_RING, Linux 6.13), which any thread may ask for; where that is refused it
// writes to an eventfd that the ring reads, which takes a sleeper about a quarter longer.
// While a wake-up is on its way further ones cost one atomic operation.
func (b *ring) Wake() {
	if b.wakes.Swap(true) {
		return
	}
	b.wakeMu.Lock()
	defer b.wakeMu.Unlock()
	if b.wakeFD < 0 {
		return
	}
	if b.ringWake {
		e := uapi.SQE{Opcode: uapi.IORING_OP_MSG_RING, Fd: int32(b.q.fd), Off: ringKey}
		_, errno := uapi.RegisterArg(-1, uapi.IORING_REGISTER_SEND_MSG_RING, &e, 1)
		if errno == 0 {
			return
		}
		// EBADFD: it does not run yet. Anything else would come again.
		b.ringWake = errno == syscall.EBADFD
	}
	unix.Write(b.wakeFD, wakeUnit[:])
}

// wakeUnit is what eventfd(2) expects, a 64-bit count; which one does not matter.
var wakeUnit = [8]byte{1}

// armWake queues the read of the wake descriptor, which is always pending.
func (b *ring) armWake() {
	e := b.sqe(uapi.IORING_OP_READ, b.wakeFD, wakeKey)
	e.Addr = uapi.Addr(&b.scratch.woken)
	e.Len = 8
}

// wokenUp handles the end of that read. A Wake that comes after the store writes
// again; one before it is answered by this Wait, after whose return the loop looks
// at its inbox.
func (b *ring) wokenUp(res int32) {
	b.woke = true
	if res < 0 && res != -int32(syscall.EAGAIN) && res != -int32(syscall.EINTR) {
		b.fail("wake", syscall.Errno(-res))
		return
	}
	b.armWake()
	b.wakes.Store(false)
}
