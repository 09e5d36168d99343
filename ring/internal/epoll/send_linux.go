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

// SendMsgs is [backend.DatagramFD]'s and keeps the book: a full socket is not writable.
func (b *epoll) SendMsgs(fd int, d []backend.Datagram) (int, syscall.Errno) {
	n, e := b.DatagramFD.SendMsgs(fd, d)
	if e == syscall.EAGAIN || e == 0 && n < len(d) {
		b.descs[fd].writable = false
	}
	return n, e
}
