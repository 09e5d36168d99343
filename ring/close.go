package ring

import (
	"runtime"
	"syscall"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// Close ends the stream at once: what is queued and not yet accepted by the
// kernel is lost and counted in Handler.Closed, which gets cause. Closing a
// closing stream does nothing.
func (s *Stream) Close(cause error) { s.end(cause) }

// Drain ends the stream after what is queued has been sent: bytes that still
// arrive are discarded, the write side is shut down when the queue is empty,
// and the stream is closed at the peer's end of stream or after Options.Linger.
func (s *Stream) Drain(cause error) {
	if s.state >= draining || s.side.detach != nil { // a detach drains already
		return
	}
	if s.state == connecting {
		s.end(cause)
		return
	}
	l := s.loop
	s.state = draining
	s.ends(cause)
	l.ready.remove(s) // unread chunks stay until the end: a handler may be looking at one
	l.queued.remove(s)
	l.StopTimer(&s.side.timer)
	s.want = 0
	if s.side.rerr != nil || s.side.failed != nil {
		s.end(cause)
		return
	}
	s.steer()
	s.seal() // from now on Push is refused
	s.proceed()
}

// shutdownWrite is the last step of Drain: everything queued has been sent.
func (s *Stream) shutdownWrite() {
	s.shut = true
	if err := s.loop.be.Shutdown(int(s.fd), syscall.SHUT_WR); err != nil || s.eof {
		s.end(s.side.cause)
		return
	}
	s.loop.StartTimer(&s.ownSide().stall, s.loop.opt.Linger, s)
}

// Detach gives the descriptor back once everything queued has been sent. fn is
// called on the loop's thread with the descriptor, in non-blocking mode, and
// the bytes that were received and not consumed, which it may move; or with an
// error if the stream ended first. Handler.Closed is called after fn.
func (s *Stream) Detach(fn func(fd int, rest *sgmsg.Message, err error)) {
	if s.state != open_ || s.side.detach != nil || s.side.failed != nil {
		fn(-1, nil, ErrClosed)
		return
	}
	s.ownSide().detach = fn
	s.seal() // from now on Push is refused
	s.proceed()
}

// DetachNow is Detach that does not wait for what is queued: what the kernel has not
// accepted is in the rest of Handler.Closed, and so its peer may have got a part of a message.
// A stream that Detach was called on is given to the first.
func (s *Stream) DetachNow(fn func(fd int, rest *sgmsg.Message, err error)) {
	if s.state != open_ || s.side.detach != nil || s.side.failed != nil {
		fn(-1, nil, ErrClosed)
		return
	}
	s.ownSide().detach, s.rush = fn, true
	s.end(nil)
}

// end starts the closing: no callback but Closed comes after it, and that comes
// when the last operation in flight has ended.
func (s *Stream) end(cause error) {
	if s.state >= closing {
		return
	}
	l := s.loop
	if s.side.failed != nil {
		cause = s.side.failed
	}
	if s.side.detach != nil && (cause != nil || !s.rush && (!s.sealed || s.out.Len() > 0)) { // ended before it could be given away
		fn := s.side.detach
		s.side.detach = nil
		if cause == nil {
			cause = ErrClosed
		}
		defer fn(-1, nil, cause)
	}
	s.state = closing
	s.ends(cause)
	for _, q := range [...]*streamList{&l.ready, &l.dirty, &l.stuck, &l.starved, &l.queued, &l.held, &l.eager} {
		q.remove(s)
	}
	l.StopTimer(&s.side.timer)
	l.StopTimer(&s.side.stall)
	if s.sealed {
		s.cut()
	} else {
		s.seal()
	}
	for op := backend.OpAccept; op <= backend.OpPoll; op++ {
		if s.ops&bit(op) != 0 && s.ending&bit(op) == 0 {
			s.ending |= bit(op)
			l.be.Cancel(s.key(op))
		}
	}
	if s.ops == 0 {
		l.dying.push(s)
	}
}

// cut ends both directions, unless the descriptor is to be given away. No guest may be
// writing.
func (s *Stream) cut() {
	if s.side.detach == nil {
		_ = s.loop.be.Shutdown(int(s.fd), syscall.SHUT_RDWR) // fails when the peer was faster
	}
}

// bury is the last step: nothing is in flight any more.
func (s *Stream) bury() {
	l := s.loop
	if invariants.Enabled {
		invariants.Check(noSide.blank(), "ring: noSide was written to")
	}
	invariants.Check(s.sealed, "ring: the end of a stream that others may write to")
	s.endBody()
	s.dropTail()
	s.state = gone
	fd := int(s.fd)
	var err error
	switch {
	case s.fd < 0:
		err = l.err
	case s.side.detach == nil:
		_ = l.be.CloseFD(fd)
	default:
		err = l.be.Detach(fd)
	}
	s.fd = -1
	l.dismiss(s.id)
	l.stats.Closed++
	s.wakeWaiters()
	s.settleLast()
	if fn := s.side.detach; fn != nil {
		fn(fd, &s.unread, err)
	}
	s.unread.Reset()
	s.h.Closed(s, s.side.cause, &s.out)
	s.out.Reset()
	if s.shared {
		s.tellBehind() // nobody shall wait for this stream
	}
}

// abandon follows end when the backend has failed and is closed: the operations
// in flight are forgotten.
func (s *Stream) abandon() {
	for !s.seal() { // a guest does not wait for anything
		runtime.Gosched()
	}
	_ = s.loop.be.CloseFD(int(s.fd))
	s.fd = -1
	s.loop.dying.push(s)
}
