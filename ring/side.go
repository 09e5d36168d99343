package ring

import (
	"net"

	"github.com/kcm-go/kcm/sgmsg"
)

// side is the part of a stream that most streams do not need: it is made when something
// in it is set for the first time, and stays. Until then the stream has noSide, so that
// reading needs no question. Loop's thread, but for remote.
type side struct {
	links [inDying - ownLinks]streamLink

	body   sgmsg.Element // large-region memory being filled; see body.go
	filled uint32
	least  uint32        // bytes of body that must come before it is of use
	tail   sgmsg.Element // room behind the last body's bytes, in the same buffer
	early  bool          // body was reserved before its message was announced
	window int           // in bulk: how much to read at a time

	timer    Timer // the handler's
	timerGen uint32
	stall    Timer // send timeout, later linger
	waiters  *Waiter
	bounds   bounds

	rerr   error // what ended the receive side
	failed error // what ended the sending; see fail
	fate   error // what others found out that ends the stream
	cause  error
	detach func(fd int, rest *sgmsg.Message, err error)

	remote net.Addr // with peerOther; not changed once that is known
}

// noSide stands for one in which nothing is set. It is never written to.
var noSide side

// ownSide returns the stream's side, for writing.
func (s *Stream) ownSide() *side {
	if s.side == &noSide {
		s.side = new(side)
	}
	return s.side
}

// ends notes why the stream ends.
func (s *Stream) ends(cause error) {
	if cause != nil || s.side.cause != nil {
		s.ownSide().cause = cause
	}
}

// blank reports whether nothing is set, as far as anything would use it.
func (x *side) blank() bool {
	return x.body.Buf == 0 && x.filled == 0 && x.tail.Buf == 0 && !x.timer.Armed() && !x.stall.Armed() &&
		x.waiters == nil && x.bounds.ends == nil && x.rerr == nil && x.failed == nil && x.fate == nil &&
		x.cause == nil && x.detach == nil && x.remote == nil
}
