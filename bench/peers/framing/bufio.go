package framing

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// maxHeld is the longest message that bufioPeek can have: what its buffer holds
// besides a whole chunk.
const maxHeld = 4 << 10

// newReader returns a buffer that a whole chunk fits into behind the rest of a
// message, so that a chunk takes one read.
func newReader(src *Source) *bufio.Reader { return bufio.NewReaderSize(src, ChunkSize+maxHeld) }

// bufioRead reads each message out of the buffer, as most servers on package net do:
// header, then body into memory that is used again.
type bufioRead struct {
	r       *bufio.Reader
	deliver func(payload []byte)
	header  [headerLen]byte
	body    []byte
}

func openBufioRead(src *Source, to Callbacks) (Cutter, error) {
	return &bufioRead{r: newReader(src), deliver: to.Bytes}, nil
}

func (b *bufioRead) Cut(_, messages int) error {
	for range messages {
		if _, err := io.ReadFull(b.r, b.header[:]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(b.header[:]))
		if cap(b.body) < n {
			b.body = make([]byte, n)
		}
		body := b.body[:n]
		if _, err := io.ReadFull(b.r, body); err != nil {
			return err
		}
		b.deliver(body)
	}
	return nil
}

func (*bufioRead) Close() error { return nil }

// bufioPeek shows each message where it lies in the buffer.
type bufioPeek struct {
	r       *bufio.Reader
	deliver func(payload []byte)
}

func openBufioPeek(src *Source, to Callbacks) (Cutter, error) {
	return &bufioPeek{r: newReader(src), deliver: to.Bytes}, nil
}

func (b *bufioPeek) Cut(_, messages int) error {
	for range messages {
		header, err := b.r.Peek(headerLen)
		if err != nil {
			return err
		}
		n := headerLen + int(binary.BigEndian.Uint32(header))
		message, err := b.r.Peek(n)
		if err != nil {
			return fmt.Errorf("message of %d bytes: %w", n, err)
		}
		b.deliver(message[headerLen:])
		if _, err := b.r.Discard(n); err != nil {
			return err
		}
	}
	return nil
}

func (*bufioPeek) Close() error { return nil }
