package uring

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/internal/backend"
)

// accepting is an accept in flight.
type accepting struct {
	fd   int
	left int // connections that may be taken when it is cancelled
}

// maxBacklog is more than may wait to be accepted (net.core.somaxconn): whoever comes
// behind so many has come after the cancel.
const maxBacklog = 1 << 16

// Accept implements [backend.Backend] with a multishot IORING_OP_ACCEPT. The descriptor
// becomes non-blocking: where another process has the same socket, an accept of either
// may find that the other was faster.
func (b *ring) Accept(k backend.Key, fd int) {
	b.stats.Syscalls++
	_ = unix.SetNonblock(fd, true) // on failure the accept will say why
	if b.accepts == nil {
		b.accepts = map[backend.Key]*accepting{}
	}
	b.accepts[k] = &accepting{fd, maxBacklog}
	e := b.sqe(uapi.IORING_OP_ACCEPT, fd, uint64(k))
	e.Ioprio = uapi.IORING_ACCEPT_MULTISHOT
	e.OpFlags = unix.SOCK_CLOEXEC
}

// remains puts one more connection in front of the end of a cancelled accept, and reports
// whether there was one. Of those who wait on a socket with io_uring the kernel tells only
// one that a connection has come (IORING_OP_ACCEPT polls with EPOLLEXCLUSIVE), and a cancel
// makes that one forget it. If another process waits as well, nobody would take the
// connection before the next one comes.
func (b *ring) remains(e *backend.Event, c *uapi.CQE) bool {
	if c.Res != -int32(syscall.ECANCELED) || backend.Key(c.UserData).Op() != backend.OpAccept {
		return false
	}
	k := backend.Key(c.UserData)
	for a := b.accepts[k]; a != nil && a.left > 0; {
		a.left--
		b.stats.Syscalls++
		fd, _, err := unix.Accept4(a.fd, unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			*e = backend.Event{Key: k, Res: int32(fd), More: true}
			return true
		case unix.EINTR, unix.ECONNABORTED: // that one is gone
		default:
			a.left = 0
		}
	}
	return false
}
