package mux

import (
	"context"
	"fmt"

	"github.com/kcm-go/kcm/sgmsg"
)

// Sending on a socket. A message leaves as a whole on whichever connection is free, of
// those that Attach, AttachFD and Dial made; not those of Serve, which lead to
// different peers. If that connection ends before the kernel has accepted all of the message
// it is sent again from its first byte on another one. So a peer behind several
// connections sees it whole once at most, and perhaps a part of it at the end of a
// connection that died. What the kernel has accepted may be lost with its connection, and
// nobody is told.
//
// A connection whose peer has finished its side takes nothing more from sockets: what is meant
// for that peer alone goes by Received.Reply, or Psock.Send, which it gets before its end.
//
// Messages of one socket begin to leave in their order. There is no order between sockets.

// Send queues msg, header included, as it is to go over the wire, as one message, behind what an earlier More left open, and returns; its
// content moves. It waits while SocketOptions.SendBytes or more are unsent, until ctx ends.
// Once a message is queued nothing but the end of the socket keeps it from being
// sent, and no error of a connection is reported here: see Options.OnClose. An empty
// message is none.
//
// On error msg is still the caller's: ctx.Err; ErrClosed; EMSGSIZE for a message that no
// connection's out queue could hold (Ring.SendHard less SendSoft); ENOTCONN with the
// option Fail; EDEADLK on a loop's thread if it had to wait. Safe for concurrent use; who
// waits is served in order.
func (s *Socket) Send(ctx context.Context, msg *sgmsg.Message) error {
	_, err := s.sendPart(ctx, msg, 0, true)
	return err
}

// TrySend is Send that does not wait: EAGAIN. It may be called anywhere, in handlers too: what
// they pass on of the messages they are lent leaves at the end of the loop's turn, together.
func (s *Socket) TrySend(msg *sgmsg.Message) error {
	_, err := s.sendPart(context.Background(), msg, DontWait, true)
	return err
}

// SendFlags is the kernel's sendmsg, without its copy: msg is a part of a message, which
// the flags may end. With a socket of type Dgram the message ends unless More is set, with Seqpacket
// only if EOR is. Who continues a message does not wait for room. Batch says that another
// message follows at once: this one may wait for it, so that both leave together. The last
// of a batch comes without; until then nothing may leave. DontWait turns waiting into
// EAGAIN. An empty msg can end a message, and a batch. Errors as for Send; EMSGSIZE, which
// is of the whole message so far, drops what was open of it with Dgram and keeps it with Seqpacket.
func (s *Socket) SendFlags(ctx context.Context, msg *sgmsg.Message, f Flags) error {
	_, err := s.sendPart(ctx, msg, f, s.ends(f))
	return err
}

// ends reports whether a part sent with f is the last of its message.
func (s *Socket) ends(f Flags) bool {
	if s.kind == Seqpacket {
		return f&EOR != 0
	}
	return f&More == 0
}

// SendMsg is SendFlags for bytes, header included, which are copied: the kernel's sendmsg. It returns how
// many were taken. When private memory is used up midway (ENOMEM) Dgram drops the message, what
// was open of it too; Seqpacket keeps what was copied, of which n tells, and reports the
// error only if that is nothing.
func (s *Socket) SendMsg(ctx context.Context, p []byte, f Flags) (n int, err error) {
	end := s.ends(f)
	al := s.mux.loops[s.index%len(s.mux.loops)]
	if !end && len(p) <= smallPart {
		return s.join(ctx, al, p, f)
	}
	if err := s.room(ctx, f); err != nil { // before memory is taken
		return 0, err
	}
	var msg sgmsg.Message
	defer msg.Reset()
	for n < len(p) && err == nil {
		part := p[n:min(len(p), n+copyRun)]
		if err = msg.AppendCopy(al, part, min(len(p)-n, copyRun)); err == nil {
			n += len(part)
		}
	}
	switch {
	case err == nil:
	case s.kind == Seqpacket && n > 0:
		end = false
	default:
		if s.kind == Dgram {
			s.dropOpen()
		}
		return 0, fmt.Errorf("send: copied %d of %d bytes: %w", n, len(p), err)
	}
	return s.sendPart(ctx, &msg, f, end)
}

const (
	copyRun   = 64 << 10 // how much SendMsg copies at once
	smallPart = 4 << 10  // up to which a part is copied under the lock, to share memory with others
)

// join is SendMsg of a small part that ends nothing. In memory of its own it would take as
// much as the smallest block, and a message of many such parts many times its length.
func (s *Socket) join(ctx context.Context, al sgmsg.Allocator, p []byte, f Flags) (int, error) {
	tx, o := s.mux.tx, &s.out
	tx.lock()
	defer tx.unlock()
	defer o.rouse(tx)
	err := tx.gate(ctx, s, f)
	if err == nil {
		err = s.bounded(len(p))
	}
	if err != nil || len(p) == 0 {
		return 0, err
	}
	if err := o.join(al, p); err != nil {
		if s.kind == Dgram {
			o.dropOpen()
		}
		return 0, fmt.Errorf("send: copied 0 of %d bytes: %w", len(p), err)
	}
	o.stats.bytes += uint64(len(p))
	return len(p), nil
}

// bounded reports whether the open message may grow by n bytes, under the lock.
func (s *Socket) bounded(n int) error {
	o := &s.out
	if o.open.Len()+n <= s.mux.tx.most {
		return nil
	}
	if s.kind == Dgram {
		o.dropOpen()
	}
	return errOutsized
}

// SendPayload sends a copy of payload, framed by Options.Format, as Send does. Further
// errors: those of [Psock.SendPayload].
func (s *Socket) SendPayload(ctx context.Context, payload []byte) error {
	var msg sgmsg.Message
	if err := s.mux.frame(s.mux.loops[s.index%len(s.mux.loops)], &msg, payload); err != nil {
		return err
	}
	err := s.Send(ctx, &msg)
	if err != nil {
		msg.Release()
	}
	return err
}

// SendAll sends several messages as a batch: together on one connection, as far as the
// room allows. It returns how many were queued; on error the others are the caller's.
func (s *Socket) SendAll(ctx context.Context, msgs ...*sgmsg.Message) (n int, err error) {
	for n < len(msgs) && err == nil {
		f := Batch
		if n == len(msgs)-1 {
			f = 0
		}
		if _, err = s.sendPart(ctx, msgs[n], f, true); err == nil {
			n++
		}
	}
	if err != nil && n > 0 {
		tx := s.mux.tx
		tx.lock()
		tx.flush(s)
		tx.unlock()
	}
	return n, err
}

// sendPart adds msg to the open message, and ends that if it is to be.
func (s *Socket) sendPart(ctx context.Context, msg *sgmsg.Message, f Flags, end bool) (n int, err error) {
	tx, o := s.mux.tx, &s.out
	n = msg.Len()
	sh := s.mux.shardOf(msg.Origin())
	tx.lock()
	defer tx.unlock()
	defer o.rouse(tx)
	if n > 0 || o.refuses {
		if err = tx.gate(ctx, s, f); err != nil {
			return 0, err
		}
	}
	if err = s.bounded(n); err != nil {
		return 0, err
	}
	if n > 0 {
		tx.made.Add(1)
		o.append(msg)
		o.stats.bytes += uint64(n)
	} else {
		msg.Release()
	}
	if !end {
		return n, nil
	}
	o.end()
	switch {
	case f&Batch != 0:
		o.more = true
	case sh != nil:
		tx.startLater(s, sh)
	default:
		o.more = false
		tx.start(s)
	}
	return n, nil
}

// room waits until a message may be begun, or the open one continued.
func (s *Socket) room(ctx context.Context, f Flags) error {
	tx := s.mux.tx
	tx.lock()
	defer tx.unlock()
	defer s.out.rouse(tx)
	return tx.gate(ctx, s, f)
}

// dropOpen gives the open message up.
func (s *Socket) dropOpen() {
	tx := s.mux.tx
	tx.lock()
	s.out.dropOpen()
	s.out.rouse(tx)
	tx.unlock()
}

// Writable returns a channel that has a token when a message may be begun: fewer than
// SocketOptions.SendBytes are unsent, or sending would fail. After a token, send with TrySend or
// DontWait until that says EAGAIN, which arms the channel again. A token is no promise: others may
// be faster. There is one channel for each socket, always the same.
func (s *Socket) Writable() <-chan struct{} {
	tx, o := s.mux.tx, &s.out
	tx.lock()
	defer tx.unlock()
	if o.writable == nil {
		o.writable = make(chan struct{}, 1)
		o.armed = true
		o.rouse(tx)
	}
	return o.writable
}

// CloseWithDrain is Close that first waits until connections have taken every message that is
// queued. Meanwhile no message is accepted: ErrClosed. An open message is discarded. When ctx
// ends before, the rest is discarded as well, and ctx.Err returned. On a loop's
// thread it returns EDEADLK and does nothing.
func (s *Socket) CloseWithDrain(ctx context.Context) error {
	if s.mux.onThread() {
		return fmt.Errorf("close: %w", ErrDeadlock)
	}
	tx := s.mux.tx
	tx.lock()
	done := tx.refuse(s)
	tx.unlock()
	err := ctxUntil(ctx, done)
	if e := s.Close(); err == nil {
		err = e
	}
	return err
}

// ctxUntil waits for done. It returns ctx.Err only if that ended and done has not come by then.
func ctxUntil(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done: // both, of which a select takes any
		return nil
	default:
		return ctx.Err()
	}
}
