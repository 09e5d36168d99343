package mux

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// Socket is where messages that are passed to the workers are received: the message
// socket of KCM. All sockets of a Mux are equal; Options.Policy says which of them
// gets a message, and any number of goroutines may receive from one.
//
// There are three ways to receive. Recv gives one owned message at a time, for whoever
// keeps it or answers from elsewhere. A [Reader] takes messages in batches, which
// costs a fraction of it; [Mux.Workers] runs readers. RecvMsg copies messages, or parts of
// them, as the kernel does, and does not say where they came from. Who waits for other
// things besides looks at Readable.
//
// Methods are safe for concurrent use.
type Socket struct {
	mux   *Mux
	kind  SocketType
	index int
	limit int64 // FIFO: charge from which it is full
	low   int64 // FIFO: charge below which it takes its turn again after that
	out   outbound

	// RecvMsg: of who has the turn.
	turn  chan struct{}
	part  *Received // the message that is being read or was peeked at
	begun bool      // bytes of it were read

	refused atomic.Bool // somebody who does not wait was sent away because of the turn

	// Under steer.mu.
	own      queue // FIFO; Idle has one queue for all sockets
	state    socketState
	next     *Socket // in waiters
	closed   bool
	disabled bool
	dormant  *Reader       // waiting while the socket is disabled
	readable chan struct{} // Readable's, or nil
	armed    bool          // it is owed a token
	watch    *Socket       // in the queue's watchers
	rx       received
	pool     *Received
	idle     *Reader // of Recv, not in use
}

// Socket opens a socket. It takes messages at once, first of all those that have been
// waiting for one. Error: ErrClosed.
func (m *Mux) Socket() (*Socket, error) { return m.OpenSocket(SocketOptions{}) }

// OpenSocket is Socket with options. Errors: ESOCKTNOSUPPORT for the type, EINVAL for
// another option, ErrClosed.
func (m *Mux) OpenSocket(o SocketOptions) (*Socket, error) { return m.openSocket(o, true) }

// openSocket opens a socket; one that does not receive is given no messages.
func (m *Mux) openSocket(o SocketOptions, receives bool) (*Socket, error) {
	if err := o.fill(&m.opt); err != nil {
		return nil, err
	}
	st := m.steer
	s := &Socket{mux: m, kind: o.Type, limit: int64(o.RecvBytes), low: int64(o.LowWater), disabled: o.RecvDisabled, turn: make(chan struct{}, 1)}
	s.out.limit, s.out.wait = int64(o.SendBytes), o.WaitPsock
	s.own.codel = st.newCodel()
	m.tx.enroll(s)
	if !st.open(s, receives) {
		m.tx.end(s)
		return nil, fmt.Errorf("socket: %w", ErrClosed)
	}
	return s, nil
}

// open makes steer know a new socket. It reports false after the end.
func (st *steer) open(s *Socket, receives bool) bool {
	st.lock()
	defer st.unlock()
	if st.closed {
		return false
	}
	s.index = st.indices.take()
	if !receives {
		return true
	}
	st.sockets = append(st.sockets, s)
	if st.fifo {
		st.readyFIFO(s)
	}
	return true
}

// Clone opens another socket of the same type. It has the options that Mux.Socket gives,
// not those of this one. Error: ErrClosed, also when only this socket is closed.
func (s *Socket) Clone() (*Socket, error) {
	st := s.mux.steer
	st.lock()
	closed := s.closed
	st.unlock()
	if closed {
		return nil, fmt.Errorf("clone: %w", ErrClosed)
	}
	return s.mux.OpenSocket(SocketOptions{Type: s.kind})
}

// Type returns the socket's type.
func (s *Socket) Type() SocketType { return s.kind }

// Index returns the socket's number: the lowest that was free in its Mux when it was
// opened.
func (s *Socket) Index() int { return s.index }

func (s *Socket) queue() *queue {
	if s.mux.steer.fifo {
		return &s.own
	}
	return &s.mux.steer.shared
}

// Close closes the socket. What it has received and queued goes to the other sockets, or
// waits for the next one; messages already received stay their receivers'. Who waits in Recv
// or Next gets ErrClosed, and so does who waits to send. What was sent and has not begun
// to leave is discarded, an open message too; what a connection is being given is finished.
// [Socket.CloseWithDrain] waits for it. Closing twice is legal.
func (s *Socket) Close() error {
	s.mux.tx.end(s)
	st := s.mux.steer
	st.lock()
	if s.closed {
		st.unlock()
		return nil
	}
	s.closed = true
	st.indices.free(s.index)
	for i, x := range st.sockets {
		if x == s {
			st.sockets = append(st.sockets[:i], st.sockets[i+1:]...)
			break
		}
	}
	st.disarm(s)
	gone := s.queue().expel(s)
	for rd := s.dormant; rd != nil; rd = s.dormant {
		s.dormant = rd.next
		rd.state = busy
		rd.next, gone = gone, rd
	}
	if st.fifo && s.state != isBound { // else when its callback ends
		st.waiters.remove(s)
		s.state = out
		st.requeue(s)
	}
	st.unlock()
	for gone != nil {
		rd := gone
		gone, rd.next = rd.next, nil
		rd.wake()
	}
	s.forfeit()
	return nil
}

// errEmpty is what receiving without waiting finds in an empty queue.
var errEmpty = errors.New("no message is waiting")

// Recv returns the next message, waiting for it until ctx ends. The message is the
// caller's, who ends its handling with [Received.Done]. Nothing is allocated in
// steady state.
//
// Errors: ctx.Err; ErrClosed when the socket or the Mux is closed; EDEADLK on a loop's
// thread, where messages could never come.
func (s *Socket) Recv(ctx context.Context) (*Received, error) { return s.recv(ctx, true) }

// recv is Recv that counts the message or does not.
func (s *Socket) recv(ctx context.Context, count bool) (*Received, error) {
	st := s.mux.steer
	st.lock()
	r, err := s.receive(nil)
	if err != errEmpty {
		if count && err == nil {
			s.rx.add(1, r.msg.Len())
		}
		st.unlock()
		return r, err
	}
	rd := s.idle
	if rd != nil {
		s.idle, rd.next = rd.next, nil
	} else {
		rd = newReader(s, false)
	}
	for err == errEmpty {
		st.unlock()
		if s.mux.onThread() {
			err = fmt.Errorf("recv: %w", ErrDeadlock)
			st.lock()
			break
		}
		if err = ctx.Err(); err == nil {
			rd.sleep(ctx)
		}
		st.lock()
		if r, err = s.receive(rd); err == errEmpty && ctx.Err() != nil {
			err = ctx.Err()
		}
	}
	rd.next, s.idle = s.idle, rd
	if count && err == nil {
		s.rx.add(1, r.msg.Len())
	}
	st.unlock()
	return r, err
}

// TryRecv is Recv that does not wait: ok is false when there is no message, or no
// socket any more. It may be called anywhere.
func (s *Socket) TryRecv() (r *Received, ok bool) {
	st := s.mux.steer
	st.lock()
	defer st.unlock()
	r, err := s.receive(nil)
	if err != nil {
		return nil, false
	}
	s.rx.add(1, r.msg.Len())
	return r, true
}

// receive takes one message, under the lock. rd is nil or the reader that was waiting.
func (s *Socket) receive(rd *Reader) (*Received, error) {
	st, q := s.mux.steer, s.queue()
	if rd != nil && rd.state == called {
		rd.state = busy
		q.coming--
	}
	if s.closed || st.closed {
		return nil, ErrClosed
	}
	if s.disabled {
		st.arm(s)
		return nil, errEmpty
	}
	now := st.clock()
	b := st.joinable(q, now)
	i, joined := 0, false
	for b != nil && !joined { // its readers claim without the lock
		if i, joined = b.claim(); !joined {
			b = st.joinable(q, now)
		}
	}
	if !joined {
		if b = st.first(q); b == nil {
			st.arm(s)
			return nil, errEmpty
		}
		i, _ = b.claim()
	}
	r := s.pool
	if r != nil {
		s.pool = r.next
	} else {
		r = &Received{socket: s}
		r.Msg = &r.msg
	}
	b.seek(&b.at, i)
	b.copyTo(&r.msg, b.at, i)
	r.From, r.open, r.next = b.psock, true, nil
	r.number, r.nth = b.first+uint64(i), b.nth+uint64(i)
	r.times = Times{Arrived: b.arrived, Queued: b.queued, Started: now}
	r.late = q.codel.rejects(now - b.arrived)
	st.stats.Received++
	p := b.psock
	if joined {
		r.waited = b.waited
		st.stats.Stolen++
		p.flow.slots++
		return r, nil
	}
	r.waited = now - b.arrived
	st.stats.Delay.record(r.waited, 1)
	if b.rest() == 0 {
		q.remove(b)
		st.discharge(q, b, b.charge, now)
		st.recycle(b)
		return r, nil
	}
	if st.spare(p) > 0 { // the rest may start, with a slot of its own
		p.flow.slots++
		// What a Reader has given back is no longer charged.
		st.discharge(q, b, min(int(b.lens[i])+chargeOverMsg, b.charge), now)
		return r, nil
	}
	q.remove(b)
	st.discharge(q, b, b.charge, now)
	st.shelve(b)
	return r, nil
}

// head returns the burst whose turn it is; remove takes it out.
func (q *queue) head() *burst {
	r, n := q.resumed.head, q.ready.head
	if r != nil && (n == nil || r.seq < n.seq) {
		return r
	}
	return n
}

func (q *queue) remove(b *burst) {
	if q.resumed.head == b {
		q.resumed.pop()
		return
	}
	q.ready.pop()
}
