package mux

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/kcm-go/kcm/internal/park"
	"github.com/kcm-go/kcm/sgmsg"
)

// Reader receives messages from a [Socket] in batches, one message at a time:
//
//	rd := s.Reader()
//	defer rd.Close()
//	for {
//		r, err := rd.Next(ctx)
//		if err != nil {
//			return err
//		}
//		r.Reply(r.Msg) // or whatever is to be done
//	}
//
// It takes what one connection delivered at once, with one lock and one reference for
// each chunk, and hands it out without copying. What it has taken and not yet
// handed out stays open to other readers that have nothing to do, unless order forbids
// it (Options.FlowCap). Next ends the handling of the message before.
//
// A Reader belongs to one goroutine. One that stops reading must Close it.
type Reader struct {
	socket *Socket
	parker park.Parker
	next   *Reader // in the idle list, or among those to be woken

	// Under steer.mu.
	state readerState

	halt     atomic.Uint32 // why nothing of burst is begun any more, 0 if it is
	burst    *burst
	at       cursor
	r        Received
	out      outbox        // replies to burst.psock that have not left
	finished int           // messages of burst handled
	bytes    int           // of burst begun
	timed    int           // of which before since
	since    time.Duration // when what is timed next was begun
	eager    bool          // messages take long as a rule: each is timed, and answered at once
	overdue  bool          // the present burst has waited too long
	inner    bool          // its goroutine is ours, and never a loop's
}

const (
	haltStopped  uint32 = 1 << iota // stop or Close was called
	haltDisabled                    // its socket is disabled; set and cleared under steer.mu
)

// stopped reports whether stop or Close was called.
func (rd *Reader) stopped() bool { return rd.halt.Load()&haltStopped != 0 }

type readerState uint8

const (
	busy    readerState = iota
	idle                // in the queue's idle list
	dormant             // in the dormant list of its socket
	called              // taken off it and woken, and has not looked yet
)

// longHandling is the time per message from which messages are answered one by one: then
// a system call for each is little beside it.
const longHandling = 20 * time.Microsecond

// Reader returns a new Reader of the socket.
func (s *Socket) Reader() *Reader {
	rd := newReader(s, false)
	s.mux.steer.enroll(rd)
	return rd
}

func newReader(s *Socket, futex bool) *Reader {
	rd := &Reader{socket: s}
	rd.parker.Init(futex)
	rd.r.reader = rd
	rd.r.Msg = &rd.r.msg
	return rd
}

// Next ends the handling of the present message and returns the next, waiting for it
// until ctx ends. The Received is lent until the next call of Next or Close.
//
// Errors: ctx.Err; ErrClosed when the socket, the Mux or the Reader is closed; EDEADLK
// on a loop's thread when there is nothing to read.
func (rd *Reader) Next(ctx context.Context) (*Received, error) {
	if rd.r.open {
		rd.finish()
	}
	for {
		if b := rd.burst; b != nil && rd.halt.Load() == 0 && !b.full() {
			if i, ok := b.claim(); ok {
				r := rd.begin(b, i)
				if !b.psock.flow.over.Load() {
					return r, nil
				}
				s := rd.socket.mux.steer
				s.drops.Add(1) // behind the last message
				rd.finish()
				continue
			}
		}
		if err := rd.fetch(ctx); err != nil {
			return nil, err
		}
	}
}

// begin makes message i of the burst the present one.
func (rd *Reader) begin(b *burst, i int) *Received {
	b.seek(&rd.at, i)
	rd.bytes += int(b.lens[i])
	r := &rd.r
	b.lend(&r.msg, rd.at, i)
	r.From = b.psock
	r.number = b.first + uint64(i)
	r.open = true
	return r
}

// finish ends the handling of the present message.
func (rd *Reader) finish() {
	rd.r.end()
	rd.finished++
	if rd.eager && rd.burst.rest() > 0 {
		rd.pace(rd.socket.mux.steer.clock())
	}
}

// reply sends a reply to the present message's connection, or keeps it for those to
// other messages of the batch.
func (rd *Reader) reply(msg *sgmsg.Message) {
	p := rd.r.From
	last := rd.eager || rd.burst.rest() == 0 || rd.out.bytes+msg.Len() > p.mux.steer.lingerBytes
	if last && rd.out.since.Load() == 0 || p.mux.opt.OnLost != nil { // who asks what became of each gets them one by one
		p.pushFrom(msg, p)
		return
	}
	rd.out.add(p, msg, rd.since)
	if last {
		rd.out.flush()
	}
}

// fetch ends the present burst and gets another one, waiting for it.
func (rd *Reader) fetch(ctx context.Context) error {
	rd.out.flush()
	s := rd.socket
	st, q := s.mux.steer, s.queue()
	now := st.clock()
	rd.pace(now)
	old, done, finished := rd.burst, false, rd.finished
	var p *Psock
	if old != nil {
		p = old.psock // others may finish it, and it be used again, as soon as we have left it
	}
	bytes := rd.bytes
	rd.burst, rd.finished, rd.bytes, rd.timed = nil, 0, 0, 0
	st.lock()
	if rd.state == called {
		rd.state = busy
		q.coming--
	}
	if old != nil {
		st.stats.Received += uint64(finished)
		s.rx.add(finished, bytes)
		done = st.leave(q, old)
	}
	var b *burst
	var err error
	switch {
	case s.closed, st.closed, rd.stopped():
		err = ErrClosed
	case s.disabled:
	default:
		if b = st.take(q, now); b != nil {
			rd.took(st, b, now)
		}
	}
	st.unlock()
	if old != nil {
		if done {
			st.recycle(old)
		}
		p.settle(finished)
	}
	if b != nil || err != nil {
		return err
	}
	if !rd.inner && s.mux.onThread() {
		return fmt.Errorf("next: %w", ErrDeadlock)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	rd.sleep(ctx)
	return nil
}

// pace learns from how long the messages took that were handled since it was called
// last.
func (rd *Reader) pace(now time.Duration) {
	n := rd.finished - rd.timed
	if n == 0 {
		return
	}
	took := now - rd.since
	rd.since, rd.timed = now, rd.finished
	rd.eager = took > time.Duration(n)*longHandling
	if slow := rd.socket.mux.opt.SlowHandler; slow > 0 && took > slow {
		rd.socket.mux.steer.slow.Add(1)
	}
}

// took notes what the reader has got. Under steer.mu.
func (rd *Reader) took(st *steer, b *burst, now time.Duration) {
	now = max(now, b.queued, b.arrived) // it may have come after we looked at the clock
	rd.burst, rd.at, rd.since = b, cursor{}, now
	delay := now - b.arrived
	rd.overdue = rd.socket.queue().codel.rejects(delay)
	rd.r.times = Times{Arrived: b.arrived, Queued: b.queued, Started: now}
	if b.users == 1 {
		b.waited = delay
		st.stats.Delay.record(delay, b.rest())
	}
}

// enlist puts the reader in the list of those who wait, unless it had better look again first.
// Unlocking rouses it when something came meanwhile, so that nothing is missed.
func (rd *Reader) enlist() bool {
	st, q := rd.socket.mux.steer, rd.socket.queue()
	st.lock()
	defer st.unlock()
	switch s := rd.socket; {
	case rd.stopped() || s.closed || st.closed:
		return false
	case s.disabled:
		s.sleeps(rd)
	case q.head() != nil:
		return false
	default:
		q.enlist(rd)
	}
	return true
}

// sleep waits until there may be something to read, or ctx ends.
func (rd *Reader) sleep(ctx context.Context) {
	if !rd.enlist() {
		return
	}
	done := ctx.Done()
	if done == nil {
		rd.parker.Wait()
		return
	}
	if rd.parker.WaitOr(done) {
		return
	}
	if !rd.delist() { // the wake is on its way
		rd.parker.Wait()
	}
}

// delist takes the reader off that list, if it is there. Any goroutine.
func (rd *Reader) delist() bool {
	st, q := rd.socket.mux.steer, rd.socket.queue()
	st.lock()
	defer st.unlock()
	at := &q.idle
	switch rd.state {
	case idle:
		q.idlers--
	case dormant:
		at = &rd.socket.dormant
	default:
		return false
	}
	rd.state = busy
	for *at != rd {
		at = &(*at).next
	}
	*at, rd.next = rd.next, nil
	return true
}

// wake ends a sleep. The reader has been taken off the idle list.
func (rd *Reader) wake() { rd.parker.Wake() }

// Overdue reports that the message waited so long, in a queue that has been too long
// for a while, that it is better rejected: see Options.DelayTarget.
func (r *Received) Overdue() bool {
	if r.reader != nil {
		return r.reader.overdue
	}
	return r.late
}

// Close ends the Reader: the handling of the present message ends, and messages it
// took and did not hand out go back to the socket's queue. Call it on the Reader's
// goroutine.
func (rd *Reader) Close() error {
	if rd.r.open {
		rd.finish()
	}
	rd.halt.Or(haltStopped)
	err := rd.fetch(context.Background())
	rd.socket.mux.steer.dismiss(rd)
	if err != ErrClosed {
		return err
	}
	return nil
}

// stop makes the Reader's Next return ErrClosed from another goroutine, after the
// present message.
func (rd *Reader) stop() {
	rd.halt.Or(haltStopped)
	if rd.delist() {
		rd.wake()
	}
}
