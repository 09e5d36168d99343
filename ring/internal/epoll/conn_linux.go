package epoll

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

func (b *epoll) Socket(family, sotype int) (int, error) {
	b.stats.Syscalls++
	fd, err := unix.Socket(family, sotype|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	return fd, nil
}

func (b *epoll) NoDelay(fd int) error {
	b.stats.Syscalls++
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("no delay: %w", err)
	}
	return nil
}

func (b *epoll) Names(fd int) (local, remote backend.Addr) {
	b.stats.Syscalls += 2
	if sa, err := unix.Getsockname(fd); err == nil {
		local = addrOf(sa)
	}
	if sa, err := unix.Getpeername(fd); err == nil {
		remote = addrOf(sa)
	}
	return local, remote
}

func (b *epoll) Accept(k backend.Key, fd int) { b.arm(k, fd) }

// serveAccept accepts up to burst connections. A connection that failed before
// it was accepted is reported and the operation goes on. What will not pass by
// trying again at once, such as EMFILE, ends it; the connections stay in the
// backlog for the next Accept.
func (b *epoll) serveAccept(fd int, d *desc) {
	for range burst {
		if b.n == len(b.out) {
			return
		}
		b.stats.Syscalls++
		conn, e := sysAccept(fd)
		switch e {
		case 0:
			b.emit(backend.Event{Key: d.in, Res: int32(conn), More: true})
		case syscall.EAGAIN:
			d.drained()
			return
		case syscall.EINTR:
			return
		case syscall.ECONNABORTED, syscall.EPROTO, syscall.EPERM,
			syscall.ENETDOWN, syscall.EHOSTDOWN, syscall.ENONET, syscall.EHOSTUNREACH, syscall.ENETUNREACH:
			// Errors of the one connection: accept(2), error handling.
			b.emit(backend.Event{Key: d.in, Res: -int32(e), More: true})
		default:
			b.finish(d, -int32(e))
			return
		}
	}
}

// Connect begins to connect. If that takes time, write space will say that it is
// over.
func (b *epoll) Connect(k backend.Key, fd int, to *backend.Addr) {
	d := &b.descs[fd]
	n, e := backend.PutSockaddr(b.name[:], to)
	if e == 0 {
		b.stats.Syscalls++
		e = sysConnect(fd, b.name[:n])
	}
	if e == syscall.EINPROGRESS || e == syscall.EINTR || e == syscall.EALREADY {
		// Whatever was reported before was about a socket without connection.
		d.drained()
		if e = b.wantWrite(int32(fd), d); e == 0 {
			d.connect = k
			b.remember(k, int32(fd))
			return
		}
	}
	b.due.push(backend.Event{Key: k, Res: -int32(e)})
}

// connected ends a Connect if the socket says how it went.
func (b *epoll) connected(fd int32, d *desc) {
	b.stats.Syscalls += 2
	v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
	e := syscall.Errno(v)
	if err != nil {
		e = err.(syscall.Errno)
	}
	if e == 0 {
		if _, err := unix.Getpeername(int(fd)); err == unix.ENOTCONN {
			d.writable = false // an event of before, the next one will tell
			return
		}
	}
	b.emit(backend.Event{Key: d.connect, Res: -int32(e)})
	d.connect = 0
}
