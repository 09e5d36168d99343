//go:build !linux

package mux

import (
	"syscall"

	"github.com/kcm-go/kcm/ring"
)

func dupConn(syscall.Conn) (int, error) { return -1, ring.ErrNotSupported }
func checkFD(int) (uint64, bool, error) { return 0, false, ring.ErrNotSupported }
func checkListener(int) error           { return ring.ErrNotSupported }
func closeFD(int)                       {}
