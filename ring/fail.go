package ring

import (
	"github.com/kcm-go/kcm/ring/internal/backend"
)

// A stream that cannot send any more: an error of the socket, too much queued, or a peer
// that takes nothing. What was received is worth no less for that, so both directions are
// shut down, and then the stream
//
//   - sends and takes nothing more, and nobody waits for its out queue;
//   - receives what had come before, which the shutdown puts an end to;
//   - tells StateChange, with the reason, unless the receive side had ended before;
//   - ends, when everything has been told and consumed, or with Close.
//
// Without memory the wait is over: see evict.

// fail ends the sending, for the reason cause.
func (s *Stream) fail(cause error) {
	if s.state != open_ || s.side.detach != nil {
		s.end(cause)
		return
	}
	if s.side.failed != nil {
		return
	}
	l := s.loop
	s.ownSide().failed = cause
	l.dirty.remove(s)
	l.stuck.push(s) // so that its out queue is copied out of receive buffers
	l.StopTimer(&s.side.stall)
	s.seal()
	if s.shared {
		s.tellBehind()
	}
	s.wakeWaiters()
	if s.told && s.unread.Len() == 0 {
		s.end(cause)
	}
}

// Failed returns what ended the sending, nil if nothing has. Loop's thread.
func (s *Stream) Failed() error { return s.side.failed }

// broken is the part of fail that waits for a guest to leave.
func (s *Stream) broken() {
	s.cut()
	s.settleFailed()
}

// settleFailed tells the owner of a ticket, when it is certain what the kernel has accepted.
func (s *Stream) settleFailed() {
	if s.sealed && s.ops&bit(backend.OpSend) == 0 {
		s.settleLast()
	}
}
