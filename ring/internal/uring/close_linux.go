package uring

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// closeTime is how long Close waits for the kernel to let go of the memory.
const closeTime = 5 * time.Second

// Close implements [backend.Backend]. Closing the descriptor of a ring only starts the
// end of its operations, in the background, so Close first ends them and counts
// their final completions. That is possible on the loop's thread alone. On another
// one Close waits until that thread has ended, since a thread's exit waits for its
// operations too.
//
// When neither comes about in time the error wraps EBUSY: the kernel may still
// write to the memory of Config, which must then stay mapped.
func (b *ring) Close() error {
	if b.closing {
		return nil
	}
	b.closing = true
	var err error
	switch b.tid {
	case 0: // not started: there are no operations
	case unix.Gettid():
		err = b.drain()
		if b.fixed.size > 0 {
			uapi.UnregisterBuffers(b.q.fd) // else the pages stay locked for a while
		}
		b.q.unregister()
	default:
		err = b.outlive()
	}
	if err != nil {
		b.closeFDs()
		return fmt.Errorf("io_uring: close: %w", err)
	}
	return b.release()
}

// drain cancels everything and reads completions until none can come any more.
func (b *ring) drain() error {
	for ; b.q.pending() > 0; b.q.tail-- { // what was not submitted never is
		if b.q.sqes[(b.q.tail-1)&b.q.sqMask].UserData != cancelKey {
			b.inflight--
		}
	}
	deadline := b.Now() + closeTime
	for b.inflight > 0 {
		cancel := uapi.SyncCancelReg{
			Fd:      -1,
			Flags:   uapi.IORING_ASYNC_CANCEL_ANY | uapi.IORING_ASYNC_CANCEL_ALL,
			Timeout: uapi.Timespec{Sec: 1},
		}
		// ENOENT: nothing is left to cancel. Other errors show in the count.
		uapi.RegisterArg(b.q.fd, uapi.IORING_REGISTER_SYNC_CANCEL, &cancel, 1)
		b.q.sleep(b.until(10 * time.Millisecond))
		b.discard()
		if b.Now() > deadline {
			return fmt.Errorf("%d operations do not end: %w", b.inflight, syscall.EBUSY)
		}
	}
	return nil
}

// discard reads the completions that are there and drops them. A buffer in one
// stays with the backend.
func (b *ring) discard() {
	tail := b.q.cqTail.Load()
	for ; b.q.head != tail; b.q.head++ {
		c := &b.q.cqes[b.q.head&b.q.cqMask]
		if c.Flags&uapi.IORING_CQE_F_MORE == 0 && c.UserData != cancelKey && c.UserData != ringKey {
			b.inflight--
		}
		switch op := backend.Key(c.UserData).Op(); {
		case op == backend.OpAccept && c.Res >= 0:
			unix.Close(int(c.Res))
		case op == backend.OpRecvMsg && c.Res > 0:
			backend.CloseRights(sgmsg.Element{Buf: b.cfg.Pool.ID(int(c.BufferID())), Len: uint32(c.Res)}.Bytes())
		}
	}
	b.q.cqHead.Store(tail)
}

// outlive waits for the end of the loop's thread, which closes no descriptor but
// waits for what the thread has submitted.
func (b *ring) outlive() error {
	pid := unix.Getpid()
	deadline := b.Now() + closeTime
	for unix.Tgkill(pid, b.tid, 0) == nil {
		// Go never ends the process's first thread, it parks it.
		if b.tid == pid || b.Now() > deadline {
			return fmt.Errorf("the loop's thread is alive and not the caller's: %w", syscall.EBUSY)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// closeFDs closes the ring's and the wake descriptor.
func (b *ring) closeFDs() {
	b.wakeMu.Lock()
	defer b.wakeMu.Unlock()
	if b.q.fd >= 0 {
		unix.Close(b.q.fd)
		b.q.fd = -1
	}
	if b.wakeFD >= 0 {
		unix.Close(b.wakeFD)
		b.wakeFD = -1
	}
}

// release gives everything back. The kernel uses none of it any more.
func (b *ring) release() error {
	b.closeFDs()
	err := b.q.mem.Unmap()
	for _, mem := range []*[]byte{&b.scratch.mem, &b.bufs.mem} {
		if *mem != nil {
			err = errors.Join(err, uapi.Munmap(*mem))
			*mem = nil
		}
	}
	return err
}
