package mux

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/kcm-go/kcm/sgmsg"
)

// Detach gives the connection back once the workers have handled what they were passed
// and everything queued has been sent. Bytes that were received and not delivered as
// part of a message are not lost: the returned connection replays them before it reads
// on. It blocks; on a loop's thread it returns EDEADLK (see DetachTo). The Psock is closed
// afterwards and OnClose is called.
//
// Errors, those of the kernel's unattach, each of which is ErrClosed as well: EALREADY when
// the connection is ending or being given back, ENOENT when it has ended. ENOTCONN, which is
// not, while it is connecting.
func (p *Psock) Detach() (net.Conn, error) { return p.give(p.DetachTo) }

// DetachTo is Detach for handlers: it returns at once, and fn is called in a
// goroutine of its own with the connection or an error. No message that has
// arrived behind the present one is delivered any more; its bytes are replayed.
func (p *Psock) DetachTo(fn func(net.Conn, error)) { p.giveTo(fn, p.detach) }

// Unattach is Detach that waits for nothing, the kernel's unattach. A message that is
// parked, for want of a reader, is dropped and counted (Stats.RxReadyDrops). One that a socket
// is sending on the connection begins again on another; the peer of this one then has a part
// of it, and the end of the connection, OnClose and Err, is EPIPE. Messages with the workers
// stay theirs, and their replies go to OnLost, as does what Psock.Send has queued. Bytes that are
// not yet part of a message are replayed.
func (p *Psock) Unattach() (net.Conn, error) { return p.give(p.UnattachTo) }

// UnattachTo is Unattach for handlers, as DetachTo is Detach.
func (p *Psock) UnattachTo(fn func(net.Conn, error)) { p.giveTo(fn, p.unattach) }

// give waits for a connection to be given back.
func (p *Psock) give(start func(func(net.Conn, error))) (net.Conn, error) {
	if p.mux.onThread() {
		return nil, fmt.Errorf("detach: %w", ErrDeadlock)
	}
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	start(func(c net.Conn, err error) { done <- result{c, err} })
	r := <-done
	return r.c, r.err
}

// giveTo starts to give the connection back, on its loop.
func (p *Psock) giveTo(fn func(net.Conn, error), start func(func(net.Conn, error))) {
	ok := p.shard.loop.OnThread()
	if ok {
		start(fn)
	} else {
		ok = p.shard.loop.Post(func() { start(fn) })
	}
	if !ok {
		go fn(nil, errEnded)
	}
}

var (
	errLeaving    error = fmt.Errorf("detach: the connection is ending or being given back: %w (%w)", syscall.EALREADY, ErrClosed)
	errConnecting error = fmt.Errorf("detach: the connection does not stand yet: %w", syscall.ENOTCONN)
	errEnded      error = fmt.Errorf("detach: the connection has ended: %w (%w)", syscall.ENOENT, ErrClosed)
)

// mayGive reports whether the connection can be given back, and tells fn if not.
func (p *Psock) mayGive(fn func(net.Conn, error)) bool {
	switch {
	case p.dead.Load():
		go fn(nil, errEnded)
	case p.leaving:
		go fn(nil, errLeaving)
	case p.State() == Connecting:
		go fn(nil, errConnecting)
	default:
		return true
	}
	return false
}

func (p *Psock) detach(fn func(net.Conn, error)) {
	if !p.mayGive(fn) {
		return
	}
	p.shard.stats.unattached++
	p.leaves(nil)
	p.parser.Stop()
	p.afterWork(func() { p.handBack(p.stream.Detach, fn) })
}

func (p *Psock) unattach(fn func(net.Conn, error)) {
	if !p.mayGive(fn) {
		return
	}
	p.shard.stats.unattached++
	p.tell(toldUnattached | toldLeaving)
	p.leaves(nil)
	p.parser.Stop()
	p.shard.handOver() // what is on its way may be parked
	if p.mux.steer.dropParked(p) {
		p.shard.stats.rxReadyDrops++
	}
	p.handBack(p.stream.DetachNow, fn)
}

// dropParked drops the message that a connection is parked with, if it is. The
// connection's loop is the caller.
func (st *steer) dropParked(p *Psock) bool {
	st.lock()
	var wake *Reader
	st.admit(&wake)
	b := st.parked.removeParked(p)
	if b == nil {
		if b = p.flow.backlog.removeParked(p); b != nil {
			n := int64(b.charge)
			p.flow.behind.Add(-n)
			st.behind.Add(-n)
			st.waiting -= b.rest()
		}
	}
	if b != nil {
		st.dropped(b)
	}
	if !st.fifo {
		st.crowded.Store(st.parked.head != nil)
	}
	st.unlock()
	for wake != nil {
		rd := wake
		wake, rd.next = rd.next, nil
		rd.wake()
	}
	return b != nil
}

// handBack gives the descriptor back.
func (p *Psock) handBack(detach func(func(int, *sgmsg.Message, error)), fn func(net.Conn, error)) {
	detach(func(fd int, rest *sgmsg.Message, err error) {
		if err != nil {
			p.stream.Close(err) // if it has only failed to send: nobody reads what it has
			go fn(nil, err)
			return
		}
		p.mux.forget(p)
		var head sgmsg.Message
		if err := p.parser.Salvage(&head); err != nil {
			closeFD(fd)
			go fn(nil, fmt.Errorf("detach: %w", err))
			return
		}
		bytes := rest.AppendTo(head.AppendTo(nil))
		head.Release()
		go func() { fn(adoptFD(fd, bytes)) }()
	})
}

// adoptFD makes a net.Conn of a descriptor, with bytes to be read first.
func adoptFD(fd int, rest []byte) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "detached")
	c, err := net.FileConn(f) // duplicates the descriptor
	_ = f.Close()
	if err != nil || len(rest) == 0 {
		return c, err
	}
	return &replayConn{Conn: c, rest: rest}, nil
}

// replayConn is a connection some of whose bytes have been read already. Reads
// must not be concurrent with each other.
type replayConn struct {
	net.Conn
	rest []byte
}

func (c *replayConn) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}
