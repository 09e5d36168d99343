//go:build unix

package framing

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cloudwego/netpoll"
)

// netpollCutter does for the connection what the poller does with each readable
// event: it asks for memory, reads into it, and acknowledges.
type netpollCutter struct {
	conn    netpoll.Connection
	poll    *netpoll.FDOperator // what the poller calls
	input   *netpoll.LinkBuffer
	vector  [][]byte
	peer    *idlePeer
	src     *Source
	deliver func(payload []byte)
}

func openNetpoll(src *Source, to Callbacks) (Cutter, error) {
	n := &netpollCutter{vector: make([][]byte, 1), src: src, deliver: to.Bytes}
	if err := n.connect(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *netpollCutter) connect() (err error) {
	if n.peer, err = newIdlePeer(); err != nil {
		return err
	}
	if n.conn, err = netpoll.NewFDConnection(n.peer.takeFD()); err != nil {
		return err
	}
	n.poll, n.input, err = findNetpollInput(n.conn)
	return err
}

func (n *netpollCutter) Cut(chunks, _ int) error {
	for range chunks {
		// A chunk may take several reads until the connection books enough.
		for more := true; more; more = n.src.Rest() > 0 {
			if err := n.read(); err != nil {
				return err
			}
			if err := n.request(); err != nil {
				return err
			}
		}
	}
	return nil
}

// read is one readable event. With bytes in place they are linked to the input, as
// netpoll does with what is written to it in large pieces.
func (n *netpollCutter) read() error {
	if n.src.inPlace {
		b, err := n.src.Take(nil)
		if err != nil {
			return err
		}
		if _, err := n.input.WriteBinary(b); err != nil {
			return err
		}
		return n.input.Flush()
	}
	got, err := n.src.Read(n.poll.Inputs(n.vector)[0])
	if err != nil {
		return err
	}
	return n.poll.InputAck(got)
}

// request is a handler: it takes what is whole, which Len tells without blocking.
func (n *netpollCutter) request() error {
	r := n.conn.Reader()
	for have := r.Len(); have >= headerLen; {
		header, err := r.Peek(headerLen)
		if err != nil {
			return err
		}
		size := headerLen + int(binary.BigEndian.Uint32(header))
		if size > have {
			break
		}
		message, err := r.Next(size)
		if err != nil {
			return fmt.Errorf("message of %d bytes: %w", size, err)
		}
		n.deliver(message[headerLen:])
		have -= size
	}
	return r.Release()
}

func (n *netpollCutter) Close() error {
	var err error
	if n.conn != nil {
		err = n.conn.Close()
	}
	if n.peer != nil {
		n.peer.close()
	}
	return err
}

// findNetpollInput finds in the connection the functions that the poller calls and the
// input they fill. Source of the rules: defaultPoll.handler of netpoll v0.7.2.
func findNetpollInput(c netpoll.Connection) (*netpoll.FDOperator, *netpoll.LinkBuffer, error) {
	op, err := field[*netpoll.FDOperator](c, "operator")
	if err != nil {
		return nil, nil, err
	}
	input, err := field[*netpoll.LinkBuffer](c, "inputBuffer")
	if err != nil {
		return nil, nil, err
	}
	return *op, *input, nil
}
