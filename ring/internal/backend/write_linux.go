package backend

import (
	"syscall"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/sgmsg"
)

// What a Gather takes and what the contract says are the same.
var (
	_ [WriteElements]struct{} = [uapi.GatherPieces]struct{}{}
	_ [WriteBytes]struct{}    = [uapi.GatherBytes]struct{}{}
)

// WriteFD is [Backend].Write on a real descriptor.
func WriteFD(fd int, v []sgmsg.Element) (n int, errno syscall.Errno) {
	var g uapi.Gather
	for _, e := range v {
		g.Add(e.Bytes())
	}
	return g.Send(fd)
}
