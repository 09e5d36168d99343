package framing

import (
	"bufio"
	"encoding/binary"
	"io"
)

// source is a reader that has one chunk at a time, and io.EOF for now when it has
// been read.
type source struct{ left []byte }

func (s *source) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

// buffered is package bufio, with a buffer that takes a chunk and what was left of
// the one before.
type buffered struct {
	tally *Tally
	mem   []byte
	src   source
	r     *bufio.Reader
}

func (b *buffered) arrive(i, n int) { b.src.left = b.mem[i*ChunkSize:][:n] }

func (*buffered) Close() {}

// peeking looks at messages in bufio's buffer.
type peeking struct{ buffered }

func newBufio(t *Tally, mem []byte) Contestant {
	p := &peeking{buffered{tally: t, mem: mem}}
	p.r = bufio.NewReaderSize(&p.src, 2*ChunkSize)
	return p
}

func (p *peeking) Chunk(i, n int, _ bool) error {
	p.arrive(i, n)
	for {
		h, err := p.r.Peek(4)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		size := 4 + int(binary.BigEndian.Uint32(h))
		b, err := p.r.Peek(size)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		p.tally.add(b[4:])
		if _, err := p.r.Discard(size); err != nil {
			return err
		}
	}
}

// readFull copies header and payload out of bufio's buffer, as programs that block
// do. What a chunk has of a message that is not complete stays in the reader, where
// a program would wait in the middle of ReadFull.
type readFull struct {
	buffered
	header  [4]byte
	payload []byte
}

func newReadFull(t *Tally, mem []byte) Contestant {
	f := &readFull{buffered: buffered{tally: t, mem: mem}, payload: make([]byte, ChunkSize)}
	f.r = bufio.NewReaderSize(&f.src, 2*ChunkSize)
	return f
}

func (f *readFull) Chunk(i, n int, _ bool) error {
	f.arrive(i, n)
	left := f.r.Buffered() + n // known to a program by the wait in ReadFull
	need := func(n int) bool {
		if left >= n {
			return true
		}
		f.r.Peek(left) // takes the chunk into the buffer
		return false
	}
	for need(4) {
		h, err := f.r.Peek(4)
		if err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(h))
		if !need(4 + size) {
			break
		}
		if _, err := io.ReadFull(f.r, f.header[:]); err != nil {
			return err
		}
		p := f.payload[:size]
		if _, err := io.ReadFull(f.r, p); err != nil {
			return err
		}
		f.tally.add(p)
		left -= 4 + size
	}
	return nil
}
