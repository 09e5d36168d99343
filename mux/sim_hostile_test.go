//go:build linux

package mux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// simMux makes a Mux on one simulated loop, and checks at the end that it gave
// everything back.
func simMux(t *testing.T, s *ringtest.Sim, o Options) (*Mux, *ring.Loop) {
	t.Helper()
	l, err := ring.NewWith(s.Open, simRing())
	if err != nil {
		t.Fatal(err)
	}
	o.Format, o.MaxMessage, o.On = strparser.Length32, 32<<10, []*ring.Loop{l}
	m, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if st := l.Stats(); st.BuffersFree != st.Buffers || st.RegionUsed != 0 || st.SpillUsed != 0 || st.Streams != 0 {
			t.Errorf("not everything came back: %+v", st)
		}
	})
	return m, l
}

// simPeer attaches a new connection and returns its far end.
func simPeer(t *testing.T, s *ringtest.Sim, m *Mux) (*Psock, *ringtest.Peer) {
	t.Helper()
	fd, peer := s.Pair()
	p, err := m.adopt(m.shards[0], fd, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p, peer
}

func simFrame(n int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(n)), bytes.Repeat([]byte{7}, n)...)
}

// The handler of one connection closes another one that has news in the same turn,
// and would have been next.
func TestReadyConnectionIsClosedByAnothersHandler(t *testing.T) {
	s := ringtest.New(1, ringtest.Calm())
	s.LogOnFailure(t)
	m, l := simMux(t, s, Options{})
	var peers []*ringtest.Peer
	var psocks []*Psock
	for range 3 {
		p, peer := simPeer(t, s, m)
		psocks, peers = append(psocks, p), append(peers, peer)
	}
	handled := 0
	m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
		handled++
		for _, p := range psocks {
			if p != from {
				p.Close()
			}
		}
		return Done
	})
	l.Turn() // receives are on
	for _, p := range peers {
		if _, err := p.Write(simFrame(10)); err != nil {
			t.Fatal(err)
		}
	}
	s.Settle() // all three have arrived
	if err := s.Run(func() bool { return m.Psocks() == 1 }, func() { l.Turn() }); err != nil {
		t.Fatal(err)
	}
	if handled != 1 {
		t.Errorf("%d messages handled, want the first only", handled)
	}
}

// Idle peers have used up every receive buffer with messages they do not finish. The
// honest message is handled at once, and not when those time out.
func TestPartialMessagesDoNotDelayOthers(t *testing.T) {
	s := ringtest.New(1, ringtest.Calm())
	s.LogOnFailure(t)
	m, l := simMux(t, s, Options{AssemblyTimeout: 30 * time.Second})
	handled := 0
	m.Handle(func(*Psock, *sgmsg.Message) Verdict { handled++; return Done })
	turn := func() { l.Turn() }
	idle := 4 * l.Options().Buffers
	for range idle {
		_, peer := simPeer(t, s, m)
		if _, err := peer.Write(simFrame(1500)[:300]); err != nil { // a third of a buffer
			t.Fatal(err)
		}
	}
	if err := s.Run(func() bool { return l.Stats().BytesIn == uint64(300*idle) }, turn); err != nil {
		t.Fatal(err)
	}
	_, honest := simPeer(t, s, m)
	start := s.Now()
	if _, err := honest.Write(simFrame(10)); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(func() bool { return handled == 1 }, turn); err != nil {
		t.Fatal(err)
	}
	if d := s.Now() - start; d > 10*time.Millisecond {
		t.Errorf("the honest message was handled after %v", d)
	}
}

// Private memory is used up from outside, and bytes that wait must be copied: the
// parser tries again now and then, it does not spin, and goes on when there is
// memory.
func TestAssemblyWithoutMemoryDoesNotSpin(t *testing.T) {
	s := ringtest.New(1, ringtest.Calm())
	s.LogOnFailure(t)
	m, l := simMux(t, s, Options{AssemblyTimeout: -1})
	handled := 0
	m.Handle(func(*Psock, *sgmsg.Message) Verdict { handled++; return Done })
	turn := func() { l.Turn() }
	var taken []sgmsg.Element
	for n := 64 << 10; n >= 512; n /= 2 {
		for e, err := l.Alloc(n); err == nil; e, err = l.Alloc(n) {
			taken = append(taken, e)
		}
	}
	_, peer := simPeer(t, s, m)
	msg := simFrame(1000)
	if _, err := peer.Write(msg[:100]); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(func() bool { return m.Stats().Parser.MemFail > 0 }, turn); err != nil {
		t.Fatal(err)
	}
	start, turns := s.Now(), l.Stats().Turns
	const span = 200 * time.Millisecond
	if err := s.Run(func() bool { return s.Now() >= start+span }, turn); err != nil {
		t.Fatal(err)
	}
	if n := l.Stats().Turns - turns; n > 5*uint64(span/time.Millisecond) {
		t.Errorf("%d turns in %v in which nothing arrived", n, span)
	}
	for _, e := range taken {
		e.Buf.Release()
	}
	if _, err := peer.Write(msg[100:]); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(func() bool { return handled == 1 }, turn); err != nil {
		t.Fatal(err)
	}
}

// A client that waits for each reply before it asks again, with large and small
// requests in turn, over any network: no request is left lying below.
func TestSmallRequestsAfterLargeOnes(t *testing.T) {
	o := ringtest.Storm()
	o.Odds[ringtest.Reset], o.Odds[ringtest.Refuse] = 0, 0
	ringtest.Seeds(t, 50, o, func(t *testing.T, s *ringtest.Sim) {
		m, l := simMux(t, s, Options{AssemblyTimeout: -1})
		defer l.Close()
		defer m.Close()
		m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict { from.Send(msg); return Done })
		_, peer := simPeer(t, s, m)
		left := []int{20 << 10, 10, 20 << 10, 24 << 10, 0, 4 << 10, 1, 30 << 10, 100, 29 << 10, 3 << 10}
		var out, want []byte
		in := make([]byte, 1<<10)
		client := func() {
			if len(out) == 0 && len(want) == 0 && len(left) > 0 {
				out = simFrame(left[0])
				want, left = out, left[1:]
			}
			if len(out) > 0 {
				n, _ := peer.Write(out)
				out = out[n:]
			}
			n, err := peer.Read(in)
			if err == io.EOF || n > len(want) || !bytes.Equal(in[:n], want[:n]) {
				t.Fatalf("read %d bytes of a reply that lacks %d, %v", n, len(want), err)
			}
			want = want[n:]
		}
		if err := s.Run(func() bool { return len(left) == 0 && len(want) == 0 }, func() { l.Turn() }, client); err != nil {
			t.Fatalf("%d requests left, %d bytes of a reply outstanding: %v", len(left), len(want), err)
		}
	})
}

// A connection is in the middle of a message when it is made to wait for another one,
// whose peer reads, but slowly. The time for a message does not count meanwhile: it is we
// who do not take the rest. After that it does.
func TestConnectionMadeToWaitIsNotTooSlow(t *testing.T) {
	for _, o := range []struct {
		held time.Duration
		rest time.Duration // when it is sent
		late bool
	}{
		{held: 2 * time.Second},
		{held: 500 * time.Millisecond, rest: 1400 * time.Millisecond},
		{held: 500 * time.Millisecond, rest: 1600 * time.Millisecond, late: true},
	} {
		s := ringtest.New(1, ringtest.Calm())
		s.LogOnFailure(t)
		var why error
		m, l := simMux(t, s, Options{AssemblyTimeout: time.Second, OnClose: func(p *Psock, err error) { why = err }})
		sock, err := m.Socket()
		if err != nil {
			t.Fatal(err)
		}
		until := func(done func() bool) {
			t.Helper()
			if err := s.Run(done, func() { l.Turn() }); err != nil {
				t.Fatal(err)
			}
		}
		var r *Received
		received := func() (ok bool) { r, ok = sock.TryRecv(); return ok || why != nil }
		from, peer := simPeer(t, s, m)
		to, far := simPeer(t, s, m)
		far.SetReadBuffer(4 << 10)
		msg := simFrame(100)
		if _, err := peer.Write(append(bytes.Clone(msg), msg[:50]...)); err != nil {
			t.Fatal(err)
		}
		until(received)
		for from.holds == 0 {
			var big sgmsg.Message
			if err := m.frame(l, &big, make([]byte, 16<<10)); err != nil {
				t.Fatal(err)
			}
			r.Send(to, &big)
			l.Turn()
			s.Settle()
		}
		r.Done()
		over := false
		s.After(o.rest, func() { peer.Write(msg[50:]) })
		s.After(o.held, func() { over = true })
		until(func() bool { return over })
		buf := make([]byte, 64<<10)
		until(func() bool { far.Read(buf); return from.holds == 0 || why != nil })
		until(received)
		if late := errors.Is(why, syscall.ETIMEDOUT); late != o.late || why != nil && !late {
			t.Fatalf("made to wait for %v, the rest came after %v: %v", o.held, o.rest, why)
		}
		if why == nil {
			r.Done()
		}
	}
}
