package mux

// Readiness, for programs that wait for several things in one select. A socket's channel has
// a token, or is armed and gets one as soon as something could be received, or its user has
// taken the token and not yet found nothing:
//
//	        something could start            taken
//	armed ------------------------> token ----------> in use
//	  ^                                                 |
//	  +-------------------------------------------------+
//	             a call finds no message
//
// Sockets that are armed are in the watchers of their queue. They are no readers: what could
// start is told to them, and to the readers that wait as if they were not there.

// Readable returns a channel that has a token when there may be something to receive, or when
// the socket or the Mux is closed: for select. After a token call TryRecv, or RecvMsg with
// DontWait, until it finds nothing, which makes the next token possible. There may be tokens
// for nothing, and several sockets may get one for the same message; a token keeps no message
// from a reader that waits. The channel is always the same and is never closed.
func (s *Socket) Readable() <-chan struct{} {
	st := s.mux.steer
	st.lock()
	defer st.unlock() // tells what is there
	if s.readable == nil {
		s.readable = make(chan struct{}, 1)
		if s.closed || st.closed {
			s.token()
		} else {
			st.arm(s)
		}
	}
	return s.readable
}

// arm notes that a socket whose channel somebody looks at has nothing to receive.
func (st *steer) arm(s *Socket) {
	if s.readable != nil && !s.armed {
		q := s.queue()
		s.armed = true
		s.watch, q.watchers = q.watchers, s
	}
}

// disarm takes a socket that is closed off the watchers, and tells whoever looks.
func (st *steer) disarm(s *Socket) {
	for at := &s.queue().watchers; *at != nil; at = &(*at).watch {
		if *at == s {
			*at, s.watch, s.armed = s.watch, nil, false
			break
		}
	}
	s.token()
}

// tell gives the watchers of a queue in which something could start their tokens. Those whose
// sockets are disabled stay.
func (st *steer) tell(q *queue) {
	if !st.startable(q) {
		return
	}
	for at := &q.watchers; *at != nil; {
		s := *at
		if s.disabled {
			at = &s.watch
			continue
		}
		*at, s.watch, s.armed = s.watch, nil, false
		s.token()
	}
}

// startable reports whether a reader of the queue would find something.
func (st *steer) startable(q *queue) bool {
	if q.head() != nil {
		return true
	}
	for _, b := range q.active {
		if b.rest() > 0 && st.spare(b.psock) > 0 {
			return true
		}
	}
	return false
}

// token puts a token in the socket's channel. Under steer.mu.
func (s *Socket) token() {
	select {
	case s.readable <- struct{}{}:
	default: // it has one, or nobody looks
	}
}
