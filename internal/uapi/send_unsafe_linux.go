package uapi

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// GatherPieces and GatherBytes bound one Gather.
	GatherPieces = 8
	GatherBytes  = 64 << 10
)

// Gather collects memory for one sendmsg(2) at once, without a ring: an array of
// struct iovec. The zero Gather is empty. It may live on a stack, and the memory
// anywhere, since its pointers are Go's and the kernel is done with all of it when
// Send returns.
type Gather struct {
	iov   [GatherPieces]unix.Iovec
	n     int
	bytes int
}

// Add appends p, or as much of it as there is room for; an empty p adds nothing.
func (g *Gather) Add(p []byte) {
	p = p[:min(len(p), GatherBytes-g.bytes)]
	if len(p) == 0 || g.n == len(g.iov) {
		return
	}
	g.iov[g.n].Base = &p[0]
	g.iov[g.n].SetLen(len(p))
	g.n++
	g.bytes += len(p)
}

// Send is sendmsg(2) with MSG_DONTWAIT and MSG_NOSIGNAL: it returns the number of
// bytes the stream socket accepted, perhaps fewer than were added, or an errno,
// EAGAIN when it is full. It never waits for space, whatever became of O_NONBLOCK.
//
// The call is raw: the scheduler is not told. A caller that handed its processor
// over for this would pay more for it than the call takes; what the collector may
// have to wait for is a copy of GatherBytes, some ten microseconds.
func (g *Gather) Send(fd int) (n int, errno syscall.Errno) {
	h := unix.Msghdr{Iov: &g.iov[0]}
	h.SetIovlen(g.n)
	r, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, uintptr(fd),
		uintptr(unsafe.Pointer(&h)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}
