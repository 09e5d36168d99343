package mux

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// dupConn duplicates the descriptor of a connection or listener of package net,
// close-on-exec. The duplicate shares the non-blocking mode.
func dupConn(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, derr := -1, error(nil)
	if err := raw.Control(func(s uintptr) {
		fd, derr = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, err
	}
	return fd, derr
}

// checkFD tells a connected stream socket from everything else, with the errors
// of the kernel's attach. cookie is the socket's own number, which unlike that of
// its descriptor is never used again.
func checkFD(fd int) (cookie uint64, err error) {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0, syscall.ENOENT
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, syscall.ENOENT
	}
	proto, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	switch family {
	case unix.AF_UNIX:
	case unix.AF_INET, unix.AF_INET6:
		if proto != unix.IPPROTO_TCP {
			return 0, syscall.EOPNOTSUPP
		}
	default:
		return 0, syscall.EOPNOTSUPP
	}
	if typ != unix.SOCK_STREAM {
		return 0, syscall.EOPNOTSUPP
	}
	if _, err := unix.Getpeername(fd); err != nil { // listening, never connected, or reset
		return 0, syscall.EOPNOTSUPP
	}
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
}

func closeFD(fd int) { _ = unix.Close(fd) }
