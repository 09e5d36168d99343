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
	last   *mux.Psock // that it was, before the last unattach
	group  *group     // of both
	closed bool       // by the script
	taken  bool       // the error that ended it
	back   net.Conn   // what an unattach gave back, with bytes to be read first

	timeout time.Duration // SO_RCVTIMEO
	largest int           // by SO_RCVBUF
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
		p := c.psock
		if p == nil {
			p = c.last
		}
		if p == nil {
			break
		}
		if err := p.Err(); err != nil && !c.taken {
			c.taken = true
			return name(err)
		}
		if c.psock != nil {
			return "none"
		}
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
		if c.psock.State() != mux.Ended {
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
	p, err := c.into(g.mux)
	if err != nil {
		return name(err)
	}
	c.giveUp()
	c.psock, c.group, c.taken = p, g, false
	return "ok"
}

// into attaches the conn to m: what an unattach gave back if that is still there, else a duplicate
// of the descriptor.
func (c *conn) into(m *mux.Mux) (*mux.Psock, error) {
	if c.back != nil {
		return m.Attach(c.back)
	}
	if c.Lower.FD < 0 {
		return m.AttachFD(c.Lower.FD)
	}
	fd, err := unix.FcntlInt(uintptr(c.Lower.FD), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	p, err := m.AttachFD(fd)
	if err != nil {
		_ = unix.Close(fd) // it is still ours
	}
	return p, err
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

// unattach takes the action's conn out of its Mux again. What is attached nowhere, or to another
// Mux, has no Psock to be asked for it.
func (e *Engine) unattach(s *socket, a *conformance.Action) string {
	c, problem := e.target(a)
	switch {
	case c == nil:
		return problem
	case c.psock == nil && c.last == nil || c.group != s.group:
		return unsupported
	}
	p := c.psock
	if p == nil {
		p = c.last
	}
	back, err := p.Unattach()
	if err != nil {
		return name(err)
	}
	c.psock, c.last, c.back = nil, p, back
	return "ok"
}
