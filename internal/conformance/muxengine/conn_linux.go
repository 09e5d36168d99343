package muxengine

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/internal/conformance/lowers"
	"github.com/kcm-go/kcm/mux"
)

// conn is a lower and its peer. While it is attached, Lower.FD is a duplicate of the
// descriptor that the Mux has.
type conn struct {
	*lowers.Conn
	engine *Engine
	psock  *mux.Psock // that it is attached as, or was when it ended
	group  *group
	closed bool     // by the script
	taken  bool     // the error that ended it
	back   net.Conn // what an unattach gave back, with bytes to be read first

	timeout time.Duration // SO_RCVTIMEO
	largest int           // by SO_RCVBUF
}

// closed is every Mux's OnClose.
func (e *Engine) closed(p *mux.Psock, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended[p] = err
}

// over reports whether the connection has ended while it was attached, and why.
func (c *conn) over() (cause error, ended bool) {
	c.engine.mu.Lock()
	defer c.engine.mu.Unlock()
	cause, ended = c.engine.ended[c.psock]
	return cause, ended
}

// doConn carries out an action on a lower.
func (e *Engine) doConn(c *conn, a *conformance.Action) string {
	if c.closed {
		return fmt.Sprintf("no conn %d", a.N)
	}
	switch a.Verb {
	case "set":
		switch a.Words[0] {
		case "rcvtimeo":
			if c.psock != nil {
				return unsupported
			}
			c.timeout = time.Duration(a.Numbers[0]) * time.Millisecond
			return "ok"
		case "rcvbuf":
			if c.psock != nil {
				return unsupported
			}
			c.largest = 2 * a.Numbers[0]
		}
		return c.Do(&c.Lower, a, e.settle)
	case "error":
		if c.psock == nil {
			break
		}
		cause, _ := c.over()
		if cause == nil || c.taken {
			return "none"
		}
		c.taken = true
		return name(cause)
	case "close":
		c.closed = true
		if c.psock != nil {
			return "ok"
		}
		c.giveUp()
	case "read", "drain":
		if c.back != nil {
			return c.readBack(a)
		}
		fallthrough
	default:
		if c.psock == nil {
			break
		}
		if _, ended := c.over(); !ended {
			return unsupported
		}
	}
	return c.Do(&c.Lower, a, e.settle)
}

// attach attaches the conn to the multiplexor of s.
func (e *Engine) attach(s *socket, c *conn, parser string) string {
	if _, err := formatOf(parser); err != nil {
		return name(err)
	}
	g := s.group
	if err := g.make(parser, c.timeout, c.largest); err != nil {
		return name(err)
	}
	if g.parser != parser || g.timeout != c.timeout || g.largest != c.largest {
		return unsupported
	}
	fd := c.Lower.FD
	if fd >= 0 {
		var err error
		if fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return name(err)
		}
	}
	p, err := g.mux.AttachFD(fd)
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return name(err)
	}
	c.giveUp()
	c.psock, c.group, c.taken = p, g, false
	return "ok"
}

// giveUp closes what an unattach gave back.
func (c *conn) giveUp() {
	if c.back != nil {
		_ = c.back.Close() // a duplicate
		c.back = nil
	}
}

// readBack reads what an unattach gave back: the bytes that it replays, then the connection.
func (c *conn) readBack(a *conformance.Action) string {
	// With a deadline that is over only bytes that are in memory can be read.
	if err := c.back.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return name(err)
	}
	var first []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.back.Read(buf)
		first = append(first, buf[:n]...)
		if err != nil {
			break
		}
	}
	c.giveUp()
	rest, end := c.Lower.Read(c.engine.settle)
	return lowers.Stream(append(first, rest...), end, a)
}
