package epoll

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

func (b *epoll) Recv(k backend.Key, fd int) { b.arm(k, fd) }

func (b *epoll) Read(k backend.Key, fd int, mem []byte) { b.arm(k, fd).read = b.reads.add(mem) }

func (b *epoll) RecvMsg(k backend.Key, fd int) { b.arm(k, fd) }

// take returns a provided buffer and its memory; ok is false, and the operation
// ended, when there is none.
func (b *epoll) take(d *desc) (id sgmsg.BufID, mem []byte, ok bool) {
	if len(b.free) == 0 {
		b.stats.NoBuffers++
		b.finish(d, -int32(syscall.ENOBUFS))
		return 0, nil, false
	}
	id = b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	return id, sgmsg.Element{Buf: id, Len: uint32(b.pool.BlockSize())}.Bytes(), true
}

func (b *epoll) putBack(id sgmsg.BufID) { b.free = append(b.free, id) }

// serveRecv fills up to burst buffers.
func (b *epoll) serveRecv(fd int, d *desc) {
	for range burst {
		if b.n == len(b.out) {
			return
		}
		id, mem, ok := b.take(d)
		if !ok {
			return
		}
		n, e := b.recv(fd, d, mem)
		if e != 0 || n == 0 {
			b.putBack(id)
			b.endRecv(d, e)
			return
		}
		b.pool.Adopt(id)
		b.emit(backend.Event{Key: d.in, Res: int32(n), Buf: id, More: true})
		if !d.readable {
			return
		}
	}
}

// serveRead makes one event of what is there, or none.
func (b *epoll) serveRead(fd int, d *desc) {
	mem := b.reads.mem[d.read]
	if len(mem) == 0 {
		b.finish(d, -int32(syscall.EINVAL))
		return
	}
	n, e := b.recv(fd, d, mem)
	if e != 0 || n == 0 {
		b.endRecv(d, e)
		return
	}
	b.finish(d, int32(n))
}

// endRecv ends the operation with the end of the stream or an error, both of
// which a later one finds again, or lets it wait if the socket is merely empty.
func (b *epoll) endRecv(d *desc, e syscall.Errno) {
	switch e {
	case syscall.EAGAIN:
		d.drained()
	case syscall.EINTR: // again at the next turn
	default:
		b.finish(d, -int32(e))
	}
}

// recv reads once. A short read shows that the socket is empty (epoll(7),
// questions and answers, 9) unless the descriptor is wary.
func (b *epoll) recv(fd int, d *desc, p []byte) (int, syscall.Errno) {
	b.stats.Syscalls++
	p = p[:min(len(p), maxCopy)]
	if d.unix {
		return b.recvUnix(fd, d, p)
	}
	n, e := sysRecv(fd, p)
	if e == 0 && n < len(p) && !d.wary {
		d.readable = false
	}
	return n, e
}

// recvUnix is recv on a unix socket, where a read also stops behind bytes that
// came with descriptors. Those are discarded, and recvmsg tells.
func (b *epoll) recvUnix(fd int, d *desc, p []byte) (int, syscall.Errno) {
	b.iov[0].Base = &p[0]
	b.iov[0].SetLen(len(p))
	b.hdr = unix.Msghdr{Iov: &b.iov[0]}
	b.hdr.SetIovlen(1)
	n, e := sysRecvmsg(fd, &b.hdr)
	if e == 0 && n < len(p) && !d.wary && b.hdr.Flags&unix.MSG_CTRUNC == 0 {
		d.readable = false
	}
	return n, e
}

// serveRecvMsg fills up to packetBurst buffers with a datagram each.
func (b *epoll) serveRecvMsg(fd int, d *desc) {
	for range packetBurst {
		if b.n == len(b.out) {
			return
		}
		id, mem, ok := b.take(d)
		if !ok {
			return
		}
		n, e := b.recvMsg(fd, mem)
		switch e {
		case 0:
			backend.CloseRights(mem[:n])
			b.pool.Adopt(id)
			b.emit(backend.Event{Key: d.in, Res: int32(n), Buf: id, More: true})
		case syscall.EAGAIN:
			b.putBack(id)
			d.drained()
			return
		case syscall.EINTR:
			b.putBack(id)
			return
		default:
			b.putBack(id)
			b.finish(d, -int32(e))
			return
		}
	}
}

// recvMsg receives one datagram into a buffer, laid out like struct
// io_uring_recvmsg_out and what follows it (io_uring_prep_recvmsg_multishot(3)):
//
//	0        16                128              256
//	| header | name, NameSpace | control data   | payload
func (b *epoll) recvMsg(fd int, mem []byte) (int, syscall.Errno) {
	if len(mem) <= backend.PacketOverhead {
		return 0, syscall.EINVAL
	}
	const name = 16
	const control = name + backend.NameSpace
	b.stats.Syscalls++
	b.iov[0].Base = &mem[backend.PacketOverhead]
	b.iov[0].SetLen(len(mem) - backend.PacketOverhead)
	b.hdr = unix.Msghdr{
		Name: &mem[name], Namelen: backend.NameSpace,
		Control: &mem[control],
		Iov:     &b.iov[0],
	}
	b.hdr.SetControllen(backend.ControlSpace)
	b.hdr.SetIovlen(1)
	n, e := sysRecvmsg(fd, &b.hdr)
	if e != 0 {
		return 0, e
	}
	put := binary.NativeEndian.PutUint32
	put(mem[0:], b.hdr.Namelen)
	put(mem[4:], uint32(b.hdr.Controllen))
	put(mem[8:], uint32(n))
	put(mem[12:], uint32(b.hdr.Flags)&^unix.MSG_CMSG_CLOEXEC)
	return backend.PacketOverhead + n, 0
}
