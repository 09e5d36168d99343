package epoll

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// Send writes at once, so that its event is due before the next Wait.
func (b *epoll) Send(k backend.Key, fd int, v []sgmsg.Element) {
	d := &b.descs[fd]
	iovs, asked := b.vector(v)
	if asked == 0 {
		b.fail(k, syscall.EINVAL)
		return
	}
	b.stats.Syscalls++
	var n int
	var e syscall.Errno
	if iovs == 1 {
		n, e = sysSend(fd, v[0].Bytes()[:asked])
	} else {
		b.hdr = unix.Msghdr{Iov: &b.iov[0]}
		b.hdr.SetIovlen(iovs)
		n, e = sysSendmsg(fd, &b.hdr)
	}
	if e == syscall.EINTR { // nothing was written
		e = syscall.EAGAIN
	} else if e == syscall.EAGAIN || e == 0 && n < asked {
		d.writable = false
	}
	if e != 0 {
		b.fail(k, e)
		return
	}
	b.due.push(backend.Event{Key: k, Res: int32(n)})
}

// vector fills b.iov from the elements, up to MaxVector of them and maxCopy
// bytes.
func (b *epoll) vector(v []sgmsg.Element) (iovs, bytes int) {
	for _, e := range v[:min(len(v), len(b.iov))] {
		if e.Len == 0 {
			continue
		}
		if bytes == maxCopy {
			break
		}
		n := min(int(e.Len), maxCopy-bytes)
		b.iov[iovs].Base = &e.Bytes()[0]
		b.iov[iovs].SetLen(n)
		iovs++
		bytes += n
	}
	return iovs, bytes
}

// Write leaves what is known of the descriptor alone, which is the loop's: when it
// finds the stream full, the loop's next Send finds out for itself.
func (b *epoll) Write(fd int, v []sgmsg.Element) (int, syscall.Errno) {
	return backend.WriteFD(fd, v)
}

// Poll ends at once unless the last write found the socket full.
func (b *epoll) Poll(k backend.Key, fd int) {
	d := &b.descs[fd]
	if !d.writable {
		e := b.wantWrite(int32(fd), d)
		if e == 0 {
			d.poll = k
			b.remember(k, int32(fd))
			return
		}
		b.fail(k, e)
		return
	}
	b.due.push(backend.Event{Key: k})
}

// SendMsg sends one datagram at once.
func (b *epoll) SendMsg(k backend.Key, fd int, v []sgmsg.Element, to *backend.Addr) {
	d := &b.descs[fd]
	b.hdr = unix.Msghdr{}
	if to != nil {
		n, e := putAddr(b.name[:], to)
		if e != 0 {
			b.fail(k, e)
			return
		}
		b.hdr.Name, b.hdr.Namelen = &b.name[0], uint32(n)
	}
	if len(v) > len(b.iov) {
		b.fail(k, syscall.EMSGSIZE)
		return
	}
	iovs := 0
	for _, e := range v {
		if e.Len > 0 {
			b.iov[iovs].Base = &e.Bytes()[0]
			b.iov[iovs].SetLen(int(e.Len))
			iovs++
		}
	}
	b.hdr.Iov = &b.iov[0]
	b.hdr.SetIovlen(iovs)
	b.stats.Syscalls++
	n, e := sysSendmsg(fd, &b.hdr)
	switch e {
	case 0:
		b.due.push(backend.Event{Key: k, Res: int32(n)})
		return
	case syscall.EINTR:
		e = syscall.EAGAIN
	case syscall.EAGAIN:
		d.writable = false
	}
	b.fail(k, e)
}
