package ring

import (
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

func (s *Stream) received(ev *backend.Event) {
	l := s.loop
	switch {
	case ev.Res > 0:
		l.stats.BytesIn += uint64(ev.Res)
		if s.state == draining || s.state == closing && s.side.detach == nil {
			ev.Buf.Release()
			break
		}
		s.unread.Append(sgmsg.Element{Buf: ev.Buf, Len: uint32(ev.Res)})
		if s.state == open_ {
			l.ready.push(s)
		}
	case ev.Res == 0:
		s.ended(nil)
	case ev.Err() == syscall.ENOBUFS:
		l.stats.Starved++
	case ev.Err() != syscall.ECANCELED:
		s.ended(ev.Err())
	}
	if !ev.More {
		s.steerLater()
	}
}

// steerLater steers now, or after the delivery that is due in this turn: only
// then is known what is wanted next.
func (s *Stream) steerLater() {
	if s.member&(1<<inReady) == 0 {
		s.steer()
	}
}

// ended notes the end of the receive side.
func (s *Stream) ended(err error) {
	if s.Ended() {
		return
	}
	if s.side.failed != nil {
		err = s.side.failed
	}
	if s.eof = err == nil; !s.eof {
		s.ownSide().rerr = err
	}
	switch s.state {
	case open_:
		s.loop.ready.push(s)
	case draining:
		if err != nil || s.shut {
			s.end(s.side.cause)
		}
	}
}

func (s *Stream) deliver() {
	holds := s.h.DataReady(s)
	if s.Ended() && !s.told && s.state == open_ {
		s.told = true
		s.h.StateChange(s, s.side.rerr)
	}
	if s.state != open_ {
		return
	}
	if holds || s.unread.Len() > 0 {
		s.loop.held.push(s)
	} else {
		s.loop.held.remove(s)
	}
	if s.expect > 0 && s.member&(1<<inDirty) != 0 {
		// In bulk: send before the next read is queued, while the caches still have
		// what was read last.
		s.loop.dirty.remove(s)
		s.transmit()
	}
	s.steer()
}

// steer brings the receive operation in flight in line with what is wanted.
func (s *Stream) steer() {
	if s.state != open_ && s.state != draining {
		return
	}
	if s.side.failed != nil && s.told && s.unread.Len() == 0 {
		s.end(s.side.failed)
		return
	}
	l := s.loop
	const receiving = 1<<backend.OpRecv | 1<<backend.OpRead
	want := s.receiveOp()
	if s.ops&receiving == 0 {
		switch want {
		case backend.OpRecv:
			if l.mem.free == 0 {
				l.mem.hungry.Store(true)
				l.starved.push(s)
				l.tellStarved()
				return
			}
			s.ops |= bit(want)
			l.be.Recv(s.key(want), int(s.fd))
		case backend.OpRead:
			s.ops |= bit(want)
			l.be.Read(s.key(want), int(s.fd), s.side.body.Bytes()[s.side.filled:])
		}
		return
	}
	for _, op := range [...]backend.Op{backend.OpRecv, backend.OpRead} {
		if op != want && s.ops&bit(op) != 0 && s.ending&bit(op) == 0 {
			s.ending |= bit(op)
			l.be.Cancel(s.key(op))
		}
	}
}

// receiveOp returns the operation that should be in flight, reserving memory
// for a large body when nothing else is.
func (s *Stream) receiveOp() backend.Op {
	switch {
	case s.Ended():
		return backend.OpNone
	case s.state == draining:
		return backend.OpRecv
	case s.side.body.Buf != 0:
		if s.want == 0 && !s.side.early { // the message was given up: its bytes go back to unread
			return backend.OpNone
		}
		return backend.OpRead
	case s.unread.Len() > s.loop.opt.Credit:
		return backend.OpNone
	case !s.large() && !s.ahead():
		return backend.OpRecv
	case s.ops&bit(backend.OpRecv) != 0: // let it end first: only then is known what is missing
		return backend.OpNone
	case s.ahead():
		if !s.reserveAhead() {
			return backend.OpRecv
		}
		return backend.OpRead
	case s.grant():
		return backend.OpRead
	case s.loop.mem.free > 0 && !s.loop.mem.low(): // the region is taken: then in chunks, as a small one
		s.loop.reclaim()
		s.chunks = true
		return backend.OpRecv
	}
	s.loop.mem.hungry.Store(true)
	s.loop.queued.push(s)
	return backend.OpNone
}
