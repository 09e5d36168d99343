package ringtest

import (
	"io"
	"syscall"
)

// Peer is the far end of a stream, driven by the test between turns. Nothing it
// does blocks or moves the time: what it writes is on its way when Write
// returns, and Read finds what has arrived.
type Peer struct{ sock *socket }

// Write sends what there is room for. It returns n < len(p) with EAGAIN when
// the stream is full, ECONNRESET (once) or EPIPE when it has failed or was
// closed.
func (p *Peer) Write(b []byte) (n int, err error) {
	k := p.sock
	if len(b) == 0 {
		return 0, nil
	}
	if k.closed {
		return 0, syscall.EPIPE
	}
	if e := k.canSend(); e != 0 {
		return 0, e
	}
	n = min(len(b), k.out.room())
	from := k.out.tail
	k.out.put(b[:n])
	k.out.launch(from, false)
	k.sim.note(record{what: didSend, a: int64(n), b: int64(k.out.room())})
	if n < len(b) {
		return n, syscall.EAGAIN
	}
	return n, nil
}

// Read takes bytes that have arrived: at least one, or EAGAIN when none has,
// io.EOF at the end of the stream, ECONNRESET (once) after a reset, EBADF after
// Close.
func (p *Peer) Read(b []byte) (n int, err error) {
	k := p.sock
	switch {
	case k.closed:
		return 0, syscall.EBADF
	case len(b) == 0:
		return 0, nil
	case k.in.readable() > 0:
		n = k.in.take(b)
		k.sim.note(record{what: didPeer, a: int64(n)})
		return n, nil
	}
	switch res := k.end(); {
	case res < 0:
		return 0, syscall.Errno(-res)
	case res == 0:
		return 0, io.EOF
	}
	return 0, syscall.EAGAIN
}

// Buffered returns the number of bytes that have arrived and are unread.
func (p *Peer) Buffered() int { return p.sock.in.readable() }

// Room returns the number of bytes that Write would take.
func (p *Peer) Room() int { return p.sock.out.room() }

// CloseWrite ends the direction towards the loop, behind the bytes written so
// far. ENOTCONN after a reset.
func (p *Peer) CloseWrite() error {
	if e := p.sock.shutdown(syscall.SHUT_WR); e != 0 {
		return e
	}
	return nil
}

// Close closes both directions. The loop finds the end of the stream behind the
// bytes written so far; if bytes that had arrived here were unread, it finds a
// reset instead, as with TCP. It never fails.
func (p *Peer) Close() error {
	p.sock.close()
	return nil
}

// Reset closes the stream with a reset: what is still on its way to the loop is
// lost. It never fails.
func (p *Peer) Reset() error {
	p.sock.sendReset()
	p.sock.dead = true
	p.sock.close()
	return nil
}

// SetReadBuffer sets the capacity of the direction towards the peer, in bytes.
// Bytes there stay there.
func (p *Peer) SetReadBuffer(n int) { p.sock.in.limit = max(n, 1) }

// Tap has fn called with all bytes that the stream towards the peer accepts from now on, when
// it accepts them: what a kernel takes, whatever becomes of it.
func (p *Peer) Tap(fn func(b []byte)) { p.sock.in.tap = fn }
