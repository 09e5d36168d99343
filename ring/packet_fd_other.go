//go:build !linux

package ring

import "syscall"

func duplicate(syscall.Conn) (fd int, err error) { return -1, ErrNotSupported }

func closeDuplicate(int) {}
