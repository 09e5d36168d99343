//go:build unix

package framing

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// idlePeer is a connected pair of sockets for engines that make connections of
// nothing else. Nothing is sent over it.
type idlePeer struct {
	far  int // kept open, or else the engine would see the end of the stream
	near int // the engine's; -1 when it has it
}

func newIdlePeer() (*idlePeer, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", os.NewSyscallError("socketpair", err))
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	return &idlePeer{far: fds[0], near: fds[1]}, nil
}

// takeFD moves the engine's end to the caller.
func (p *idlePeer) takeFD() int {
	fd := p.near
	p.near = -1
	return fd
}

// netConn moves the engine's end to the caller as a net.Conn.
func (p *idlePeer) netConn() (net.Conn, error) {
	f := os.NewFile(uintptr(p.takeFD()), "idle")
	defer f.Close()
	return net.FileConn(f)
}

func (p *idlePeer) close() {
	unix.Close(p.far)
	if p.near >= 0 {
		unix.Close(p.near)
	}
}
