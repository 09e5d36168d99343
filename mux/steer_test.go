//go:build linux

package mux

import (
	"context"
	"testing"

	"github.com/kcm-go/kcm/ring/ringtest"
)

// A Reader has taken three messages of a connection that may be handled in parallel,
// and is at the first: who waits in Recv gets the others.
func TestRecvJoinsTheBatchOfAReader(t *testing.T) {
	s := ringtest.New(1, ringtest.Calm())
	s.LogOnFailure(t)
	m, l := simMux(t, s, Options{FlowCap: -1})
	_, peer := simPeer(t, s, m)
	sock, err := m.Socket()
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	for n := range 3 {
		if _, err := peer.Write(simMessage(0, n)); err != nil {
			t.Fatal(err)
		}
	}
	s.Settle()
	if err := s.Run(func() bool { return m.Stats().Queued == 3 }, func() { l.Turn() }); err != nil {
		t.Fatal(err)
	}
	rd := sock.Reader()
	defer rd.Close()
	if _, err := rd.Next(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r, ok := sock.TryRecv()
		if !ok {
			t.Fatal("the messages that the Reader has not started are kept back")
		}
		r.Done()
	}
	if r, ok := sock.TryRecv(); ok {
		t.Errorf("a message too many: %v", r.Msg)
	}
}

// pressed is a Mux with a full queue, and a reader of it.
func pressed(t *testing.T, s *ringtest.Sim, conns int, o Options) (m *Mux, turn func(), send func(conn int), recv func() int) {
	t.Helper()
	m, l := simMux(t, s, o)
	sock, err := m.Socket()
	if err != nil {
		t.Fatal(err)
	}
	var peers []*ringtest.Peer
	for i := range conns {
		p, peer := simPeer(t, s, m)
		p.SetValue(i)
		peers = append(peers, peer)
	}
	turn = func() {
		s.Settle()
		for range 3 { // a task, the message it leads to, and what follows
			l.Turn()
		}
	}
	send = func(conn int) {
		if _, err := peers[conn].Write(simFrame(100)); err != nil {
			t.Fatal(err)
		}
		turn()
	}
	recv = func() int {
		r, ok := sock.TryRecv()
		if !ok {
			t.Fatal("there is no message")
		}
		conn := r.From.Value().(int)
		r.Done()
		turn()
		return conn
	}
	return m, turn, send, recv
}

const frameCharge = 4 + 100 + chargeOverMsg // of simFrame(100)

// A connection is parked, and others never leave enough room for it: it is not
// overtaken for ever.
func TestParkedConnectionIsNotOvertakenForEver(t *testing.T) {
	s := ringtest.New(1, ringtest.Calm())
	s.LogOnFailure(t)
	const n = 16
	_, _, send, recv := pressed(t, s, n+1, Options{QueueBytes: n*frameCharge - 1})
	for i := range n + 1 {
		send(i) // the last is parked
	}
	for range 3 * n {
		conn := recv()
		if conn == n {
			return
		}
		send(conn)
	}
	t.Error("the parked connection waits and waits")
}

// Parked connections go on in the order in which they were parked. A message counts its
// length and a fixed sum, so that just so many find room.
//
// Proves C13.
func TestParkedConnectionsGoOnInOrder(t *testing.T) {
	for _, policy := range []Policy{Idle, FIFO} {
		t.Run(policy.String(), func(t *testing.T) {
			s := ringtest.New(1, ringtest.Calm())
			s.LogOnFailure(t)
			const room, n = 4, 20
			m, _, send, recv := pressed(t, s, n, Options{Policy: policy, QueueBytes: room*frameCharge - 1})
			for i := range n {
				send(i)
			}
			if parks := m.Stats().Parks; parks != n-room {
				t.Errorf("%d connections are parked, want %d", parks, n-room)
			}
			for i := range n {
				if conn := recv(); conn != i {
					t.Fatalf("a message of connection %d, want %d", conn, i)
				}
			}
		})
	}
}
