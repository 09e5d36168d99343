package recorded

import (
	"io"
	"net"
	"time"
)

// conn is a connection for libraries that want one: it reads from and writes to what it
// is made of.
type conn struct {
	io.Reader
	io.Writer
}

var _ net.Conn = conn{}

func (conn) Close() error                     { return nil }
func (conn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (conn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (conn) SetDeadline(time.Time) error      { return nil }
func (conn) SetReadDeadline(time.Time) error  { return nil }
func (conn) SetWriteDeadline(time.Time) error { return nil }

// tapped is a connection that keeps what is written to it: all with each Write, in to.
type tapped struct {
	net.Conn
	to io.Writer
}

func (c tapped) Write(b []byte) (int, error) {
	if _, err := c.to.Write(b); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}
