//go:build linux

package mux

import "testing"

// token takes a token, and checks whether there is one.
func (w *table) token(s *Socket, want bool) {
	w.t.Helper()
	w.check()
	got := false
	select {
	case <-s.Readable():
		got = true
	default:
	}
	if got != want {
		w.t.Errorf("socket %d has a token: %v, want %v", s.Index(), got, want)
	}
}

// A token comes with the first message, once, and again after somebody has found nothing.
func TestReadableIsArmedByFindingNothing(t *testing.T) {
	for _, policy := range []Policy{Idle, FIFO} {
		w := newTable(t, Options{Policy: policy, FlowCap: -1}, 1, SocketOptions{})
		s := w.socks[0]
		w.say(0, 1)
		w.token(s, true) // what came before the channel was made
		w.token(s, false)
		w.say(0, 1) // nobody has looked yet
		w.token(s, false)
		w.takes(s, 0, 1)
		w.token(s, false)
		w.nothing(s)
		w.token(s, false)
		w.say(0, 2)
		w.token(s, true)
		w.takes(s, 2)
		w.say(0, 1)
		w.token(s, false)
		w.takes(s, 3, 4)
		if _, ok := s.TryRecv(); ok {
			t.Error("a message too many")
		}
		w.say(0, 1)
		w.token(s, true)
	}
}

// With FlowCap 1 the second message of a connection may be received when the first is done:
// that is when there is a token.
func TestReadableWaitsForTheFlow(t *testing.T) {
	for _, policy := range []Policy{Idle, FIFO} {
		w := newTable(t, Options{Policy: policy}, 1, SocketOptions{})
		s := w.socks[0]
		w.say(0, 2)
		w.token(s, true)
		r, ok := s.TryRecv()
		if !ok {
			t.Fatal("there is no message")
		}
		w.nothing(s)
		w.token(s, false)
		r.Done()
		w.token(s, true)
		w.takes(s, 1)
	}
}

// A message that may be anybody's is told to all that look, except those that are disabled; to
// these when they are enabled. A reader that waits gets it all the same.
func TestReadableOfSeveralSockets(t *testing.T) {
	w := newTable(t, Options{}, 1, SocketOptions{}, SocketOptions{}, SocketOptions{RecvDisabled: true})
	for _, s := range w.socks {
		w.token(s, false)
	}
	rd := newReader(w.socks[0], false)
	if !rd.enlist() {
		t.Fatal("the reader does not wait")
	}
	w.say(0, 1)
	if rd.state != called {
		t.Error("the reader that waits is not woken")
	}
	w.token(w.socks[0], true)
	w.token(w.socks[1], true)
	w.nothing(w.socks[2]) // and nothing is to be told in a circle
	w.token(w.socks[2], false)
	w.socks[2].SetRecvDisabled(false)
	w.token(w.socks[2], true)
	rd.parker.Wait()
	st := w.m.steer
	st.lock()
	r, err := w.socks[0].receive(rd)
	st.unlock()
	if err != nil {
		t.Fatal(err)
	}
	r.Done()
	w.nothing(w.socks[0])
	w.nothing(w.socks[1])
	w.nothing(w.socks[2])
	w.say(0, 1)
	for _, s := range w.socks {
		w.token(s, true)
	}
	w.takes(w.socks[2], 1)
}

// Who does not wait and finds another call at work is told when that has left something.
func TestReadableAfterSomebodyElsesTurn(t *testing.T) {
	w := newTable(t, Options{FlowCap: -1}, 1, SocketOptions{Type: Seqpacket})
	s := w.socks[0]
	w.say(0, 1)
	w.token(s, true)
	s.turn <- struct{}{} // another call
	w.nothing(s)
	w.token(s, false)
	s.passTurn()
	w.token(s, true)
	w.reads(s, 100, 0, "\x00\x00\x00\x04\x00\x00\x00\x00", EOR)
	w.nothing(s)
	w.token(s, false)
}
