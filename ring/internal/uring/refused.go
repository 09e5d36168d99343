package uring

import (
	"errors"
	"syscall"
)

// RefusedError is the error of New when this system has no io_uring, or none that
// suffices. It wraps the errno and matches [errors.ErrUnsupported], unless the
// reason is a shortage of descriptors, which another backend would meet as well.
type RefusedError struct {
	Op      string        // the call that was refused: "setup", "enter", "map the rings", ...
	Missing string        // or what the kernel lacks, with the version that has it
	Errno   syscall.Errno // what the kernel said
	Bytes   int           // how much memory the call was to lock, 0 if it was not about that
}

func (e *RefusedError) Error() string {
	if e.Missing != "" {
		return "io_uring: the kernel lacks " + e.Missing
	}
	return "io_uring: " + e.Op + ": " + e.Errno.Error()
}

// Unwrap returns the errno.
func (e *RefusedError) Unwrap() error { return e.Errno }

// Is makes errors.Is(err, errors.ErrUnsupported) hold.
func (e *RefusedError) Is(target error) bool {
	return target == errors.ErrUnsupported && e.Errno != syscall.EMFILE && e.Errno != syscall.ENFILE
}

// refused returns a RefusedError for an error that wraps an errno.
func refused(op string, err error) error {
	e := &RefusedError{Op: op, Errno: syscall.EIO}
	errors.As(err, &e.Errno)
	return e
}
