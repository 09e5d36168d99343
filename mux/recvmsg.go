package mux

import (
	"context"
	"fmt"
	"syscall"
)

// Receiving into a buffer. Whoever has the socket's turn may touch part, the message that a
// RecvMsg has begun and not finished; Close takes the turn too, or leaves part to who has it:
//
//	                    fits                   first in its flow again
//	queue --> part ----------------> gone    +-------------------------> others
//	           | ^   does not, Dgram         | not read
//	           +-+-------------------------> Close
//	 Seqpacket: the rest stays               | read in part
//	                                         +-------------------------> gone, counted
//
// While it is there the message counts as being handled: its connection hands out no more
// than Options.FlowCap allows.

// received are the counters of what a socket's readers have taken. Under steer.mu.
type received struct{ messages, bytes uint64 }

func (c *received) add(messages, bytes int) {
	c.messages += uint64(messages)
	c.bytes += uint64(bytes)
}

// RecvMsg copies the next message, header included, to p, or of a Seqpacket socket as much of it as there is
// room for, as the kernel's recvmsg does; it waits for a message until ctx ends. n is the
// number of bytes copied. got has EOR with the last bytes of a message, and Trunc, on a Dgram
// socket, if the rest did not fit and is lost. What a Seqpacket socket has left of the message
// comes with the next call.
//
// With DontWait it does not wait. With Peek nothing is consumed or counted and got is 0. Other
// flags have no effect. Without room in p a Dgram socket's message is consumed, a Seqpacket
// socket's is not. Nothing is allocated in steady state.
//
// Calls of one socket are served one after the other. A message that was peeked at or read in
// part stays with the socket and RecvMsg, also when the socket is disabled; Recv and Next give
// what comes behind it. Close drops it if bytes of it were read, else it goes to the others.
//
// Errors: EAGAIN with DontWait when there is no message or another call is waiting; otherwise
// as Recv.
func (s *Socket) RecvMsg(ctx context.Context, p []byte, f Flags) (n int, got Flags, err error) {
	if err := s.takeTurn(ctx, f); err != nil {
		return 0, 0, err
	}
	defer s.passTurn()
	if s.part == nil {
		if s.part, err = s.takePart(ctx, f); err != nil {
			return 0, 0, err
		}
		s.begun = false
	} else if s.gone() {
		return 0, 0, ErrClosed
	}
	r := s.part
	n = r.msg.CopyTo(p, 0)
	if f&Peek != 0 {
		return n, 0, nil
	}
	if n < r.msg.Len() {
		if s.kind == Seqpacket {
			s.begun = s.begun || n > 0
			r.msg.TrimFront(n)
			s.count(0, n)
			return n, 0, nil
		}
		got = Trunc
	}
	s.part = nil
	s.count(1, n)
	r.finish()
	return n, got | EOR, nil
}

func (s *Socket) count(messages, bytes int) {
	st := s.mux.steer
	st.lock()
	s.rx.add(messages, bytes)
	st.unlock()
}

// takeTurn waits until no other call is at work.
func (s *Socket) takeTurn(ctx context.Context, f Flags) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	default:
	}
	if f&DontWait != 0 {
		s.refused.Store(true)
		select {
		case s.turn <- struct{}{}:
			return nil
		default: // passTurn sees that there was somebody
			return syscall.EAGAIN
		}
	}
	if s.mux.onThread() {
		return fmt.Errorf("recvmsg: %w", ErrDeadlock)
	}
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passTurn ends the turn. If the socket was closed meanwhile it is for us to see to part.
func (s *Socket) passTurn() {
	kept := s.part != nil
	<-s.turn
	if kept && s.gone() {
		s.forfeit()
	}
	if s.refused.Load() && s.refused.Swap(false) {
		st := s.mux.steer
		st.lock()
		s.token()
		st.unlock()
	}
}

// takePart takes the next message.
func (s *Socket) takePart(ctx context.Context, f Flags) (*Received, error) {
	if f&DontWait == 0 {
		return s.recv(ctx, false)
	}
	st := s.mux.steer
	st.lock()
	defer st.unlock()
	r, err := s.receive(nil)
	if err == errEmpty {
		err = syscall.EAGAIN
	}
	return r, err
}

// gone reports whether the socket, or the Mux, is closed.
func (s *Socket) gone() bool {
	st := s.mux.steer
	st.lock()
	defer st.unlock()
	return s.closed || st.closed
}

// forfeit gives up the part of a socket that is gone, unless somebody has the turn: then
// passTurn does it.
func (s *Socket) forfeit() {
	select {
	case s.turn <- struct{}{}:
	default:
		return
	}
	r, begun := s.part, s.begun
	s.part = nil
	<-s.turn
	switch st := s.mux.steer; {
	case r == nil:
	case begun:
		st.partsDropped.Add(1)
		r.finish()
	default:
		st.lock()
		st.giveBack(r)
		st.unlock()
	}
}

// giveBack returns a message that receive has taken, with its slot and as it was, to the
// front of its queue or, when its socket is shut, to others.
func (st *steer) giveBack(r *Received) {
	b := &burst{
		psock: r.From, lens: append(make([]uint32, 0, maxBurst), uint32(r.msg.Len())),
		nth: r.nth, first: r.number, arrived: r.times.Arrived, queued: r.times.Queued,
	}
	if st.fifo {
		b.socket = r.socket
	}
	r.msg.MoveTo(&b.msg)
	r.msg.Reset()
	r.open, r.From = false, nil
	st.stats.Received--
	st.stats.Delay.record(r.waited, -1)
	st.putBack(b)
}
