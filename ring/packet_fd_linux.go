package ring

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// duplicate returns another descriptor of the socket.
func duplicate(c syscall.Conn) (fd int, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) })
	if cerr != nil {
		return -1, cerr
	}
	return fd, err
}

func closeDuplicate(fd int) { _ = unix.Close(fd) }
