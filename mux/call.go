package mux

import (
	"context"
	"fmt"
	"syscall"

	"github.com/kcm-go/kcm/sgmsg"
)

// Call is a request and the reply to it. It may be used again once it has ended.
type Call struct {
	// Request is a whole message, header included, as long as that says; Client.Frame makes one. Its number is written over. It is empty
	// again once it is on its way; after an error before that it is still the caller's.
	Request sgmsg.Message
	// Reply is what came back: the caller's, to be released. What is left in it when the
	// Call is used again is released then.
	Reply sgmsg.Message
	// Resend has the request sent again if its connection ends while the reply is
	// outstanding; so a server may see it twice. Otherwise that is a *CallError. A request
	// that no server has seen as a whole is sent again in any case.
	Resend bool
	// Done is called by Go when the call has ended, once, on a loop's thread, perhaps before
	// Go returns: it must not block. Do does not use it.
	Done func(c *Call, err error)
}

// CallError says that the connection ended between a request and its reply. Errno of the
// cause is found by errors.Is; io.EOF when the peer finished in an orderly way, ErrClosed when
// we ended the connection.
type CallError struct {
	Psock int   // index of the connection
	Cause error // what ended it
}

func (e *CallError) Error() string {
	return fmt.Sprintf("mux: call: psock %d ended with the reply outstanding: %v", e.Psock, e.Cause)
}

func (e *CallError) Unwrap() error { return e.Cause }

// Do sends c.Request under a number of its own and waits for the reply. While InFlight
// calls are out, or too much is unsent, it waits for that too, in order of arrival. Safe for
// concurrent use with different calls. Nothing is allocated in steady state.
//
// Errors: ctx.Err, when a server may or may not have seen the request (one that has not left
// yet is withdrawn); *CallError; EINVAL for a request that is not one message or has no room
// for its number; EMSGSIZE for one over Options.MaxMessage; ENOMEM; ErrClosed; ENOTCONN with
// SocketOptions.WaitPsock Fail; EDEADLK on a loop's thread.
func (cl *Client) Do(ctx context.Context, c *Call) error {
	if cl.mux.onThread() {
		return fmt.Errorf("call: %w", ErrDeadlock)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var s *callSlot
	select {
	case i := <-cl.free:
		s = &cl.slots[i]
	default:
		select {
		case i := <-cl.free:
			s = &cl.slots[i]
		case <-ctx.Done():
			return ctx.Err()
		case <-cl.closed:
			return fmt.Errorf("call: %w", ErrClosed)
		}
	}
	var msg sgmsg.Message
	r, socket, err := cl.begin(nil, s, c, &msg)
	if err != nil {
		return err
	}
	if err := socket.sendCall(ctx, &msg, r); err != nil {
		if _, ok := r.end(); !ok { // Close was faster
			s.parker.Wait()
		}
		s.clear()
		r.give(callEnded)
		msg.XferFull(&c.Request)
		return err
	}
	return r.wait(ctx)
}

// Go is Do that does not wait: c.Done is called when the call has ended. It may be called
// anywhere, handlers and Done included. On error Done is not called. Errors: EAGAIN when
// InFlight calls are out or too much is unsent; EINVAL, also without Done; ENOMEM;
// ErrClosed; ENOTCONN; ctx.Err. A context that can end costs an allocation and more.
func (cl *Client) Go(ctx context.Context, c *Call) error {
	if c.Done == nil {
		return fmt.Errorf("call: no Done: %w", syscall.EINVAL)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var s *callSlot
	select {
	case i := <-cl.free:
		s = &cl.slots[i]
	default:
		return errNoSlot
	}
	var msg sgmsg.Message
	r, socket, err := cl.begin(ctx, s, c, &msg)
	if err != nil {
		return err
	}
	if err := socket.sendCall(nil, &msg, r); err != nil {
		if _, ok := r.end(); !ok { // Close was faster, or ctx, and Done has the error
			msg.Release()
			return nil
		}
		s.clear()
		r.give(callEnded)
		msg.XferFull(&c.Request)
		return err
	}
	if ctx.Done() != nil && ctx.Err() != nil { // the watch may have been too early
		cl.cancel(r, ctx.Err())
	}
	return nil
}

var errNoSlot error = fmt.Errorf("call: as many are out as may be: %w", syscall.EAGAIN)
