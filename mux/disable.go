package mux

// A socket that is receive-disabled gets no messages until it is enabled:
//
//   - FIFO: it leaves the sockets that wait, and what it has queued goes to them, or is held;
//     both at the end of the binding if it is bound.
//   - Idle: its readers leave the idle list for the dormant list, so that messages find those
//     of other sockets. With every socket disabled the one queue fills and connections park.
//
// A Reader that has taken several messages gives back those not begun at its next step.
//
// Source: KCM_RECV_DISABLE of the kernel's KCM (net/kcm).

// shut reports whether the socket is to be given no messages. Under steer.mu.
func (s *Socket) shut() bool { return s.closed || s.disabled }

// SetRecvDisabled stops, or starts again, that the socket is given messages. What it has
// queued goes to the other sockets, or is held for the next that can take it; so do messages
// that a Reader has taken and not begun, after the one it is at. While the socket is disabled
// Recv and Next wait and TryRecv finds nothing. Sending is not affected. On a closed socket it
// does nothing.
func (s *Socket) SetRecvDisabled(off bool) {
	st := s.mux.steer
	st.lock()
	defer st.unlock()
	if s.closed || s.disabled == off {
		return
	}
	s.disabled = off
	for _, rd := range *st.readers.Load() {
		switch {
		case rd.socket != s:
		case off:
			rd.halt.Or(haltDisabled)
		default:
			rd.halt.And(^haltDisabled)
		}
	}
	if !off {
		for rd := s.dormant; rd != nil; rd = s.dormant {
			s.dormant, rd.next = rd.next, nil
			s.queue().enlist(rd) // unlock rouses those for whom there is something
		}
		if st.fifo {
			st.readyFIFO(s)
		}
		return
	}
	for rd := s.queue().expel(s); rd != nil; {
		next := rd.next
		s.sleeps(rd)
		rd = next
	}
	if st.fifo && s.state != isBound { // else when its callback ends
		st.waiters.remove(s)
		s.state = out
		st.requeue(s)
	}
}

// RecvDisabled reports whether the socket is disabled.
func (s *Socket) RecvDisabled() bool {
	st := s.mux.steer
	st.lock()
	defer st.unlock()
	return s.disabled
}

// sleeps puts a reader of a disabled socket in its dormant list.
func (s *Socket) sleeps(rd *Reader) {
	rd.state = dormant
	rd.next, s.dormant = s.dormant, rd
}

// enlist puts a reader in the idle list.
func (q *queue) enlist(rd *Reader) {
	rd.state = idle
	rd.next, q.idle = q.idle, rd
	q.idlers++
}

// expel takes the readers of s off the idle list and returns them, linked.
func (q *queue) expel(s *Socket) (gone *Reader) {
	for at := &q.idle; *at != nil; {
		rd := *at
		if rd.socket != s {
			at = &rd.next
			continue
		}
		*at = rd.next
		q.idlers--
		rd.state = busy
		rd.next, gone = gone, rd
	}
	return gone
}
