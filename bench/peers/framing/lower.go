package framing

import (
	"fmt"
	"io"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// privateBytes is the private memory of a contestant, for what waits for its rest.
const privateBytes = 1 << 20

// memory is what chunks are received into: a pool of buffers of 64 KiB that are used
// by turns, as a ring of provided buffers is, and private memory for copies. One
// goroutine uses it.
type memory struct {
	sgmsg.Allocator // the private memory
	private         *sgmsg.Arena
	pool            *sgmsg.Arena
	free            []sgmsg.BufID // a ring; the oldest at head
	head, count     int
}

func newMemory(buffers int) (*memory, error) {
	m := &memory{free: make([]sgmsg.BufID, buffers)}
	var err error
	if m.pool, err = sgmsg.NewPoolArena(make([]byte, buffers*ChunkSize), ChunkSize, m.recycle); err != nil {
		return nil, err
	}
	for i := range buffers {
		m.recycle(m.pool.ID(i))
	}
	m.private = sgmsg.NewHeap(privateBytes)
	m.Allocator = m.private
	return m, nil
}

// recycle takes back a buffer that nobody refers to any more.
func (m *memory) recycle(id sgmsg.BufID) {
	m.free[(m.head+m.count)%len(m.free)] = id
	m.count++
}

// receive returns the next chunk, with a reference that is the caller's.
func (m *memory) receive(src *Source) (sgmsg.Element, error) {
	if m.count == 0 {
		return sgmsg.Element{}, fmt.Errorf("receive: none of %d buffers is free: %w", len(m.free), io.ErrShortBuffer)
	}
	e := sgmsg.Element{Buf: m.free[m.head], Len: ChunkSize}
	n, err := src.Read(e.Bytes())
	if err != nil {
		return sgmsg.Element{}, err
	}
	m.head = (m.head + 1) % len(m.free)
	m.count--
	m.pool.Adopt(e.Buf)
	e.Len = uint32(n)
	return e, nil
}

// close gives the memory back. Everything must have been released.
func (m *memory) close() error {
	held := m.pool.Held() + m.private.Held()
	m.pool.Close(nil)
	m.private.Close(nil)
	if held > 0 {
		return fmt.Errorf("close: %d buffers are still held", held)
	}
	return nil
}

// lower is a strparser.Lower as ring.Stream is one: a list of unread chunks. There
// is nobody to be woken and nothing to wait for, so its other half is empty.
type lower struct {
	*memory
	unread sgmsg.Message
	err    error // posted by the parser
}

func (l *lower) Readable() int { return l.unread.Len() }

func (l *lower) Peek() (sgmsg.Element, bool) {
	if l.unread.Used() == 0 {
		return sgmsg.Element{}, false
	}
	return l.unread.Elem(0), true
}

// Full also reports that no buffer is free: then the parser must not wait for more.
func (l *lower) Full() bool { return l.unread.Len() >= ChunkSize || l.count == 0 }

func (l *lower) Consume(n int)                  { l.unread.TrimFront(n) }
func (l *lower) Post(err error)                 { l.err = err }
func (*lower) Want(int)                         {}
func (*lower) Kick()                            {}
func (*lower) StartTimer(time.Duration, uint32) {}
func (*lower) StopTimer()                       {}
