package framing

import (
	"encoding/binary"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// kcm is our parser over a lower with chunks in buffers of 64 KiB.
type kcm struct {
	sgmsg.Allocator // for what has to wait
	parser          *strparser.Parser
	given           *sgmsg.Arena // over the stream
	own             *sgmsg.Arena
	private         *sgmsg.Arena
	free            []sgmsg.BufID // of own
	chunks          []sgmsg.Element
	unread          int
	tally           *Tally
}

func newKCM(t *Tally, mem []byte) Contestant { return open(t, mem, strparser.Length32, false) }

func newKCMBatch(t *Tally, mem []byte) Contestant { return open(t, mem, strparser.Length32, true) }

func newKCMFunc(t *Tally, mem []byte) Contestant {
	return open(t, mem, strparser.ParseFunc(func(v *strparser.View) (int, error) {
		h := v.Head()
		if len(h) < 4 {
			return 0, nil
		}
		return int(binary.BigEndian.Uint32(h)) + 4, nil
	}), false)
}

func open(t *Tally, mem []byte, f strparser.Format, batch bool) Contestant {
	k := &kcm{tally: t, private: sgmsg.NewHeap(1 << 20)}
	k.Allocator = k.private
	k.given = k.blocks(mem, func(sgmsg.BufID) {})
	k.own = k.blocks(make([]byte, len(mem)+2*ChunkSize), func(id sgmsg.BufID) { k.free = append(k.free, id) })
	for i := range k.own.Blocks() {
		k.free = append(k.free, k.own.ID(i))
	}
	var err error
	o := strparser.Options{Format: f, Message: func(_ *strparser.Parser, m *sgmsg.Message) { k.message(m) }}
	if batch {
		o.Batch = func(_ *strparser.Parser, b *strparser.Batch) {
			for i := range b.Len() {
				k.tally.add(b.Bytes(i)[4:])
			}
		}
	}
	if k.parser, err = strparser.New(k, o); err != nil {
		panic(err) // the options are constants
	}
	return k
}

func (*kcm) blocks(mem []byte, recycle func(sgmsg.BufID)) *sgmsg.Arena {
	a, err := sgmsg.NewPoolArena(mem, ChunkSize, recycle)
	if err != nil {
		panic(err) // mem is some chunks
	}
	return a
}

// message is the handler: it looks at the payload where it lies.
func (k *kcm) message(m *sgmsg.Message) {
	if m.Used() == 1 {
		k.tally.add(m.Elem(0).Bytes()[4:])
		return
	}
	m.TrimFront(4)
	first, last := m.Elem(0).Bytes(), m.Elem(m.Used()-1).Bytes()
	k.tally.Messages++
	k.tally.Sum += uint64(first[0]) + uint64(last[len(last)-1])
}

func (k *kcm) Chunk(i, n int, read bool) error {
	id := k.given.ID(i)
	if read {
		from := sgmsg.Element{Buf: id, Len: uint32(n)}.Bytes()
		id = k.free[len(k.free)-1]
		k.free = k.free[:len(k.free)-1]
		copy(sgmsg.Element{Buf: id, Len: uint32(n)}.Bytes(), from)
		k.own.Adopt(id)
	} else {
		k.given.Adopt(id)
	}
	k.chunks = append(k.chunks, sgmsg.Element{Buf: id, Len: uint32(n)})
	k.unread += n
	k.parser.DataReady()
	return k.parser.Err()
}

func (k *kcm) Close() {
	for _, e := range k.chunks {
		e.Buf.Release()
	}
	k.parser.Stop()
	k.parser.Done()
	k.given.Close(nil)
	k.own.Close(nil)
	k.private.Close(nil)
}

func (k *kcm) Readable() int { return k.unread }

func (k *kcm) Peek() (sgmsg.Element, bool) {
	if len(k.chunks) == 0 {
		return sgmsg.Element{}, false
	}
	return k.chunks[0], true
}

func (k *kcm) Consume(n int) {
	k.unread -= n
	e := &k.chunks[0]
	e.Off += uint32(n)
	if e.Len -= uint32(n); e.Len == 0 {
		e.Buf.Release()
		k.chunks = append(k.chunks[:0], k.chunks[1:]...)
	}
}

func (*kcm) Want(int)                         {}
func (*kcm) Full() bool                       { return false }
func (*kcm) Post(error)                       {}
func (*kcm) Kick()                            {}
func (*kcm) StartTimer(time.Duration, uint32) {}
func (*kcm) StopTimer()                       {}
