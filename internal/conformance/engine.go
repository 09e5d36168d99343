package conformance

import "strings"

// Engine carries out actions: on the real AF_KCM, or on something that should do the
// same.
//
// Do carries a out, waits until everything has settled, and returns the outcome, which is
// one line. It cannot fail: an action that makes no sense (an object that is not there) or
// that the engine does not know has an outcome that says so. It is called by one goroutine
// at a time.
//
// Outcomes that engines have in common:
//
//	ok                          done, nothing to tell
//	EAGAIN                      any error, by its name
//	socket 2, conn 1            what open, clone and accept made
//	12                          bytes that send took
//	9 eor trunc msg "hello"     bytes received, flags, Describe; in splice the bytes alone
//	"abc" eof                   read and drain: bytes, then eof or an error; or nothing
//	in out err hup rdhup        poll: those that are set, or nothing
//	none                        error, when there is none
//	waits as 1; waits           a call that waits, the first time and after that
//	blocked                     a write that the peer's window has no room for; it goes on
//	not supported               the engine has nothing like it
//
// Statistics leave out figures that are 0 and those that depend on the memory behind a
// message. tx and rx are messages/bytes, or messages alone with the flag brief: how many bytes
// of a message a lower takes before it blocks is its own affair.
//
//	sockets 2 conns 1 rx 3/27                       mux
//	[0 rx 1/9 queue 2 RxWait] [1 RxWait]            sockets, by index
//	[0 rx 3/27 RxPause RdyRx]                       conns, by index
//	muxes 1 attach 1 tx 4/40                        stats mux
//	rx 3/27 reserved 1 unreserved 1                 stats conns
type Engine interface {
	Do(a *Action) string
}

// Play gives the actions of s to e, one by one, and returns their outcomes. each, if not nil,
// is called after each action.
func Play(e Engine, s *Script, each func(step int, outcome string)) []string {
	var got []string
	for i := range s.Steps {
		out := e.Do(&s.Steps[i].Action)
		if each != nil {
			each(i, out)
		}
		got = append(got, out)
	}
	return got
}

// Join joins the parts of an outcome that are not empty.
func Join(parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, " ")
}
