//go:build !linux

package strparser

import "syscall"

// Not every system has ESTRPIPE and ENODATA.
const (
	errStrPipe = syscall.EPIPE
	errNoData  = syscall.EIO
)
