package mux

import (
	"fmt"
	"net"
	"syscall"
)

// ErrClosed is returned by Serve after Shutdown or Close, and by every operation
// on a closed Mux or Psock. It is net.ErrClosed.
var ErrClosed = net.ErrClosed

// ErrDeadlock is EDEADLK: a call that blocks was made on a loop's own thread, in
// a handler for example, where it could never return.
const ErrDeadlock = syscall.EDEADLK

// PsockError says why a connection ended other than in an orderly way. Errno
// of the cause is found by errors.Is:
//
//	EMSGSIZE   the peer announced a message longer than MaxMessage
//	EPROTO     the length of a message cannot be right
//	EPIPE      the peer finished in the middle of a message
//	ETIMEDOUT  a message was not complete in time, the peer took nothing for
//	           Ring.SendTimeout, the handshake took longer than HandshakeTimeout, or
//	           the connection was idle for IdleTimeout
//	ENOBUFS    the peer does not read its replies and the queue is full
//	other      of the connection (ECONNRESET, ECONNREFUSED ...) or the parser
type PsockError struct {
	Index   int   // of the psock
	Cause   error // what ended it
	Dropped int   // received bytes of a message that will never be complete
	Unsent  int   // bytes queued by Send that the kernel did not accept
}

func (e *PsockError) Error() string {
	s := fmt.Sprintf("mux: psock %d: %v", e.Index, e.Cause)
	if e.Dropped > 0 {
		s += fmt.Sprintf("; %d bytes of an incomplete message dropped", e.Dropped)
	}
	if e.Unsent > 0 {
		s += fmt.Sprintf("; %d bytes not sent", e.Unsent)
	}
	return s
}

func (e *PsockError) Unwrap() error { return e.Cause }

// PanicError is the cause of a connection that was ended because the handler
// panicked with a message of it.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v\n%s", e.Value, e.Stack) }

var (
	errCut     error = fmt.Errorf("the connection ended inside a message that was being sent: %w", syscall.EPIPE)
	errTooLong error = fmt.Errorf("send: message longer than MaxMessage: %w", syscall.EMSGSIZE)
)
