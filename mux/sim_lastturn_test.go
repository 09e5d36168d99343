//go:build linux

package mux

import (
	"testing"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// What a handler passes on in the last turn of its loop leaves on a connection of another
// loop, and what handlers there pass on after that does too.
func TestForwardInTheLastTurnOfALoop(t *testing.T) {
	s := ringtest.New(1, ringtest.Calm())
	s.LogOnFailure(t)
	var loops []*ring.Loop
	for range 2 {
		l, err := ring.NewWith(s.Open, simRing())
		if err != nil {
			t.Fatal(err)
		}
		loops = append(loops, l)
	}
	m, err := New(Options{Format: strparser.Length32, MaxMessage: 32 << 10, On: loops})
	if err != nil {
		t.Fatal(err)
	}
	sock, err := m.Socket()
	if err != nil {
		t.Fatal(err)
	}
	open := func(sh *shard) (*Psock, *ringtest.Peer) {
		fd, peer := s.Pair()
		p, err := m.adopt(sh, fd, 0)
		if err != nil {
			t.Fatal(err)
		}
		return p, peer
	}
	in, far := open(m.shards[0])
	in.tell(toldLeaving) // sockets send on the other only
	_, out := open(m.shards[1])
	held := false
	m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict {
		if p == in && !held {
			held = true
			p.hold()
			return Done
		}
		if err := sock.TrySend(msg); err != nil {
			t.Error(err)
		}
		return Done
	})
	turn := func() {
		s.Settle()
		for _, l := range loops {
			l.Turn()
		}
	}
	if _, err := far.Write(frames("first", "second")); err != nil {
		t.Fatal(err)
	}
	far.CloseWrite()
	for range 5 {
		turn()
	}
	in.unhold() // the second message is delivered by a task, before the one that ends the loop
	if err := loops[0].Close(); err != nil {
		t.Fatal(err)
	}
	reads := func(want string) {
		t.Helper()
		for range 5 {
			s.Settle()
			loops[1].Turn()
		}
		buf := make([]byte, 100)
		n, _ := out.Read(buf)
		if got := string(buf[:n]); got != want {
			t.Errorf("the peer got %q, want %q", got, want)
		}
	}
	reads(string(frames("second")))
	if _, err := out.Write(frames("third")); err != nil {
		t.Fatal(err)
	}
	reads(string(frames("third")))
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if err := loops[1].Close(); err != nil {
		t.Error(err)
	}
}
