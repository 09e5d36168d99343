package strparser

import (
	"errors"
	"syscall"
)

// ErrDecline is returned by a parse function for a message that is not for the
// parser. It wraps ESTRPIPE where the system has that errno, else EPIPE.
//
// If nothing of the message was taken yet the lower is left exactly at its first
// byte and the parser stops with ESTRPIPE: the owner can read the message and
// then put a new parser on the lower. Else the parser stops with ENODATA.
var ErrDecline error = &declined{}

type declined struct{}

func (*declined) Error() string { return "strparser: message declined" }
func (*declined) Unwrap() error { return errStrPipe }

// AbortError says why a parser ended.
//
//	ESTRPIPE   the parse function declined the message; see ErrDecline
//	ENODATA    it declined after some bytes had been taken
//	EMSGSIZE   the message is longer than the maximum, or its length cannot be
//	           told from as many bytes as a message may have
//	EPROTO     the length ends inside bytes for which more were asked for
//	ETIMEDOUT  the message was not complete in time
//	EPIPE      the stream ended inside a message
//	other      of the parse function, or of the lower
//
// Messages completed before are delivered and stay delivered.
type AbortError struct {
	Errno syscall.Errno
	// Dropped is the number of bytes of the failed message that had been taken
	// from the lower and are lost.
	Dropped int
	// Recoverable says that the lower is positioned at the first byte of the
	// message that was refused (ESTRPIPE, EMSGSIZE) and the stream is intact.
	Recoverable bool
	// Cause is the error of the parse function or of the lower, if it was one.
	Cause error

	text string
}

func (e *AbortError) Error() string {
	if e.text == "" { // made by an upper, for Parser.Abort
		return "strparser: " + e.Errno.Error()
	}
	return "strparser: " + e.text
}

// Unwrap makes errors.Is find the errno and the cause.
func (e *AbortError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Errno}
	}
	return []error{e.Errno, e.Cause}
}

// errnoOf returns the errno inside err, or def.
func errnoOf(err error, def syscall.Errno) syscall.Errno {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	return def
}
