package strparser

import "syscall"

const (
	errStrPipe = syscall.ESTRPIPE
	errNoData  = syscall.ENODATA
)
