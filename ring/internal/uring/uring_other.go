//go:build !linux

package uring

import (
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// MaxBuffers is the largest pool, in blocks.
const MaxBuffers = 1 << 15

// New refuses: io_uring is a system call of Linux.
func New(backend.Config, Switches) (backend.Backend, error) {
	return nil, &RefusedError{Op: "setup", Errno: syscall.ENOSYS}
}
