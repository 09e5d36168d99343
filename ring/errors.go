package ring

import (
	"errors"
	"net"
	"syscall"
)

// ErrClosed is returned by operations on a loop or stream that has been closed.
var ErrClosed = net.ErrClosed

// ErrNotSupported is returned where the system has neither io_uring nor epoll.
// errors.Is(err, errors.ErrUnsupported) holds for it.
var ErrNotSupported = errors.ErrUnsupported

// ErrDeadlock is EDEADLK: a call that blocks was made on the loop's own thread,
// where it could never return.
const ErrDeadlock = syscall.EDEADLK
