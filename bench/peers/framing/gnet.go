package framing

import (
	"encoding/binary"
	"io"

	"github.com/panjf2000/gnet/v2/pkg/buffer/elastic"
)

// gnetReader is the part of gnet.Conn that a handler frames with.
type gnetReader interface {
	Peek(n int) ([]byte, error)
	Discard(n int) (int, error)
	InboundBuffered() int
}

// gnetConn has the input side of a connection of gnet's event loop: the bytes just
// read, in the loop's buffer, behind an elastic ring buffer with what handlers left
// before. gnet's own type needs an engine with a socket, so that part of it is
// rebuilt here on gnet's buffer. A Peek that takes bytes of both makes one slice of
// them.
type gnetConn struct {
	tally  *Tally
	mem    []byte
	loop   []byte // the event loop's read buffer
	buffer []byte // of the present chunk, what was not discarded
	ring   elastic.RingBuffer
	joined []byte
	conn   gnetReader // itself, as handlers have it
}

func newGnet(t *Tally, mem []byte) Contestant {
	c := &gnetConn{tally: t, mem: mem, loop: make([]byte, ChunkSize)}
	c.conn = c
	return c
}

func (c *gnetConn) InboundBuffered() int { return c.ring.Buffered() + len(c.buffer) }

func (c *gnetConn) Peek(n int) ([]byte, error) {
	old := c.ring.Buffered()
	if n > old+len(c.buffer) {
		return nil, io.ErrShortBuffer
	}
	if c.ring.IsEmpty() {
		return c.buffer[:n], nil
	}
	head, tail := c.ring.Peek(n)
	if len(head) == n {
		return head, nil
	}
	c.joined = append(append(c.joined[:0], head...), tail...)
	if old < n {
		c.joined = append(c.joined, c.buffer[:n-old]...)
	}
	return c.joined, nil
}

func (c *gnetConn) Discard(n int) (int, error) {
	if c.ring.IsEmpty() {
		c.buffer = c.buffer[n:]
		return n, nil
	}
	done, err := c.ring.Discard(min(n, c.ring.Buffered()))
	c.buffer = c.buffer[n-done:]
	return n, err
}

func (c *gnetConn) Chunk(i, n int, read bool) error {
	c.buffer = c.mem[i*ChunkSize:][:n]
	if read {
		c.buffer = c.loop[:copy(c.loop, c.buffer)]
	}
	if err := c.traffic(c.conn); err != nil {
		return err
	}
	_, err := c.ring.Write(c.buffer)
	c.buffer = nil
	return err
}

// traffic is a handler's OnTraffic.
func (c *gnetConn) traffic(conn gnetReader) error {
	for conn.InboundBuffered() >= 4 {
		h, err := conn.Peek(4)
		if err != nil {
			return err
		}
		size := 4 + int(binary.BigEndian.Uint32(h))
		if conn.InboundBuffered() < size {
			break
		}
		b, err := conn.Peek(size)
		if err != nil {
			return err
		}
		c.tally.add(b[4:])
		if _, err := conn.Discard(size); err != nil {
			return err
		}
	}
	return nil
}

func (c *gnetConn) Close() { c.ring.Done() }
