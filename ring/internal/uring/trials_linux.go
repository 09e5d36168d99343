package uring

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/uapi"
)

// prober is what the trials share: a ring without any of the backend's flags.
type prober struct {
	q      queue
	params uapi.Params
	key    uint64 // user data of the last operation
	mem    []byte // one page that the kernel may use
}

// open is the first trial: a ring, and an enter, which a sandbox may refuse alone.
func (p *prober) open() error {
	fd, errno := uapi.Setup(8, &p.params)
	if errno != 0 {
		return &RefusedError{Op: "setup", Errno: errno}
	}
	if err := p.q.open(fd, &p.params); err != nil {
		unix.Close(fd)
		return refused("map the rings", err)
	}
	if _, errno := uapi.EnterRaw(fd, 0, 0); errno != 0 {
		return &RefusedError{Op: "enter", Errno: errno}
	}
	var err error
	p.mem, err = uapi.MmapAnon(os.Getpagesize())
	return err
}

func (p *prober) close() {
	if p.q.mem.SQ == nil {
		return
	}
	unix.Close(p.q.fd)
	p.q.mem.Unmap()
	if p.mem != nil {
		uapi.Munmap(p.mem)
	}
}

// setup tries to create a ring with flags.
func setup(flags uint32) func(*prober) error {
	return func(*prober) error {
		fd, errno := uapi.Setup(2, &uapi.Params{Flags: flags})
		if errno != 0 {
			return errno
		}
		return unix.Close(fd)
	}
}

// reported looks at the feature word that every kernel fills in.
func reported(bit uint32) func(*prober) error {
	return func(p *prober) error {
		if p.params.Features&bit == 0 {
			return errNo
		}
		return nil
	}
}

// operation asks for an operation code.
func operation(op uint8) func(*prober) error {
	return func(p *prober) error {
		ops, errno := uapi.ProbeOps(p.q.fd)
		if errno != 0 {
			return errno
		}
		if !ops.Supports(op) {
			return errNo
		}
		return nil
	}
}

// first submits an operation that completes at once and returns its first
// completion. What earlier operations still had to say is dropped.
func (p *prober) first(e uapi.SQE) (uapi.CQE, error) {
	p.key++
	e.UserData = p.key
	*p.q.next() = e
	if errno := p.q.submit(false); errno != 0 {
		return uapi.CQE{}, errno
	}
	defer func() { p.q.cqHead.Store(p.q.head) }()
	for p.q.ready() > 0 {
		c := p.q.cqes[p.q.head&p.q.cqMask]
		p.q.head++
		if c.UserData != p.key {
			continue
		}
		if c.Res < 0 {
			return c, syscall.Errno(-c.Res)
		}
		return c, nil
	}
	return uapi.CQE{}, syscall.ETIME
}

// goesOn reports whether the operation goes on after c, and ends it.
func (p *prober) goesOn(c uapi.CQE) error {
	if c.Flags&uapi.IORING_CQE_F_MORE == 0 {
		return errNo
	}
	_, err := p.first(uapi.SQE{Opcode: uapi.IORING_OP_ASYNC_CANCEL, Fd: -1, Addr: p.key})
	return err
}

func (p *prober) multishotAccept() error {
	ln, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(ln)
	peer, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(peer)
	if err := unix.Bind(ln, &unix.SockaddrUnix{}); err != nil { // any free abstract name
		return err
	}
	if err := unix.Listen(ln, 1); err != nil {
		return err
	}
	name, err := unix.Getsockname(ln)
	if err != nil {
		return err
	}
	if err := unix.Connect(peer, name); err != nil {
		return err
	}
	c, err := p.first(uapi.SQE{
		Opcode: uapi.IORING_OP_ACCEPT, Fd: int32(ln),
		Ioprio: uapi.IORING_ACCEPT_MULTISHOT, OpFlags: unix.SOCK_CLOEXEC,
	})
	if err != nil {
		return err
	}
	unix.Close(int(c.Res))
	return p.goesOn(c)
}

// multishotRecv receives one byte. ioprio is added to the operation's, which ends after limit
// bytes if that is not 0.
func (p *prober) multishotRecv(ioprio uint16, limit uint32) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if _, err := unix.Write(pair[1], []byte{1}); err != nil {
		return err
	}
	if err := p.registerBufRing(0); err != nil {
		return err
	}
	defer uapi.UnregisterBufRing(p.q.fd, bufGroup)
	half := len(p.mem) / 2
	r := newBufRing(p.mem[:half], 2, uapi.Addr(&p.mem[half]), 64)
	r.push(0)
	r.push(1)
	r.publish()
	c, err := p.first(uapi.SQE{
		Opcode: uapi.IORING_OP_RECV, Fd: int32(pair[0]),
		Ioprio: uapi.IORING_RECV_MULTISHOT | ioprio, Flags: uapi.IOSQE_BUFFER_SELECT, BufIndex: bufGroup,
		FileIndex: limit, // optlen
	})
	if err != nil {
		return err
	}
	return p.goesOn(c)
}

// registerBufRing registers a ring of two entries at the start of the page.
func (p *prober) registerBufRing(flags uint16) error {
	reg := uapi.BufReg{RingAddr: uapi.Addr(&p.mem[0]), RingEntries: 2, Bgid: bufGroup, Flags: flags}
	return failed(uapi.RegisterBufRing(p.q.fd, &reg))
}

func (p *prober) bufRing(flags uint16) error {
	if err := p.registerBufRing(flags); err != nil {
		return err
	}
	return failed(uapi.UnregisterBufRing(p.q.fd, bufGroup))
}

func (p *prober) fixedBuffers() error {
	iov := []uapi.Iovec{{Base: uapi.Addr(&p.mem[0]), Len: uint64(len(p.mem))}}
	if err := failed(uapi.RegisterBuffers(p.q.fd, iov)); err != nil {
		return err
	}
	return failed(uapi.UnregisterBuffers(p.q.fd))
}

func (p *prober) fixedFiles() error {
	return failed(uapi.RegisterFiles(p.q.fd, []int32{-1})) // ends with the ring
}

func (p *prober) registeredRing() error {
	index, errno := uapi.RegisterRing(p.q.fd)
	if errno != 0 {
		return errno
	}
	return failed(uapi.UnregisterRing(p.q.fd, index))
}

// ringWake has a completion put into the ring, without a ring to do it with.
func (p *prober) ringWake() error {
	e := uapi.SQE{Opcode: uapi.IORING_OP_MSG_RING, Fd: int32(p.q.fd), Off: ringKey}
	_, errno := uapi.RegisterArg(-1, uapi.IORING_REGISTER_SEND_MSG_RING, &e, 1)
	return failed(errno)
}

func (p *prober) syncCancel() error {
	reg := uapi.SyncCancelReg{Fd: -1, Flags: uapi.IORING_ASYNC_CANCEL_ANY, Timeout: uapi.Timespec{Nsec: 1}}
	_, errno := uapi.RegisterArg(p.q.fd, uapi.IORING_REGISTER_SYNC_CANCEL, &reg, 1)
	if errno == syscall.ENOENT { // nothing is there to cancel: it was understood
		return nil
	}
	return failed(errno)
}

// failed makes an error of an errno: nil for 0.
func failed(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
