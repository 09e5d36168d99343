//go:build unix

package framing

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/panjf2000/gnet/v2"
	"github.com/panjf2000/gnet/v2/pkg/buffer/elastic"
	"go.uber.org/zap"
)

// gnetLoop is a loop of gnet with one connection, which nothing is sent to.
type gnetLoop struct {
	gnet.BuiltinEventEngine
	client *gnet.Client
	opened chan struct{}
}

func (l *gnetLoop) OnOpen(gnet.Conn) ([]byte, gnet.Action) {
	close(l.opened)
	return nil, gnet.None
}

// gnetCutter does for the connection what the loop does with each readable event: it
// gives it the loop's buffer, calls the handler, and keeps what the handler leaves.
type gnetCutter struct {
	loop    *gnetLoop
	conn    gnet.Conn
	inbound gnetInbound
	peer    *idlePeer
	src     *Source
	buf     []byte
	deliver func(payload []byte)
	traffic func() error
}

func openGnet(next bool) func(*Source, Callbacks) (Cutter, error) {
	return func(src *Source, to Callbacks) (Cutter, error) {
		g := &gnetCutter{src: src, buf: make([]byte, ChunkSize), deliver: to.Bytes}
		g.traffic = g.peek
		if next {
			g.traffic = g.next
		}
		if err := g.connect(); err != nil {
			return nil, errors.Join(err, g.Close())
		}
		return g, nil
	}
}

func (g *gnetCutter) connect() (err error) {
	if g.peer, err = newIdlePeer(); err != nil {
		return err
	}
	loop := &gnetLoop{opened: make(chan struct{})}
	if loop.client, err = gnet.NewClient(loop, gnet.WithLogger(zap.NewNop().Sugar())); err != nil {
		return err
	}
	if err = loop.client.Start(); err != nil {
		return err
	}
	g.loop = loop
	conn, err := g.peer.netConn()
	if err != nil {
		return err
	}
	if g.conn, err = loop.client.Enroll(conn); err != nil {
		return err
	}
	<-loop.opened
	g.inbound, err = findGnetInbound(g.conn)
	return err
}

func (g *gnetCutter) Cut(chunks, _ int) error {
	for range chunks {
		b, err := g.src.Take(g.buf)
		if err != nil {
			return err
		}
		*g.inbound.buffer = b
		if err := g.traffic(); err != nil {
			return err
		}
		if _, err := g.inbound.kept.Write(*g.inbound.buffer); err != nil {
			return err
		}
		*g.inbound.buffer = nil
	}
	return nil
}

// peek is a handler that sees messages where they lie, or in gnet's copy of one that
// lies in two places.
func (g *gnetCutter) peek() error {
	for {
		header, err := g.conn.Peek(headerLen)
		if err != nil {
			return nil // not all of it is here
		}
		n := headerLen + int(binary.BigEndian.Uint32(header))
		message, err := g.conn.Peek(n)
		if err != nil {
			return nil
		}
		g.deliver(message[headerLen:])
		if got, err := g.conn.Discard(n); got != n || err != nil {
			return fmt.Errorf("discard %d of %d: %w", got, n, err)
		}
	}
}

// next is the same with a call less. A message that lies in two places is copied into
// memory that does not go back to gnet's pool.
func (g *gnetCutter) next() error {
	for {
		header, err := g.conn.Peek(headerLen)
		if err != nil {
			return nil
		}
		message, err := g.conn.Next(headerLen + int(binary.BigEndian.Uint32(header)))
		if err != nil {
			return nil
		}
		g.deliver(message[headerLen:])
	}
}

func (g *gnetCutter) Close() error {
	var err error
	if g.inbound.buffer != nil {
		*g.inbound.buffer = nil
	}
	if g.loop != nil {
		err = g.loop.client.Stop()
	}
	if g.peer != nil {
		g.peer.close()
	}
	if errors.Is(err, context.Canceled) { // how a client ends that was stopped
		err = nil
	}
	return err
}

// gnetInbound is where a connection of gnet has its unread bytes: the newest ones in
// the loop's buffer, and before them those that were kept. Source of the rules:
// eventloop.read of gnet v2.10.0.
type gnetInbound struct {
	buffer *[]byte
	kept   *elastic.RingBuffer
}

// findGnetInbound finds both in the connection.
func findGnetInbound(c gnet.Conn) (gnetInbound, error) {
	buffer, err := field[[]byte](c, "buffer")
	if err != nil {
		return gnetInbound{}, err
	}
	kept, err := field[elastic.RingBuffer](c, "inboundBuffer")
	return gnetInbound{buffer, kept}, err
}
