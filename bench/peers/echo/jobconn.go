package echo

import (
	"net"
	"sync"
)

// jobConn is a connection whose frames others handle.
type jobConn struct {
	c       net.Conn
	pending sync.WaitGroup // frames read and not yet answered

	mu  sync.Mutex // one reply at a time
	out []byte     // replies that wait for flush
}

// write answers at once.
func (c *jobConn) write(frame []byte) {
	c.mu.Lock()
	_, err := c.c.Write(frame)
	c.mu.Unlock()
	if err != nil {
		c.c.Close() // ends the reader too
	}
}

// flushAt is how many bytes of replies may wait for others to join them.
const flushAt = 64 << 10

// add puts a reply behind those that wait, and writes them all if they have
// become many.
func (c *jobConn) add(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.out)+len(frame) > flushAt {
		c.flushLocked()
	}
	if len(frame) < flushAt {
		c.out = append(c.out, frame...)
	} else if _, err := c.c.Write(frame); err != nil {
		c.c.Close()
	}
}

func (c *jobConn) flush() {
	c.mu.Lock()
	c.flushLocked()
	c.mu.Unlock()
}

func (c *jobConn) flushLocked() {
	if len(c.out) == 0 {
		return
	}
	if _, err := c.c.Write(c.out); err != nil {
		c.c.Close()
	}
	c.out = c.out[:0]
}
