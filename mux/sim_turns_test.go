//go:build linux

package mux

import (
	"errors"
	"syscall"
	"testing"
)

// Whose turn it is with FIFO.

// Callbacks of one message each go round the sockets, whatever connection they are of and
// whether anybody reads.
//
// Proves I11, KC-3.
func TestCallbacksGoRoundTheSockets(t *testing.T) {
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 2, SocketOptions{}, SocketOptions{}, SocketOptions{})
	for i := range 8 {
		w.say(i/3%2, 1)
	}
	w.has([]uint32{0, 3, 6}, []uint32{1, 4, 7}, []uint32{2, 5})
	w.takes(w.socks[0], 0, 3, 6) // an idle socket gets none before its turn
	w.say(0, 1)
	w.has(nil, []uint32{1, 4, 7}, []uint32{2, 5, 8})
	w.open(SocketOptions{}) // a new one comes last
	for range 4 {
		w.say(1, 1)
	}
	w.has([]uint32{9}, []uint32{1, 4, 7, 10}, []uint32{2, 5, 8, 11}, []uint32{12})
}

// Messages of one callback go to one socket; when it refuses one, the rest to the next.
//
// Proves I9.
func TestMessagesOfACallbackStayTogether(t *testing.T) {
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 1,
		SocketOptions{RecvBytes: 3 * tableCharge}, SocketOptions{RecvBytes: 3*tableCharge + 1}, SocketOptions{})
	w.say(0, 2)
	w.has(upTo(0, 2), nil, nil)
	w.say(0, 2)
	w.say(0, 100) // more than one burst
	w.has(upTo(0, 2), upTo(2, 4), upTo(4, 104))
	w.say(0, 9)
	w.has([]uint32{0, 1, 104}, []uint32{2, 3, 105, 106}, append(upTo(4, 104), upTo(107, 113)...))
}

// A socket that was full gets nothing until it is empty: then it comes behind the others.
//
// Proves E30.
func TestFullSocketComesBackWhenItIsEmpty(t *testing.T) {
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 1, SocketOptions{RecvBytes: 2 * tableCharge}, SocketOptions{})
	w.say(0, 3)
	w.has(upTo(0, 2), upTo(2, 3))
	w.takes(w.socks[0], 0)
	w.say(0, 1) // there is room, but it is not empty
	w.say(0, 1)
	w.has(upTo(1, 2), upTo(2, 5))
	w.takes(w.socks[0], 1)
	w.say(0, 1)
	w.say(0, 1)
	w.say(0, 1)
	w.has([]uint32{6}, []uint32{2, 3, 4, 5, 7})
}

// Every socket is full: each connection parks the one message that found no room and is
// paused, and they go on in the order in which that happened. A limit below one message lets
// one into an empty socket.
//
// Proves E31, E43, KC-4.
func TestFullSocketsParkConnections(t *testing.T) {
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 3, SocketOptions{RecvBytes: 1}, SocketOptions{RecvBytes: 1})
	w.say(2, 4)
	w.say(0, 2)
	w.say(1, 2)
	w.has([]uint32{0}, []uint32{1})
	for i, p := range w.psock {
		if p.holds != 1 {
			t.Errorf("connection %d is paused %d times, want once", i, p.holds)
		}
	}
	if n := w.m.Stats().Queued; n != 2+3 {
		t.Errorf("%d messages are queued or parked, want 5", n)
	}
	w.takes(w.socks[1], 1)
	w.has([]uint32{0}, []uint32{2}) // and 3 is parked behind the others
	w.takes(w.socks[0], 0)
	w.has([]uint32{4}, []uint32{2})
	w.takes(w.socks[0], 4)
	w.has([]uint32{6}, []uint32{2})
	w.takes(w.socks[1], 2)
	w.has([]uint32{6}, []uint32{3})
	w.takes(w.socks[0], 6)
	w.takes(w.socks[1], 3)
	w.takes(w.socks[0], 5)
	w.takes(w.socks[1], 7)
	for i, p := range w.psock {
		if p.holds != 0 {
			t.Errorf("connection %d is paused", i)
		}
	}
}

// A message that is too long, or cut off by the end of its stream, ends its connection alone;
// what it had delivered stays, and the socket does not hear of it.
//
// Proves E37, E39.
func TestErrorOfOneConnectionIsItsOwn(t *testing.T) {
	ends := map[int]error{}
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1, OnClose: func(p *Psock, err error) { ends[p.Index()] = err }}, 3, SocketOptions{})
	w.say(0, 1)
	w.say(1, 1)
	w.say(2, 1)
	if _, err := w.peers[0].Write([]byte{0x7f, 0, 0, 0}); err != nil { // longer than any message
		t.Fatal(err)
	}
	if _, err := w.peers[1].Write([]byte{0, 0, 0, 9, 'a'}); err != nil {
		t.Fatal(err)
	}
	if err := w.peers[1].CloseWrite(); err != nil { // inside a message
		t.Fatal(err)
	}
	w.turn()
	w.say(2, 1)
	w.takes(w.socks[0], 0, 1, 2, 3)
	if w.psock[2].dead.Load() {
		t.Error("the other connection has ended too")
	}
	w.peers[0].Close() // else they linger
	w.peers[1].Close()
	w.turn()
	w.turn()
	var e *PsockError
	if !errors.Is(ends[0], syscall.EMSGSIZE) {
		t.Errorf("the first connection ended with %v, want EMSGSIZE", ends[0])
	}
	if !errors.Is(ends[1], syscall.EPIPE) || !errors.As(ends[1], &e) || e.Dropped != 5 {
		t.Errorf("the second connection ended with %v, want EPIPE and 5 bytes dropped", ends[1])
	}
}
