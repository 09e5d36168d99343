package ring

import (
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// Handler is told what happens on a stream. All methods are called on the
// loop's thread, never concurrently and never from inside a method of Stream.
type Handler interface {
	// Opened: a stream made by Dial is connected. Not called for Attach.
	Opened(s *Stream)
	// DataReady: unread bytes have arrived. Called once per turn however many
	// chunks came. It reports whether the handler holds on to chunks it has
	// consumed, for a message that is not complete.
	DataReady(s *Stream) (holds bool)
	// Evict: receive buffers are short. What the handler holds on to in pool is
	// to be copied out of it (sgmsg.Message.Compact).
	Evict(s *Stream, pool *sgmsg.Arena)
	// StateChange: the receive side has ended, at an orderly end of stream (err
	// nil) or with an error. Called once, after the DataReady for the last
	// bytes. A stream that can no longer send ends by itself afterwards, once all
	// bytes are consumed; else the handler does something about it.
	StateChange(s *Stream, err error)
	// Check: somebody called Kick.
	Check(s *Stream)
	// Expired: the timer of StartTimer has fired.
	Expired(s *Stream, gen uint32)
	// Closed: the stream is gone; its descriptor is closed or given away. cause
	// is what Close was given or the error that ended it. rest holds the bytes
	// that were queued and not accepted by the kernel; it is lent for the call.
	// Always the last call.
	Closed(s *Stream, cause error, rest *sgmsg.Message)
}

// Stream is an endpoint of a byte stream: the "lower" of a parser. It holds the
// unread chunks of the receive side and the out queue of the send side.
//
// Receive side. Chunks arrive in receive buffers and stay unread until
// consumed. When more than the credit is unread the receive stops, so the
// peer's window closes. What is in flight below follows from what is wanted:
//
//	Recv (multishot, pool buffers) <---------------+
//	 | Want(large)                                 | it was a small one
//	 v                                             |
//	cancel -> reserve -> Read body --full--> Read the next message, early
//	                        ^                      |
//	                        +---- Want(the rest) --+
//
// Send side. Queued bytes form one message; each turn starts one vectored send
// of it. A send that cannot proceed waits for write space with nothing in
// flight, so what waits can be copied out of receive buffers when they run
// short. Other goroutines send with Push; see there.
//
// Life. connecting -> open -> (draining ->) closing -> gone. In closing the
// operations in flight are cancelled; when the last has ended, the descriptor is
// closed and the slot starts a new generation.
//
// Methods are for the loop's thread, except Push, PushTicket, Pushed, Crowded, Kick, Loop and
// RemoteAddr.
type Stream struct {
	// What is used for each message comes first.
	loop *Loop
	h    Handler
	id   uint32
	gen  uint32
	fd   int32

	ops      uint16 // operations in flight, a bit per backend.Op; and guest
	ending   uint16 // of which cancelled by us
	member   uint8  // lists the stream is in, a bit per listKind
	state    streamState
	eof      bool // the peer has ended its side
	bounded  bool // KeepBoundaries
	shut     bool // our side is shut down for writing
	shared   bool // Push has left something for the loop
	away     bool // the loop does not hold the door; see push.go
	sealed   bool // the loop holds the door for good
	ticketed bool // a message with a ticket is in the out queue
	rush     bool // DetachNow: what is queued is not waited for
	chunks   bool // the message in progress goes without the large region
	told     bool // StateChange was called
	sending  int32
	want     uint32 // bytes missing of the message in progress, at most; 0: not known
	expect   uint32 // in bulk: length of the last large message; else 0
	side     *side  // what most streams do not need; never nil
	written  uint64 // bytes accepted by the kernel from the out queue

	unread sgmsg.Message
	out    sgmsg.Message
	links  [ownLinks]streamLink

	box  atomic.Pointer[box]  // nil until the first Push or the end
	kick atomic.Pointer[kick] // nil until the first Kick
	peer peer
}

// kick is the task of Kick.
type kick struct {
	task   Task
	posted atomic.Bool
}

type streamState uint8

const (
	connecting streamState = iota
	open_
	draining // sending what is queued, then closing; receives are discarded
	closing
	gone
)

func bit(op backend.Op) uint16 { return 1 << op }

func (s *Stream) key(op backend.Op) backend.Key { return backend.MakeKey(op, s.gen, s.id) }

func (l *Loop) newStream(fd int, h Handler, st streamState) *Stream {
	s := &Stream{loop: l, h: h, fd: int32(fd), state: st, side: &noSide}
	s.id, s.gen = l.enroll(s)
	return s
}

// Attach makes an endpoint of a connected stream socket and takes the
// descriptor over: the loop closes it. On error the descriptor is still the
// caller's. Receiving starts at once.
func (l *Loop) Attach(fd int, h Handler) (*Stream, error) {
	if l.stop {
		return nil, ErrClosed
	}
	if err := l.be.Attach(fd); err != nil {
		return nil, fmt.Errorf("attach: descriptor %d: %w", fd, err)
	}
	_ = l.be.NoDelay(fd) // unix sockets have no such option
	s := l.newStream(fd, h, open_)
	_, remote := l.be.Names(fd)
	s.isOf(remote)
	l.stats.Opened++
	s.steer()
	return s, nil
}

// Loop returns the stream's loop.
func (s *Stream) Loop() *Loop { return s.loop }

// FD returns the descriptor, for socket options. It must not be read, written
// or closed.
func (s *Stream) FD() int { return int(s.fd) }

// LocalAddr returns the stream's own address, or nil when it is closed.
func (s *Stream) LocalAddr() net.Addr {
	if s.state >= closing {
		return nil
	}
	local, _ := s.loop.be.Names(int(s.fd))
	return netAddr(local)
}

// Ended reports whether the receive side has ended: no more bytes will come.
func (s *Stream) Ended() bool { return s.eof || s.side.rerr != nil }

// Readable returns the number of unread bytes.
func (s *Stream) Readable() int { return s.unread.Len() }

// Peek returns the first unread chunk. The stream keeps the reference.
func (s *Stream) Peek() (sgmsg.Element, bool) {
	if s.unread.Used() == 0 {
		return sgmsg.Element{}, false
	}
	return s.unread.Elem(0), true
}

// Consume drops n bytes of the first chunk, and with its last byte the chunk.
func (s *Stream) Consume(n int) { s.unread.TrimFront(n) }

// Want says how many more bytes, the unread ones included, the message in
// progress needs; 0: none or unknown. When many are missing the stream reads
// them into one contiguous buffer.
func (s *Stream) Want(n int) {
	s.want = uint32(min(n, math.MaxInt32))
	if n == 0 {
		s.chunks = false
	}
}

// Full reports that the stream takes no more bytes before some are consumed.
func (s *Stream) Full() bool { return s.unread.Len() >= s.loop.opt.Credit || s.Ended() }

// Alloc implements sgmsg.Allocator with the loop's private memory.
func (s *Stream) Alloc(n int) (sgmsg.Element, error) { return s.loop.Alloc(n) }

// Kick asks for a call of the handler's Check on the loop's thread. Requests
// that come before it collapse into one. Safe for concurrent use.
func (s *Stream) Kick() {
	k := s.kick.Load()
	if k == nil {
		k = new(kick)
		k.task.Run = s.check
		if !s.kick.CompareAndSwap(nil, k) {
			k = s.kick.Load()
		}
	}
	if k.posted.CompareAndSwap(false, true) {
		s.loop.PostTask(&k.task)
	}
}

func (s *Stream) check() {
	s.kick.Load().posted.Store(false)
	if s.state == open_ {
		s.h.Check(s)
		s.steer()
	}
}

// StartTimer arms the stream's timer: Handler.Expired gets gen after d. An armed
// timer is replaced. On a stream that is ending it does nothing.
func (s *Stream) StartTimer(d time.Duration, gen uint32) {
	if s.state >= draining {
		return // Closed is the last call
	}
	x := s.ownSide()
	x.timerGen = gen
	s.loop.StartTimer(&x.timer, d, s)
}

// StopTimer disarms it.
func (s *Stream) StopTimer() { s.loop.StopTimer(&s.side.timer) }

// Expire implements Expirer for the stream's own timers.
func (s *Stream) Expire(t *Timer) {
	switch {
	case t == &s.side.timer:
		s.h.Expired(s, s.side.timerGen)
		s.steer()
	case s.state == draining && s.shut:
		s.end(s.side.cause) // the linger is over
	default:
		s.fail(syscall.ETIMEDOUT)
	}
}

func (s *Stream) complete(ev *backend.Event) {
	op := ev.Key.Op()
	if !ev.More {
		s.ops &^= bit(op)
		s.ending &^= bit(op)
	}
	switch op {
	case backend.OpRecv:
		s.received(ev)
	case backend.OpRead:
		s.read(ev)
	case backend.OpSend:
		s.sent(ev)
	case backend.OpPoll:
		switch {
		case s.state == connecting:
			s.askConnected()
		case s.side.failed == nil:
			s.loop.stuck.remove(s)
			s.wantSend()
		}
	case backend.OpConnect:
		s.connected(ev)
	}
	if s.state == closing && s.ops == 0 {
		s.loop.dying.push(s)
	}
}
