package recorded

import (
	"io"
	"net"
	"testing"
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

// pair is the two ends of a connection over loopback. What waits on it fails after a
// while.
func pair(t *testing.T) (near, far net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{near, far} {
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return near, far
}

// patience is how long a library may take to answer.
const patience = 30 * time.Second

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
