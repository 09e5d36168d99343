package ring

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// Sending from any goroutine. The socket's write side belongs to whoever holds the
// stream's door; another goroutine that holds it is a guest.
//
//	             Push, box empty            all accepted
//	       +--> free -----------> guest ----------------> free
//	drained|     |                  | \
//	       |     | bytes to send    |  \ the loop wants it
//	       |     v                  |   v
//	       +--- loop <--------------+-- wanted
//	             what is left goes first
//
// The loop holds the door from the start and gives it free for the first time when
// it has sent what the first Push left to it, so a stream nobody pushes to pays
// nothing. While the loop has it, and while the box holds what others pushed before,
// Push leaves its message in the box and posts the stream's task, which moves the
// box to the out queue.
//
// Invariants:
//
//  1. free -> guest and guest, wanted -> anything happen under the box's mutex; free
//     -> loop and guest -> wanted are done by the loop without it.
//  2. The door is free only while the out queue is empty, or while the loop, with
//     bytes in it, is about to take the door. It is not freed any more when the
//     stream has begun to end.
//  3. What a guest did not get rid of is left in the box when it leaves, and the loop
//     puts it before what it queued itself meanwhile: so a message is contiguous in the
//     stream. What others pushed meanwhile comes behind both: one of them may answer a
//     message that arrived after the one that the loop answered. While there is a guest
//     the loop leaves the box alone.
//  4. The mutex is never held across a system call, and the loop does not wait for it.
const (
	doorLoop uint32 = iota
	doorFree
	doorGuest
	doorWanted
)

// guest stands among Stream.ops for somebody else's Write that may be under way: its
// end is the stream's task, as an operation's is its last event.
const guest = 1 << backend.OpNone

// box is the side of a stream that is turned to other goroutines: the door, and what
// Push left for the loop. The first Push makes it.
type box struct {
	door   atomic.Uint32
	posted atomic.Bool   // task is in the loop's inbox
	bytes  atomic.Int64  // length of left and queue
	behind atomic.Int64  // what a shared stream owes, as the loop last said
	direct atomic.Uint64 // bytes accepted by the kernel in direct writes

	mu     sync.Mutex
	left   sgmsg.Message // of a guest's message
	queue  sgmsg.Message
	ends   []int // lengths of the queue's messages, with Stream.bounded
	closed bool  // takes nothing any more
	fate   error // for the stream to end with
	ticket ticketed

	task   Task
	vector [backend.WriteElements]sgmsg.Element // the guest's
}

// noBox is the box of streams that ended before anybody pushed to them.
var noBox = &box{closed: true}

// openBox returns the stream's box.
func (s *Stream) openBox() *box {
	if b := s.box.Load(); b != nil {
		return b
	}
	b := new(box)
	b.task.Run = s.called
	if !s.box.CompareAndSwap(nil, b) {
		return s.box.Load()
	}
	return b
}

// Push is Send for any goroutine. The message's content moves and m is gone. Push
// never blocks: if nothing waits to be sent it writes to the socket itself, which
// copies the bytes in one system call (64 KiB at a time), else the bytes leave with
// a turn of the loop. Once a stream has been pushed to it stays a little dearer for
// Send.
//
// The bytes of one message are contiguous in the stream. The Pushes of one goroutine
// leave in their order; between Push and Send there is none.
//
// On error m is still the caller's: ErrClosed when the stream is ending (Drain, Detach
// and Close have been called, or it failed), ENOBUFS when more than
// Options.SendHard bytes would wait for the loop, which ends the stream. An error of
// the socket ends the stream, when what was received has been consumed; what was not
// accepted is in the rest of Handler.Closed.
func (s *Stream) Push(m *sgmsg.Message) error {
	_, err := s.push(m, nil)
	return err
}

// push is Push, with a ticket or without. whole: the kernel has accepted all of the
// message.
func (s *Stream) push(m *sgmsg.Message, t *Ticket) (whole bool, err error) {
	b := s.openBox()
	n := m.Len()
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		return false, ErrClosed
	case n == 0:
		b.mu.Unlock()
		m.Release()
		return true, nil
	case t != nil && b.ticket.t.Load() != nil:
		b.mu.Unlock()
		return false, errTicketOut
	case t == nil && int(b.owed())+n > s.loop.opt.SendHard, n > s.loop.opt.SendHard:
		b.closed, b.fate = true, errTooMuchQueued
		b.mu.Unlock()
		s.summon(b)
		return false, errTooMuchQueued
	case b.bytes.Load() == 0 && b.door.CompareAndSwap(doorFree, doorGuest):
		if t != nil {
			b.ticket.take(t, inHand, n, 0)
		}
		b.mu.Unlock()
		return s.visit(b, m, t != nil), nil
	}
	m.MoveTo(&b.queue)
	if t != nil {
		b.ticket.take(t, inQueue, n, b.queue.Len())
	}
	if s.bounded {
		b.ends = append(b.ends, n)
	}
	b.bytes.Add(int64(n))
	leaving := b.door.Load() >= doorGuest // a guest summons the loop when it leaves
	b.mu.Unlock()
	if !leaving {
		s.summon(b)
	}
	return false, nil
}

// Pushed returns the bytes that Push has left for the loop and the loop has not yet
// moved to the out queue. Safe for concurrent use.
func (s *Stream) Pushed() int {
	b := s.box.Load()
	if b == nil {
		return 0
	}
	return int(b.bytes.Load())
}

// Pushing reports whether bytes given to Push may still be on their way to the socket or
// the out queue, so that a Send might overtake them. Loop's thread.
func (s *Stream) Pushing() bool {
	b := s.box.Load()
	return b != nil && (b.bytes.Load() > 0 || b.door.Load() >= doorGuest)
}

// Crowded is Overdrawn for any goroutine: it reports that more than Options.SendSoft
// bytes wait, in what Push left for the loop or, of a stream that Push was used on, in
// the out queue. Safe for concurrent use.
func (s *Stream) Crowded() bool {
	b := s.box.Load()
	return b != nil && b.owed() > int64(s.loop.opt.SendSoft)
}

// owed is the length of the box's queue and the out queue, without a message with a ticket, as
// the loop last said. Without the mutex it may be out of date for an instant.
func (b *box) owed() int64 { return b.waiting() + b.behind.Load() }

// waiting is owed's part of the box.
func (b *box) waiting() int64 { return b.bytes.Load() - b.ticket.boxed.Load() }

// tellBehind makes what is owed known to the others.
func (s *Stream) tellBehind() {
	n := int64(s.owed())
	if s.side.failed != nil { // nobody waits for it
		n = 0
	}
	s.box.Load().behind.Store(n)
}

// visit writes the message as a guest, and leaves. It reports whether the kernel has
// accepted all of it.
func (s *Stream) visit(b *box, m *sgmsg.Message, ticket bool) (whole bool) {
	errno := s.write(b, m)
	b.mu.Lock()
	if errno != 0 && errno != syscall.EAGAIN && errno != syscall.EINTR {
		// The kernel tells this error once, so the loop's Send would not see it.
		b.fate = fmt.Errorf("send: %w", errno)
	}
	n := m.Len()
	if ticket {
		b.ticket.leave(n)
	}
	if n == 0 && b.bytes.Load() == 0 && b.door.CompareAndSwap(doorGuest, doorFree) {
		b.mu.Unlock()
		m.Release()
		return true
	}
	if n > 0 {
		m.MoveTo(&b.left)
		b.bytes.Add(int64(n))
	} else {
		m.Release()
	}
	b.door.Store(doorLoop)
	b.mu.Unlock()
	s.summon(b)
	return n == 0
}

// write writes what it can of the message and takes it off.
func (s *Stream) write(b *box, m *sgmsg.Message) syscall.Errno {
	l := s.loop
	for m.Len() > 0 {
		v := b.vector[:min(m.Used(), backend.WriteElements)]
		asked := 0
		for i := range v {
			v[i] = m.Elem(i)
			asked += int(v[i].Len)
		}
		asked = min(asked, backend.WriteBytes)
		n, errno := l.be.Write(int(s.fd), v)
		l.direct.writes.Add(1)
		if errno != 0 {
			return errno
		}
		l.direct.bytes.Add(uint64(n))
		b.direct.Add(uint64(n))
		m.TrimFront(n)
		if n < asked {
			break
		}
	}
	return 0
}

// summon posts the stream's task unless it is posted.
func (s *Stream) summon(b *box) {
	if b.posted.CompareAndSwap(false, true) {
		s.loop.PostTask(&b.task)
	}
}

// called is the stream's task: something is in the box, a guest has left or the lock
// was taken.
func (s *Stream) called() {
	s.box.Load().posted.Store(false)
	switch {
	case s.state == gone:
		return
	case s.leaving():
		s.seal()
	case !s.gather():
		return
	}
	if s.state < closing {
		switch {
		case s.side.fate != nil:
			s.fail(s.side.fate)
		case s.state < draining && s.owed() > s.loop.opt.SendHard:
			s.fail(errTooMuchQueued)
		}
	}
	s.proceed()
}

// proceed goes on after the door may have come back.
func (s *Stream) proceed() {
	switch {
	case s.state == closing:
		if s.ops == 0 {
			s.loop.dying.push(s)
		}
	case s.side.failed != nil:
	case s.out.Len() == 0:
		s.drained()
	default:
		s.wantSend()
	}
}

// leaving reports whether the stream takes no more from others.
func (s *Stream) leaving() bool {
	x := s.side
	return s.state > open_ || x.detach != nil || x.failed != nil
}

// gather moves the box to the out queue, taking the door for it, unless a guest is
// there. It reports false when somebody held the lock; then the task comes again.
func (s *Stream) gather() bool {
	b := s.box.Load()
	if !b.tryLock() {
		s.summon(b)
		return false
	}
	b.closed = b.closed || s.leaving()
	if b.fate != nil {
		s.ownSide().fate = b.fate
	}
	door := b.door.Load()
	if door >= doorGuest {
		b.mu.Unlock()
		return true
	}
	if b.bytes.Load() > 0 {
		s.shared = true
		s.ticketed = s.ticketed || b.ticket.t.Load() != nil
		if n := b.left.Len(); n > 0 {
			b.ticket.gatherLeft(s.written + uint64(n))
			if s.bounded {
				s.ownSide().bounds.putFront(n, s.written)
			}
			if s.out.Len() > 0 {
				s.out.MoveTo(&b.left)
				s.out.Reset()
			}
			b.left.MoveTo(&s.out)
			b.left.Reset()
		}
		if b.queue.Len() > 0 {
			b.ticket.gatherQueue(s.written + uint64(s.out.Len()))
			if s.bounded {
				s.ownSide().bounds.insert(b.ends, s.written, s.out.Len())
				b.ends = b.ends[:0]
			}
			b.queue.MoveTo(&s.out)
			b.queue.Reset()
		}
		s.tellBehind()
		b.ticket.boxed.Store(0)
		b.bytes.Store(0)
	}
	if s.away { // before the box is seen to be empty
		b.door.Store(doorLoop)
		s.away = false
		s.ops &^= guest
	}
	b.mu.Unlock()
	return true
}

// tryLock takes the lock if it is or becomes free at once: it is never held for
// longer than a few moves take, unless its holder lost the processor.
func (b *box) tryLock() bool {
	for range 16 {
		if b.mu.TryLock() {
			return true
		}
	}
	return false
}

// enter takes the door if it is free. If a guest has it, the guest will hand it over
// and post the task.
func (s *Stream) enter() bool {
	b := s.box.Load()
	for {
		switch d := b.door.Load(); d {
		case doorFree:
			if b.door.CompareAndSwap(d, doorLoop) {
				s.away = false
				return true
			}
		case doorGuest:
			if b.door.CompareAndSwap(d, doorWanted) {
				s.ops |= guest
				return false
			}
		default: // handed over already: the task is on its way
			s.ops |= guest
			return false
		}
	}
}

// seal closes the box of a stream that is leaving, moves what is in it to the out
// queue and takes the door for good. It reports whether that is done; if a guest is
// in the way, or the lock, the task comes back to it.
func (s *Stream) seal() bool {
	if s.sealed {
		return true
	}
	invariants.Check(s.leaving(), "ring: seal of a stream that is not leaving")
	untouched := s.box.Load() == nil && s.box.CompareAndSwap(nil, noBox)
	if !untouched && (!s.gather() || s.away && !s.enter()) {
		s.ops |= guest
		return false
	}
	s.sealed = true
	s.ops &^= guest
	switch {
	case s.state == closing:
		s.cut()
	case s.side.failed != nil && s.state == open_:
		s.broken()
	}
	return true
}
