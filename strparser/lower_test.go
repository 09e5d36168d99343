//go:build linux

package strparser_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// blockSize is small so that the rule about nearly empty buffers shows with
// short messages.
const blockSize = 256

// lower is a Lower whose bytes come from feed. What the parser asks of it is
// written to log, if there is one.
type lower struct {
	t       testing.TB
	pool    *sgmsg.Arena
	private *sgmsg.Arena
	free    []sgmsg.BufID
	chunks  []sgmsg.Element
	unread  int

	want     int
	full     bool
	capacity int // Full when this much is unread; 0: never
	kicked   bool
	noMemory int // allocations that will fail
	posted   []error
	armed    bool
	gen      uint32
	consumed int
	log      func(format string, args ...any)
}

func newLower(t testing.TB, blocks int) *lower {
	l := &lower{t: t, log: func(string, ...any) {}}
	pool, err := sgmsg.NewPoolArena(make([]byte, blocks*blockSize), blockSize, func(id sgmsg.BufID) {
		l.free = append(l.free, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	l.pool = pool
	l.private = sgmsg.NewHeap(1 << 18)
	for i := range blocks {
		l.free = append(l.free, pool.ID(i))
	}
	return l
}

// chunk puts p into a pool buffer, off bytes from its start.
func (l *lower) chunk(off int, p []byte) sgmsg.Element {
	if len(l.free) == 0 {
		l.t.Fatal("no pool buffer is free")
	}
	id := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	l.pool.Adopt(id)
	e := sgmsg.Element{Buf: id, Off: uint32(off), Len: uint32(len(p))}
	copy(e.Bytes(), p)
	return e
}

func (l *lower) feed(off int, p []byte) {
	l.chunks = append(l.chunks, l.chunk(off, p))
	l.unread += len(p)
}

// close drops what was not read, and checks that every buffer came back.
func (l *lower) close() {
	l.t.Helper()
	for _, e := range l.chunks {
		e.Buf.Release()
	}
	l.chunks, l.unread = nil, 0
	if n, m := l.pool.Held(), l.private.Held(); n+m > 0 {
		l.t.Fatalf("%d pool buffers and %d private ones are still held", n, m)
	}
	l.pool.Close(nil)
	l.private.Close(nil)
}

func (l *lower) Readable() int { return l.unread }

func (l *lower) Peek() (sgmsg.Element, bool) {
	if len(l.chunks) == 0 {
		return sgmsg.Element{}, false
	}
	return l.chunks[0], true
}

func (l *lower) Consume(n int) {
	e := &l.chunks[0]
	if n <= 0 || n > int(e.Len) {
		l.t.Fatalf("Consume(%d) of a chunk of %d", n, e.Len)
	}
	l.unread -= n
	l.consumed += n
	e.Off += uint32(n)
	e.Len -= uint32(n)
	if e.Len == 0 {
		e.Buf.Release()
		l.chunks = l.chunks[1:]
	}
}

func (l *lower) Want(n int) {
	l.want = n
	l.log("want %d", n)
}

func (l *lower) Full() bool { return l.full || l.capacity > 0 && l.unread >= l.capacity }

func (l *lower) Post(err error) {
	l.posted = append(l.posted, err)
	l.log("post %s", describe(err))
}

func (l *lower) Kick() {
	if !l.kicked {
		l.log("kick")
	}
	l.kicked = true
}

func (l *lower) StartTimer(d time.Duration, gen uint32) {
	if l.armed {
		l.t.Error("a second timer was armed")
	}
	l.armed, l.gen = true, gen
	l.log("timer %v", d)
}

func (l *lower) StopTimer() {
	if !l.armed {
		l.t.Error("a timer was disarmed that is not armed")
	}
	l.armed = false
	l.log("timer off")
}

func (l *lower) Alloc(n int) (sgmsg.Element, error) {
	if l.noMemory > 0 {
		l.noMemory--
		return sgmsg.Element{}, syscall.ENOMEM
	}
	return l.private.Alloc(n)
}

// describe prints an AbortError with all its fields.
func describe(err error) string {
	a, ok := err.(*strparser.AbortError)
	if !ok {
		return err.Error()
	}
	s := fmt.Sprintf("%s dropped=%d", errnoName(a.Errno), a.Dropped)
	if a.Recoverable {
		s += " recoverable"
	}
	return s + ": " + a.Error()
}

var errnos = map[string]syscall.Errno{
	"ESTRPIPE": syscall.ESTRPIPE, "ENODATA": syscall.ENODATA, "EMSGSIZE": syscall.EMSGSIZE,
	"EPROTO": syscall.EPROTO, "ETIMEDOUT": syscall.ETIMEDOUT, "EPIPE": syscall.EPIPE,
	"EBADMSG": syscall.EBADMSG, "ENOMEM": syscall.ENOMEM, "ECONNRESET": syscall.ECONNRESET,
	"EINVAL": syscall.EINVAL, "EBUSY": syscall.EBUSY,
}

func errnoName(no syscall.Errno) string {
	for name, e := range errnos {
		if e == no {
			return name
		}
	}
	return no.Error()
}
