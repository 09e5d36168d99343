package mux

import (
	"fmt"
	"net"
	"os"

	"github.com/kcm-go/kcm/sgmsg"
)

// Detach gives the connection back once everything queued has been sent. Bytes
// that were received and not delivered as part of a message are not lost: the
// returned connection replays them before it reads on. It blocks; on a loop's
// thread it returns EDEADLK (see DetachTo). The Psock is closed afterwards and
// OnClose is called.
func (p *Psock) Detach() (net.Conn, error) {
	if p.mux.onThread() {
		return nil, ErrDeadlock
	}
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	p.DetachTo(func(c net.Conn, err error) { done <- result{c, err} })
	r := <-done
	return r.c, r.err
}

// DetachTo is Detach for handlers: it returns at once, and fn is called in a
// goroutine of its own with the connection or an error. No message that has
// arrived behind the present one is delivered any more; its bytes are replayed.
func (p *Psock) DetachTo(fn func(net.Conn, error)) {
	ok := p.shard.loop.OnThread()
	if ok {
		p.detach(fn)
	} else {
		ok = p.shard.loop.Post(func() { p.detach(fn) })
	}
	if !ok {
		go fn(nil, ErrClosed)
	}
}

func (p *Psock) detach(fn func(net.Conn, error)) {
	if p.leaving {
		go fn(nil, ErrClosed)
		return
	}
	p.leaves(nil)
	p.parser.Stop()
	p.afterWork(func() { p.handBack(fn) })
}

// handBack gives the descriptor back: everything has been answered.
func (p *Psock) handBack(fn func(net.Conn, error)) {
	p.stream.Detach(func(fd int, rest *sgmsg.Message, err error) {
		if err != nil {
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
