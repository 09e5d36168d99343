package ring

import (
	"math"
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// The second receive regime: the body of a large message is read straight into one
// contiguous buffer of the large region.
//
// The first large message of a stream is found out by its parser, which then wants
// many bytes; the multishot receive has to be cancelled, which nearly always comes
// too late to be of use for that message. So the stream then stays in bulk: at
// each message boundary it reserves room for at least as much as the last large
// message had and reads ahead into that, header and all. What is missing of a
// message then is read into the room behind, so that it stays in one piece, or into
// a buffer of its own, and whatever follows with it. The window, how much is read
// at a time, grows by a message when a read filled it, and falls back to one when a
// read did not fill a quarter. A short message takes the stream out of bulk.
//
// Memory reserved ahead is not owed to anybody: when a message that has been
// announced waits for memory, it is taken back.

// large reports whether the rest of the message in progress belongs in the
// large region: because there is much of it, because the stream is in bulk, or
// because receive buffers are short and the region is what is left to make
// progress with.
func (s *Stream) large() bool {
	rest := int(s.want) - s.unread.Len()
	if rest <= 0 || s.loop.mem.region == nil {
		return false
	}
	if s.chunks {
		return s.loop.mem.free == 0
	}
	return rest >= s.loop.opt.LargeBytes || s.expect > 0 || s.loop.mem.free == 0
}

// Expect says how long the message being consumed is. With one of at least
// Options.LargeBytes the stream goes into bulk, with a shorter one out of it.
func (s *Stream) Expect(n int) {
	if n >= s.loop.opt.LargeBytes || s.expect != 0 {
		s.expectOther(n)
	}
}

func (s *Stream) expectOther(n int) {
	if n < s.loop.opt.LargeBytes {
		n = 0
		s.dropTail()
	}
	was := s.expect
	s.expect = uint32(min(n, math.MaxInt32))
	if n > 0 {
		x := s.ownSide()
		if was == 0 {
			x.window = 0
		}
		x.window = max(x.window, n)
	}
}

// ahead reports whether the stream is in bulk and at a message boundary.
func (s *Stream) ahead() bool {
	return s.expect > 0 && s.want == 0 && s.unread.Len() == 0
}

// reserveAhead gets memory for a message of the expected length, behind the last
// one if it fits there. Without memory to spare the stream leaves bulk.
func (s *Stream) reserveAhead() bool {
	if !s.useTail(int(s.expect)) {
		e, err := s.loop.mem.reserve(min(s.side.window, s.loop.mem.regionMax))
		if err != nil || s.loop.queued.head != nil {
			if err == nil {
				e.Buf.Release()
			}
			s.expect = 0
			return false
		}
		x := s.ownSide()
		x.body, x.filled = e, 0
	}
	s.side.early, s.side.least = true, 1
	s.loop.eager.push(s)
	return true
}

// useTail makes the body in the room that the last one left if n bytes fit there,
// or gives that room up.
func (s *Stream) useTail(n int) bool {
	x := s.side
	t := x.tail
	if t.Buf == 0 || int(t.Len) < n {
		s.dropTail()
		return false
	}
	x.tail = sgmsg.Element{}
	t.Len = min(t.Len, uint32(max(n, x.window)))
	x.body, x.filled = t, 0
	return true
}

// dropTail gives up the room that the last body left.
func (s *Stream) dropTail() {
	if x := s.side; x.tail.Buf != 0 {
		x.tail.Buf.Release()
		x.tail = sgmsg.Element{}
	}
}

// reclaim takes back what was reserved ahead, for those who know what they need.
func (l *Loop) reclaim() {
	for s := l.eager.pop(); s != nil; s = l.eager.pop() {
		s.expect = 0
		s.dropTail()
		if s.side.early && s.ops&bit(backend.OpRead) != 0 && s.ending&bit(backend.OpRead) == 0 {
			s.ending |= bit(backend.OpRead)
			l.be.Cancel(s.key(backend.OpRead))
		}
	}
}

// grant reserves the body; true also when it turned out not to be needed.
func (s *Stream) grant() bool {
	const receiving = 1<<backend.OpRecv | 1<<backend.OpRead
	if s.state != open_ || s.side.body.Buf != 0 || s.ops&receiving != 0 || !s.large() {
		return true
	}
	rest := int(s.want) - s.unread.Len()
	if !s.useTail(rest) {
		n := rest
		if s.expect > 0 {
			n = max(n, s.side.window)
		}
		e, err := s.loop.mem.reserve(min(n, s.loop.mem.regionMax))
		if err != nil {
			return false
		}
		x := s.ownSide()
		x.body, x.filled = e, 0
	}
	s.side.early, s.side.least = false, min(uint32(rest), s.side.body.Len)
	s.loop.stats.Large++
	return true
}

func (s *Stream) read(ev *backend.Event) {
	if ev.Res > 0 {
		s.loop.stats.BytesIn += uint64(ev.Res)
		s.side.filled += uint32(ev.Res)
	}
	over := s.side.filled >= s.side.least || s.want == 0
	if over && s.expect > 0 {
		s.resize()
	}
	if over || ev.Res <= 0 || s.state != open_ {
		s.endBody()
	}
	switch {
	case ev.Res == 0:
		s.ended(nil)
	case ev.Res < 0 && ev.Err() != syscall.ECANCELED:
		s.ended(ev.Err())
	}
	s.steerLater()
}

// resize adapts the window to what the last read brought.
func (s *Stream) resize() {
	switch x, n := s.side, int(s.expect); {
	case x.filled == x.body.Len && x.window+n <= maxWindow:
		x.window += n
	case x.filled <= x.body.Len/4:
		x.window = n
	}
}

// maxWindow bounds what a stream in bulk reads at a time beyond one message.
const maxWindow = 256 << 10

// endBody turns what was read of a body into an unread chunk.
func (s *Stream) endBody() {
	x := s.side
	if x.body.Buf == 0 {
		return
	}
	e := x.body
	e.Len = x.filled
	x.body, x.filled, x.early = sgmsg.Element{}, 0, false
	s.loop.eager.remove(s)
	if room := e.Buf.Cap() - int(e.Off+e.Len); s.state == open_ && s.expect > 0 && e.Len > 0 && room > 0 {
		e.Buf.Retain()
		x.tail = sgmsg.Element{Buf: e.Buf, Off: e.Off + e.Len, Len: uint32(room)}
		s.loop.eager.push(s)
	}
	if s.state == open_ || s.state == closing && x.detach != nil {
		s.unread.Append(e) // an empty one is released
		if s.state == open_ {
			s.loop.ready.push(s)
		}
		return
	}
	e.Buf.Release()
}
