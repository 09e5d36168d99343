package epoll

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/internal/backend"
)

const (
	edge = 1 << 31 // EPOLLET, which package unix has as a negative number

	// interest is what a descriptor is registered for. EPOLLOUT comes in with
	// the first operation that has to wait for it (see wantWrite), since a unix
	// socket reports it each time the far end reads, which would wake the loop
	// once per message.
	interest = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI | edge

	// unproven are the events after which a short read does not prove that the
	// socket is empty: the end or an error may be behind the bytes, or the read
	// stopped at an urgent mark.
	unproven = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR | unix.EPOLLPRI

	makesReadable = unix.EPOLLIN | unproven
	makesWritable = unix.EPOLLOUT | unix.EPOLLHUP | unix.EPOLLERR
)

// desc is what is known of one descriptor. A Key of 0 is no operation. There is one for
// each descriptor number up to the highest, so it is small, and has no pointer that the
// garbage collector would have to look for.
type desc struct {
	gen      uint32 // counts attachments, so that events of an earlier one are known
	next     int32
	read     uint32 // the memory of Read, in epoll.reads; 0: none
	attached bool
	readable bool // reading may yield something
	writable bool // writing may succeed; false after a short write
	wary     bool // read on until 0, an error or EAGAIN: see unproven
	unix     bool // a unix socket
	wantOut  bool // EPOLLOUT is registered
	linked   bool // in the ready list

	in      backend.Key // Accept, Recv, Read or RecvMsg
	poll    backend.Key
	connect backend.Key
}

// reads is the memory of Reads that are in flight. Number 0 is not given to any.
type reads struct {
	mem  [][]byte
	free []uint32
}

func (r *reads) add(mem []byte) uint32 {
	if len(r.free) == 0 {
		if len(r.mem) == 0 {
			r.mem = append(r.mem, nil)
		}
		r.mem = append(r.mem, mem)
		return uint32(len(r.mem) - 1)
	}
	i := r.free[len(r.free)-1]
	r.free = r.free[:len(r.free)-1]
	r.mem[i] = mem
	return i
}

// forget ends the input operation of d, if there is one.
func (b *epoll) forget(d *desc) {
	d.in = 0
	if i := d.read; i != 0 {
		d.read = 0
		b.reads.mem[i] = nil
		b.reads.free = append(b.reads.free, i)
	}
}

// list is a queue of descriptors linked through desc.next.
type list struct {
	head, tail int32
	len        int
}

func (l *list) init() { *l = list{head: -1, tail: -1} }

// push queues fd's descriptor if it is not in the list.
func (b *epoll) push(fd int32) {
	d := &b.descs[fd]
	if d.linked {
		return
	}
	d.linked, d.next = true, -1
	if l := &b.ready; l.tail < 0 {
		l.head = fd
	} else {
		b.descs[l.tail].next = fd
	}
	b.ready.tail = fd
	b.ready.len++
}

// pop takes the first descriptor out. The list is not empty.
func (b *epoll) pop() int32 {
	fd := b.ready.head
	d := &b.descs[fd]
	d.linked = false
	b.ready.head = d.next
	if d.next < 0 {
		b.ready.tail = -1
	}
	b.ready.len--
	return fd
}

// Attach registers fd, edge-triggered, and makes it non-blocking. The first
// report of its state comes with the next epoll_wait.
func (b *epoll) Attach(fd int) error {
	if fd < 0 {
		return fmt.Errorf("attach: %w", syscall.EBADF)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("attach: non-blocking: %w", err)
	}
	for fd >= len(b.descs) {
		b.descs = append(b.descs, desc{})
	}
	d := &b.descs[fd]
	gen := d.gen + 1
	ev := unix.EpollEvent{Events: interest, Fd: int32(fd), Pad: int32(gen)}
	if err := unix.EpollCtl(b.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("attach: epoll: %w", err)
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	b.stats.Syscalls += 4
	*d = desc{
		gen: gen, attached: true, unix: err == nil && domain == unix.AF_UNIX,
		writable: true, // until a write says otherwise
		linked:   d.linked, next: d.next,
	}
	return nil
}

// Detach forgets fd. If it is in the ready list it stays there, and is dropped
// when its turn comes.
func (b *epoll) Detach(fd int) error {
	if fd < 0 || fd >= len(b.descs) || !b.descs[fd].attached {
		return fmt.Errorf("detach: descriptor %d is not attached: %w", fd, syscall.EBADF)
	}
	d := &b.descs[fd]
	invariants.Check(d.in == 0 && d.poll == 0 && d.connect == 0, "epoll: Detach with an operation in flight")
	*d = desc{gen: d.gen, linked: d.linked, next: d.next}
	b.stats.Syscalls++
	if err := unix.EpollCtl(b.epfd, unix.EPOLL_CTL_DEL, fd, nil); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	return nil
}

// CloseFD detaches first: close alone leaves the registration in place for as
// long as a forked child has the socket.
func (b *epoll) CloseFD(fd int) error {
	err := b.Detach(fd)
	b.stats.Syscalls++
	if cerr := unix.Close(fd); cerr != nil && err == nil {
		err = fmt.Errorf("close: %w", cerr)
	}
	return err
}

// Shutdown needs no bookkeeping: the kernel reports it as an edge, as it does
// the far end's.
func (b *epoll) Shutdown(fd, how int) error {
	b.stats.Syscalls++
	if err := unix.Shutdown(fd, how); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	return nil
}

// mark enters in the book what has become possible on fd, and completes what
// waited for write space.
func (b *epoll) mark(fd int32, events uint32) {
	d := &b.descs[fd]
	if events&makesReadable != 0 {
		d.readable = true
		if events&unproven != 0 {
			d.wary = true
		}
		if d.in != 0 {
			b.push(fd)
		}
	}
	if events&makesWritable != 0 {
		d.writable = true
		if d.connect != 0 {
			b.connected(fd, d)
		}
		if d.poll != 0 {
			b.emit(backend.Event{Key: d.poll})
			d.poll = 0
		}
	}
}

// wantWrite makes sure that the descriptor's next write space is reported. The
// change makes epoll look at the socket again, so space that came meanwhile is
// not missed.
func (b *epoll) wantWrite(fd int32, d *desc) syscall.Errno {
	d.writable = false
	if d.wantOut {
		return 0
	}
	b.stats.Syscalls++
	ev := unix.EpollEvent{Events: interest | unix.EPOLLOUT, Fd: fd, Pad: int32(d.gen)}
	if err := unix.EpollCtl(b.epfd, unix.EPOLL_CTL_MOD, int(fd), &ev); err != nil {
		return err.(syscall.Errno)
	}
	d.wantOut = true
	return 0
}

// arm books an input operation, to be served by Wait.
func (b *epoll) arm(k backend.Key, fd int) *desc {
	d := &b.descs[fd]
	invariants.Check(d.attached, "epoll: operation on a descriptor that is not attached")
	invariants.Check(d.in == 0, "epoll: two input operations on one descriptor")
	d.in = k
	b.remember(k, int32(fd))
	if d.readable {
		b.push(int32(fd))
	}
	return d
}

// maxSlots bounds the cache from slots to descriptors.
const maxSlots = 1 << 20

func (b *epoll) remember(k backend.Key, fd int32) {
	s := k.Slot()
	if s >= maxSlots {
		return
	}
	for int(s) >= len(b.slots) {
		b.slots = append(b.slots, 0)
	}
	b.slots[s] = fd
}

// Cancel finds the operation among the armed ones. Operations that end at once
// have their event in due already.
func (b *epoll) Cancel(k backend.Key) {
	if s := k.Slot(); int(s) < len(b.slots) && b.cancel(k, b.slots[s]) {
		return
	}
	for fd := range b.descs {
		if b.cancel(k, int32(fd)) {
			return
		}
	}
}

func (b *epoll) cancel(k backend.Key, fd int32) bool {
	if int(fd) >= len(b.descs) || k == 0 {
		return false
	}
	d := &b.descs[fd]
	switch k {
	case d.in:
		b.forget(d)
	case d.poll:
		d.poll = 0
	case d.connect:
		d.connect = 0
	default:
		return false
	}
	b.fail(k, syscall.ECANCELED)
	return true
}
