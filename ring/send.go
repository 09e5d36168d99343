package ring

import (
	"fmt"
	"syscall"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/uring"
	"github.com/kcm-go/kcm/sgmsg"
)

// Send queues the message; its content moves and m is gone. It never blocks.
// The bytes leave with the next turn, together with everything else queued by
// then. On error m is still the caller's: ErrClosed when the stream no longer
// sends, ENOBUFS when the queue would exceed its hard limit, which ends the
// stream.
func (s *Stream) Send(m *sgmsg.Message) error {
	if s.state > open_ || s.side.failed != nil {
		return ErrClosed
	}
	if s.shared || s.bounded || s.out.Len()+m.Len() > s.loop.opt.SendHard {
		return s.sendMore(m)
	}
	m.MoveTo(&s.out)
	if s.member&(1<<inDirty) == 0 {
		s.wantSend()
	}
	return nil
}

// sendMore is Send on a stream about which there is more to know than its out queue.
func (s *Stream) sendMore(m *sgmsg.Message) error {
	n := s.out.Len() + m.Len()
	owed := s.owed() + m.Len()
	if b := s.box.Load(); b != nil {
		owed += int(b.waiting())
	}
	if owed > s.loop.opt.SendHard {
		s.fail(errTooMuchQueued)
		return errTooMuchQueued
	}
	m.MoveTo(&s.out)
	if s.bounded {
		s.ownSide().bounds.add(s.written+uint64(n), s.written)
	}
	if s.shared {
		s.tellBehind()
	}
	if s.member&(1<<inDirty) == 0 {
		s.wantSend()
	}
	return nil
}

var errTooMuchQueued error = fmt.Errorf("send: the peer does not read and the out queue is at its hard limit: %w", syscall.ENOBUFS)

// Queued returns the bytes in the out queue: not yet accepted by the kernel. Those
// that Pushed counts come on top.
func (s *Stream) Queued() int { return s.out.Len() }

// Written returns the bytes accepted by the kernel since the stream was opened,
// those of direct writes included.
func (s *Stream) Written() uint64 {
	if b := s.box.Load(); b != nil {
		return s.written + b.direct.Load()
	}
	return s.written
}

// Overdrawn reports that the out queue is over its soft limit: whoever fills it
// should wait (Await).
func (s *Stream) Overdrawn() bool { return s.owed() > s.loop.opt.SendSoft && s.side.failed == nil }

// owed is the length of the out queue without a message with a ticket.
func (s *Stream) owed() int {
	n := s.out.Len()
	if s.ticketed {
		n -= s.box.Load().ticket.missing(s.written)
	}
	return n
}

// Waiter is somebody who filled an out queue over its limit and waits for it to
// drain. It is embedded in the producer. Wake is called once, on the thread of
// the stream's loop, when half the limit is free again or the stream has ended.
//
// It is the one credit primitive: an echo waits for its own stream, a proxy for
// another one, possibly of another loop.
type Waiter struct {
	next   *Waiter
	queued bool
	Wake   func()
}

// Await registers w to be woken when the out queue has drained, and reports
// whether it did: false when the queue is within its limit, or w waits already.
func (s *Stream) Await(w *Waiter) bool {
	if w.queued || !s.Overdrawn() || s.state >= closing {
		return false
	}
	w.queued = true
	x := s.ownSide()
	w.next, x.waiters = x.waiters, w
	return true
}

func (s *Stream) wakeWaiters() {
	w := s.side.waiters
	if w == nil {
		return
	}
	s.side.waiters = nil
	for w != nil {
		next := w.next
		w.next, w.queued = nil, false
		w.Wake()
		w = next
	}
}

func (s *Stream) wantSend() {
	const busy = 1<<backend.OpSend | 1<<backend.OpPoll | 1<<backend.OpConnect
	if s.ops&busy == 0 && s.out.Len() > 0 && (s.state == open_ || s.state == draining) && s.side.failed == nil && (!s.away || s.enter()) {
		s.loop.dirty.push(s)
	}
}

// transmit starts one send of what is queued, in one vector.
func (s *Stream) transmit() {
	l := s.loop
	v := l.vector[:0]
	n := 0
	most := backend.MaxVector
	if !l.opt.use.Has(uring.VectoredSend) {
		most = 1
	}
	for i := range min(s.out.Used(), most) {
		e := s.out.Elem(i)
		v = append(v, e)
		n += int(e.Len)
		if n >= maxSendBytes {
			break
		}
	}
	s.sending = int32(n)
	s.ops |= bit(backend.OpSend)
	l.be.Send(s.key(backend.OpSend), int(s.fd), v)
}

// maxSendBytes is enough to fill any socket buffer; more only grows the count
// that must fit an int32.
const maxSendBytes = 4 << 20

func (s *Stream) sent(ev *backend.Event) {
	l := s.loop
	if ev.Res < 0 {
		switch {
		case s.side.failed != nil:
			s.settleFailed()
		case ev.Err() == syscall.EAGAIN:
			s.awaitSpace()
		default:
			s.fail(fmt.Errorf("send: %w", ev.Err()))
		}
		return
	}
	l.stats.BytesOut += uint64(ev.Res)
	s.written += uint64(ev.Res)
	s.out.TrimFront(int(ev.Res))
	if s.shared {
		s.tellBehind()
	}
	if s.state >= closing {
		return
	}
	x := s.side
	if x.failed != nil {
		s.settleFailed()
		return
	}
	if x.stall.Armed() {
		l.StopTimer(&x.stall)
	}
	switch {
	case s.out.Len() == 0:
		if s.shared || s.leaving() {
			s.drained()
		}
	case ev.Res < s.sending: // short: the socket buffer is full
		s.awaitSpace()
	default:
		s.wantSend()
	}
	// Last, because those who are woken send at once.
	if x.waiters != nil && s.owed() <= l.opt.SendSoft/2 {
		s.wakeWaiters()
	}
	if s.ticketed {
		s.settle()
	}
}

func (s *Stream) awaitSpace() {
	if s.state >= closing {
		return
	}
	l := s.loop
	s.ops |= bit(backend.OpPoll)
	l.be.Poll(s.key(backend.OpPoll), int(s.fd))
	l.stuck.push(s)
	if d := l.opt.SendTimeout; d > 0 && !s.side.stall.Armed() { // stuck has made the side
		l.StartTimer(&s.side.stall, d, s)
	}
}

// drained does what waited for an empty out queue.
func (s *Stream) drained() {
	switch {
	case s.leaving():
		switch {
		case !s.sealed: // a guest may be writing: the task goes on
		case s.side.detach != nil:
			s.end(nil)
		case !s.shut:
			s.shutdownWrite()
		}
	case s.shared && !s.away && s.state == open_:
		s.away = true
		s.box.Load().door.Store(doorFree)
	}
}

// evict copies out of receive buffers what waits in them: the queues of
// streams whose peers do not read, and unread bytes of streams that are paused.
// When private memory is used up as well, the stream that has been stuck for
// longest is ended: progress for the others comes before one that makes none.
func (l *Loop) evict() {
	before := l.stats.Evicted
	defer func() { l.tellEvicted(l.stats.Evicted != before) }()
	l.evictPackets()
	for s := l.stuck.head; s != nil; {
		next := l.stuck.link(s).next
		if s.ops&bit(backend.OpSend) == 0 && pins(&s.out, l.mem.recv) {
			if err := s.out.Compact(l.mem.recv, l.mem.spill); err != nil {
				l.sacrifice()
				return
			}
			l.stats.Evicted++
		}
		s = next
	}
	for s := l.held.head; s != nil; s = l.held.link(s).next {
		s.h.Evict(s, l.mem.recv)
		if pins(&s.unread, l.mem.recv) {
			if s.unread.Compact(l.mem.recv, l.mem.spill) != nil {
				return
			}
			l.stats.Evicted++
		}
	}
}

// sacrifice ends the stream that has been stuck for longest, if any. One at a time:
// its memory comes back with its last event.
func (l *Loop) sacrifice() {
	if l.stuck.head != nil && (l.victim == nil || l.victim.state == gone) {
		l.victim = l.stuck.head
		l.victim.tellSacrificed()
		l.victim.end(errNoPrivateMemory)
	}
}

var errNoPrivateMemory error = fmt.Errorf("send: the peer does not read and private memory is used up: %w", syscall.ENOBUFS)

func pins(m *sgmsg.Message, a *sgmsg.Arena) bool {
	for i := range m.Used() {
		if a.Owns(m.Elem(i).Buf) {
			return true
		}
	}
	return false
}
