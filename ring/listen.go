package ring

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// Listener accepts connections on a listening socket. One multishot accept is
// in flight.
type Listener struct {
	loop  *Loop
	id    uint32
	gen   uint32
	fd    int
	armed bool
	dead  bool
	waits bool // paused, and has accepted nothing since
	pause Timer
	conn  func(fd int)
	ended func(error)
	cause error
}

// acceptPause is how long a listener waits when descriptors or memory have run
// out before it accepts again.
const acceptPause = 10 * time.Millisecond

// Listen accepts connections on a listening socket, whose descriptor it takes
// over: conn is called on the loop's thread with each new connection's
// descriptor and owns it; ended once, after the last of them, when the listener is closed (nil) or fails.
// Running out of descriptors is not a failure: the listener pauses and goes on.
func (l *Loop) Listen(fd int, conn func(fd int), ended func(error)) (*Listener, error) {
	if l.stop {
		return nil, ErrClosed
	}
	if err := l.be.Attach(fd); err != nil {
		return nil, fmt.Errorf("listen: descriptor %d: %w", fd, err)
	}
	ln := &Listener{loop: l, fd: fd, conn: conn, ended: ended}
	ln.id, ln.gen = l.enroll(ln)
	ln.arm()
	return ln, nil
}

func (ln *Listener) key() backend.Key { return backend.MakeKey(backend.OpAccept, ln.gen, ln.id) }

func (ln *Listener) arm() {
	ln.armed = true
	ln.loop.be.Accept(ln.key(), ln.fd)
}

// Expire implements Expirer.
func (ln *Listener) Expire(*Timer) {
	if !ln.armed && !ln.dead {
		ln.arm()
	}
}

// Close stops accepting and closes the socket. Connections that the system has accepted, or
// told this listener of, until then still come to conn; ended is called with nil after the
// last. So none is lost when the socket goes on elsewhere, in another process. Only when
// descriptors or memory have run out what waits is left until the next one comes there.
func (ln *Listener) Close() { ln.end(nil) }

func (ln *Listener) complete(ev *backend.Event) {
	if ev.Res >= 0 { // still armed, so that Close inside conn waits for the end of this
		if ln.dead && ln.cause != nil { // nobody wants it
			_ = ln.loop.be.CloseFD(int(ev.Res))
		} else {
			ln.loop.stats.Accepted++
			if ln.waits {
				ln.tellAccepts()
			}
			ln.conn(int(ev.Res))
		}
	}
	if !ev.More {
		ln.armed = false
	}
	if ln.dead {
		if !ln.armed {
			ln.last(ev.Err())
		}
		return
	}
	switch err := ev.Err(); err {
	case 0, syscall.ECONNABORTED, syscall.EINTR, syscall.EAGAIN, syscall.ECANCELED, syscall.EPROTO:
		if !ln.armed {
			ln.arm()
		}
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM:
		if !ln.armed && !ln.pause.Armed() {
			ln.loop.StartTimer(&ln.pause, acceptPause, ln)
			ln.tellPaused(err)
		}
	default:
		ln.end(fmt.Errorf("accept: %w", err))
	}
}

func (ln *Listener) end(cause error) {
	if ln.dead {
		return
	}
	ln.dead, ln.cause = true, cause
	ln.loop.StopTimer(&ln.pause)
	switch {
	case ln.armed:
		ln.loop.be.Cancel(ln.key())
	case cause == nil: // it pauses: others may not have been told of what waits
		ln.sweep()
	default:
		ln.bury()
	}
}

// last handles the last event of the accept of a dead listener. Only one that ends by Cancel
// leaves nothing behind that it was told of.
func (ln *Listener) last(err syscall.Errno) {
	switch err {
	case 0, syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO:
		if ln.cause == nil {
			ln.sweep()
			return
		}
	}
	ln.bury()
}

// sweep accepts what waits.
func (ln *Listener) sweep() {
	ln.arm()
	ln.loop.be.Cancel(ln.key())
}

func (ln *Listener) bury() {
	_ = ln.loop.be.CloseFD(ln.fd)
	ln.fd = -1
	ln.loop.dismiss(ln.id)
	ln.ended(ln.cause)
}

func (ln *Listener) abandon() { ln.bury() }

// Discard closes a descriptor that conn was given and nobody wants.
func (l *Loop) Discard(fd int) { _ = l.be.CloseFD(fd) }

// RemoteAddr returns the peer's address of a descriptor that conn was given:
// *net.TCPAddr or *net.UnixAddr; when the peer has gone a *net.UnixAddr without a name.
// Loop's thread.
func (l *Loop) RemoteAddr(fd int) net.Addr {
	_, remote := l.be.Names(fd)
	return netAddr(remote)
}

// Dial connects to an address: *net.TCPAddr or *net.UnixAddr. The stream takes
// messages to send at once; h.Opened is called when it is connected, h.Closed
// with the error when it could not be (ECONNREFUSED, ETIMEDOUT by the
// kernel's own timeout, and so on).
func (l *Loop) Dial(to net.Addr, h Handler) (*Stream, error) {
	if l.stop {
		return nil, ErrClosed
	}
	addr, family, err := backendAddr(to)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	fd, err := l.be.Socket(family, syscall.SOCK_STREAM)
	if err != nil {
		return nil, fmt.Errorf("dial %s: socket: %w", to, err)
	}
	if err := l.be.Attach(fd); err != nil {
		_ = l.be.CloseFD(fd)
		return nil, fmt.Errorf("dial %s: %w", to, err)
	}
	_ = l.be.NoDelay(fd) // unix sockets have no such option
	s := l.newStream(fd, h, connecting)
	s.isOf(addr)
	s.ops |= bit(backend.OpConnect)
	l.be.Connect(s.key(backend.OpConnect), fd, &addr)
	return s, nil
}

func (s *Stream) connected(ev *backend.Event) {
	if s.state != connecting {
		return
	}
	if s.peer.kind.Load() == peerUnknown {
		if !s.toldConnected(ev.Err()) {
			return
		}
	} else if err := ev.Err(); err != 0 {
		s.end(fmt.Errorf("connect %s: %w", s.RemoteAddr(), err))
		return
	}
	s.state = open_
	s.loop.stats.Opened++
	s.h.Opened(s)
	s.steer()
	s.wantSend()
}
