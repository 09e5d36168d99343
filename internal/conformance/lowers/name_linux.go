package lowers

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Name returns the name of an error, "ok" for none.
func Name(err error) string {
	if err == nil {
		return "ok"
	}
	errno, ok := err.(unix.Errno)
	if !ok {
		return err.Error()
	}
	return ErrnoName(errno)
}

// ErrnoName returns the name of an errno.
func ErrnoName(errno unix.Errno) string {
	if errno == unix.EOPNOTSUPP {
		return "EOPNOTSUPP" // or ENOTSUP, which is the same number
	}
	if n := unix.ErrnoName(errno); n != "" {
		return n
	}
	return fmt.Sprintf("errno %d", int(errno))
}
