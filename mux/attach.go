package mux

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"github.com/kcm-go/kcm/ring"
)

// Attach takes a connection over: *net.TCPConn or *net.UnixConn of a stream
// socket, or what Detach returned once its replayed bytes have been read. On success c is closed and the connection
// lives on in the Psock; on error c is unchanged. Bytes that have already
// arrived are read.
//
// Errors: EOPNOTSUPP for any other kind of connection or socket, ErrClosed when
// the Mux is shut down or c is closed.
func (m *Mux) Attach(c net.Conn) (*Psock, error) {
	if d, ok := c.(*replayConn); ok && len(d.rest) == 0 {
		c = d.Conn
	}
	var sc syscall.Conn
	switch c := c.(type) {
	case *net.TCPConn:
		sc = c
	case *net.UnixConn:
		sc = c
	default:
		return nil, fmt.Errorf("attach: %T is neither a *net.TCPConn nor a *net.UnixConn: %w", c, syscall.EOPNOTSUPP)
	}
	fd, err := dupConn(sc)
	if err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	p, err := m.AttachFD(fd)
	if err != nil {
		closeFD(fd)
		return nil, err
	}
	_ = c.Close() // the descriptor is a duplicate; the connection stays up
	return p, nil
}

// AttachFD takes over the descriptor of a connected stream socket, TCP or unix: from now on
// it is the Mux's, which closes it, and nobody else may. On error it is still the caller's. One of TCP may still be connecting: what
// is sent to it waits, sockets do not send on it before it stands, and OnOpen is called
// then; if it never does, OnClose without OnOpen.
//
// Errors, as the kernel's attach has them: ENOENT when fd is not an open
// socket, EOPNOTSUPP when it is not a stream socket, listens, or is not
// connected, EALREADY when a Mux of this process has it already; ErrClosed.
func (m *Mux) AttachFD(fd int) (*Psock, error) {
	cookie, connecting, err := checkFD(fd)
	if err != nil {
		return nil, fmt.Errorf("attach: descriptor %d: %w", fd, err)
	}
	if !claimed.take(cookie) {
		return nil, fmt.Errorf("attach: descriptor %d: %w", fd, syscall.EALREADY)
	}
	adopt := m.adopt
	if connecting {
		adopt = m.expect
	}
	p, err := m.place(func(sh *shard) (*Psock, error) { return adopt(sh, fd, cookie) })
	if err != nil {
		claimed.drop(cookie)
	}
	return p, err
}

// place runs fn on a loop: the caller's if it is on one, else the one with the
// fewest connections.
func (m *Mux) place(fn func(*shard) (*Psock, error)) (p *Psock, err error) {
	for _, sh := range m.shards {
		if sh.loop.OnThread() {
			return fn(sh)
		}
	}
	sh := m.lightest()
	if e := sh.loop.Do(func() { p, err = fn(sh) }); e != nil {
		return nil, fmt.Errorf("attach: %w", e)
	}
	return p, err
}

// adopt makes a Psock, on which sockets may send, of a connected descriptor. Loop's thread.
func (m *Mux) adopt(sh *shard, fd int, cookie uint64) (*Psock, error) {
	return m.receive(sh, fd, func(p *Psock) { p.ownSide().given, p.shared = cookie, true })
}

// expect is adopt of a descriptor that is connecting: upper hears when it stands.
func (m *Mux) expect(sh *shard, fd int, cookie uint64) (*Psock, error) {
	return m.enter(sh, func(p *Psock) (err error) {
		p.ownSide().given, p.shared = cookie, true
		p.stream, err = sh.loop.AttachConnecting(fd, (*upper)(p))
		return err
	})
}

// receive makes a Psock, completed by what, of a connected descriptor.
func (m *Mux) receive(sh *shard, fd int, what func(p *Psock)) (*Psock, error) {
	p, err := m.enter(sh, func(p *Psock) (err error) {
		what(p)
		p.stream, err = sh.loop.Attach(fd, (*upper)(p))
		return err
	})
	if err == nil {
		p.stands()
	}
	return p, err
}

// enter makes a Psock and lets open give it a stream. Loop's thread.
func (m *Mux) enter(sh *shard, open func(*Psock) error) (*Psock, error) {
	index, err := m.admit()
	if err != nil {
		return nil, err
	}
	p := &Psock{mux: m, shard: sh, index: int32(index), flow: &noFlow, side: &noSide}
	if m.opt.Handshake != nil {
		p.greeting = &greeting{psock: p}
	}
	if m.opt.IdleTimeout > 0 {
		p.idle = &idleTimer{psock: p}
	}
	if m.opt.OrderedReplies {
		p.order = &order{soft: int64(sh.loop.Options().SendSoft)}
	}
	if err = m.profile.Init(&p.parser, (*lower)(p), p); err == nil {
		p.parser.SetOrigin(sh.origin)
		err = open(p)
	}
	if err == nil && m.opt.OnLost != nil {
		p.stream.KeepBoundaries()
	}
	if err != nil {
		m.dismiss(index)
		return nil, err
	}
	sh.add(p)
	return p, nil
}

// Dial connects to an address of network tcp, tcp4, tcp6 or unix, and waits until
// the connection stands or ctx ends. Errors: those of the name resolution, of
// connect (ECONNREFUSED ...), ctx.Err, ErrClosed; EDEADLK on a loop's thread.
func (m *Mux) Dial(ctx context.Context, network, address string) (*Psock, error) {
	if m.onThread() {
		return nil, fmt.Errorf("dial %s: %w", address, ErrDeadlock)
	}
	to, err := resolve(network, address)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	opened := make(chan error, 1)
	p, err := m.place(func(sh *shard) (*Psock, error) {
		return m.enter(sh, func(p *Psock) (err error) {
			p.ownSide().opened, p.shared = opened, true
			p.stream, err = sh.loop.Dial(to, (*upper)(p))
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("mux: %w", err)
	}
	select {
	case err = <-opened:
	case <-ctx.Done():
		p.Close()
		if err = <-opened; err == nil { // it stood a moment before
			p.Close()
		}
		err = fmt.Errorf("mux: dial %s: %w", address, ctx.Err())
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func resolve(network, address string) (net.Addr, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
		return net.ResolveTCPAddr(network, address)
	case "unix":
		return net.ResolveUnixAddr(network, address)
	}
	return nil, fmt.Errorf("network %q: want tcp, tcp4, tcp6 or unix: %w", network, syscall.EPROTONOSUPPORT)
}

// server is one listener that is being served.
type server struct {
	mux   *Mux
	ln    net.Listener
	shard *shard
	acc   *ring.Listener // loop's thread
	done  chan error

	retired bool          // under Mux.mu: no connection is to be accepted any more
	ended   chan struct{} // closed when none will come
}

// Serve accepts connections from ln, a *net.TCPListener or *net.UnixListener,
// until Shutdown, Retire or Close, and then returns ErrClosed. It takes ln over and
// closes it before it returns. Connections go to the loop that has the fewest.
// On a loop's thread it returns EDEADLK.
func (m *Mux) Serve(ln net.Listener) error {
	if m.onThread() {
		return fmt.Errorf("serve: %w", ErrDeadlock)
	}
	defer ln.Close()
	sc, ok := ln.(syscall.Conn)
	if !ok {
		return fmt.Errorf("serve: %T is neither a *net.TCPListener nor a *net.UnixListener: %w", ln, syscall.EOPNOTSUPP)
	}
	fd, err := dupConn(sc)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	s := &server{mux: m, ln: ln, shard: m.shards[0], done: make(chan error, 1), ended: make(chan struct{})}
	m.mu.Lock()
	if m.state != running {
		m.mu.Unlock()
		closeFD(fd)
		return ErrClosed
	}
	m.servers[s] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.servers, s)
		m.mu.Unlock()
		close(s.ended)
	}()
	if e := s.shard.loop.Do(func() {
		s.acc, err = s.shard.loop.Listen(fd, s.accepted, func(cause error) { s.done <- cause })
	}); e != nil {
		err = e
	}
	if err != nil {
		closeFD(fd)
		return fmt.Errorf("serve: %w", err)
	}
	m.mu.Lock()
	late := m.state != running || s.retired
	m.mu.Unlock()
	if late {
		s.close()
	}
	if err := <-s.done; err != nil && err != ErrClosed {
		return fmt.Errorf("serve: %w", err)
	}
	return ErrClosed
}

// close stops accepting.
func (s *server) close() {
	s.shard.loop.Post(func() {
		if s.acc != nil {
			s.acc.Close()
		}
	})
}

// accepted places a new connection, or refuses it. Loop's thread.
func (s *server) accepted(fd int) {
	who, ok := s.mux.guests.admit(s.shard.loop, fd)
	if !ok {
		s.shard.tellRefused(s.ln)
		s.shard.loop.Discard(fd)
		return
	}
	sh := s.mux.lightest()
	if sh == s.shard {
		s.open(sh, fd, who)
		return
	}
	sh.load.Add(1) // so that a burst is spread before the others have seen it
	if !sh.loop.Post(func() { sh.load.Add(-1); s.open(sh, fd, who) }) {
		sh.load.Add(-1)
		s.mux.guests.dismiss(who)
		s.shard.loop.Discard(fd)
	}
}

func (s *server) open(sh *shard, fd int, who *guest) {
	if _, err := s.mux.receive(sh, fd, func(p *Psock) { p.guest = who }); err != nil {
		s.mux.guests.dismiss(who)
		sh.loop.Discard(fd)
	}
}
