package framing

import (
	"encoding/binary"

	"github.com/cloudwego/netpoll"
)

// linked is netpoll's LinkBuffer, which its connections read into and hand out as a
// Reader. A chunk that is given becomes a node of it, one that is read is copied into
// a node of its own memory.
type linked struct {
	tally *Tally
	mem   []byte
	buf   *netpoll.LinkBuffer
	r     netpoll.Reader
}

func newNetpoll(t *Tally, mem []byte) Contestant {
	b := netpoll.NewLinkBuffer(ChunkSize)
	return &linked{tally: t, mem: mem, buf: b, r: b}
}

func (l *linked) Chunk(i, n int, read bool) error {
	p := l.mem[i*ChunkSize:][:n]
	if read {
		own, err := l.buf.Malloc(n)
		if err != nil {
			return err
		}
		copy(own, p)
	} else if _, err := l.buf.WriteBinary(p); err != nil { // above 4 KiB it is not copied
		return err
	}
	if err := l.buf.Flush(); err != nil {
		return err
	}
	for l.r.Len() >= 4 {
		h, err := l.r.Peek(4)
		if err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(h))
		if l.r.Len() < 4+size {
			break
		}
		if err := l.r.Skip(4); err != nil {
			return err
		}
		b, err := l.r.Next(size)
		if err != nil {
			return err
		}
		l.tally.add(b)
	}
	return l.r.Release()
}

func (l *linked) Close() { l.buf.Close() }
