package mux

import (
	"fmt"
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
// its descriptor is never used again. connecting: a connect is under way.
func checkFD(fd int) (cookie uint64, connecting bool, err error) {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0, false, syscall.ENOENT
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, false, syscall.ENOENT
	}
	proto, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	switch family {
	case unix.AF_UNIX:
	case unix.AF_INET, unix.AF_INET6:
		if proto != unix.IPPROTO_TCP {
			return 0, false, syscall.EOPNOTSUPP
		}
	default:
		return 0, false, syscall.EOPNOTSUPP
	}
	if typ != unix.SOCK_STREAM {
		return 0, false, syscall.EOPNOTSUPP
	}
	if _, err := unix.Getpeername(fd); err != nil { // listening, never connected, or reset
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil || info.State != synSent {
			return 0, false, syscall.EOPNOTSUPP
		}
		connecting = true
	}
	cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	return cookie, connecting, err
}

// synSent is TCP_SYN_SENT of the kernel's enum tcp_states (linux/bpf.h has it for users).
const synSent = 2

// checkListener tells a listening stream socket from everything else: EBADF, ENOTSOCK,
// EINVAL when it does not listen, EOPNOTSUPP for other kinds.
func checkListener(fd int) error {
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return err
	}
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	proto, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	switch {
	case typ != unix.SOCK_STREAM:
		return syscall.EOPNOTSUPP
	case family == unix.AF_UNIX:
	case (family == unix.AF_INET || family == unix.AF_INET6) &&
		(proto == unix.IPPROTO_TCP || proto == unix.IPPROTO_MPTCP): // of package net
	default:
		return syscall.EOPNOTSUPP
	}
	if listens == 0 {
		return fmt.Errorf("it does not listen: %w", syscall.EINVAL)
	}
	return nil
}

func closeFD(fd int) { _ = unix.Close(fd) }
