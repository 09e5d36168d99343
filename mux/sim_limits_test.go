//go:build linux

package mux

import (
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// serves serves a listener of the simulated network, as Serve does.
func serves(t *testing.T, s *ringtest.Sim, m *Mux, name string) {
	t.Helper()
	fd, err := s.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	sv := &server{mux: m, shard: m.shards[0]}
	sv.acc, err = sv.shard.loop.Listen(fd, sv.accepted, func(err error) {
		if err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("listener %s: %v", name, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// served connects to a listener and reports whether the connection was kept.
func (w *lives) served(name string) (*ringtest.Peer, bool) {
	w.t.Helper()
	before := w.m.Stats()
	peer, err := w.s.Dial(name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.quiet()
	after := w.m.Stats()
	opened, refused := after.Opened-before.Opened, after.Refused-before.Refused
	if opened+refused != 1 {
		w.t.Fatalf("%s: %d connections opened and %d refused, want one", name, opened, refused)
	}
	_, err = peer.Read(make([]byte, 1))
	if closed := err == io.EOF; closed != (refused == 1) {
		w.t.Errorf("%s: opened %d, refused %d, and the peer finds %v", name, opened, refused, err)
	}
	return peer, opened == 1
}

// One connection more than allowed is closed at once; when another has ended, by the peer
// or by Detach, the next one is welcome. Connections that Serve has not brought do not
// count.
func TestMaxPsocks(t *testing.T) {
	theLives(t, Options{MaxPsocks: 3}, func(w *lives) {
		w.m.Handle(func(*Psock, *sgmsg.Message) Verdict { return Done })
		w.pair()
		serves(t, w.s, w.m, "10.0.0.1:80")
		serves(t, w.s, w.m, "/run/socket")
		var peers []*ringtest.Peer
		for i, name := range []string{"10.0.0.1:80", "/run/socket", "10.0.0.1:80"} {
			peer, ok := w.served(name)
			if !ok {
				t.Fatalf("connection %d of 3 was refused", i)
			}
			peers = append(peers, peer)
		}
		w.pair()
		for range 2 {
			if _, ok := w.served("10.0.0.1:80"); ok {
				t.Fatal("a 4th connection was accepted")
			}
		}
		i := w.s.Rand().IntN(3)
		switch w.s.Rand().IntN(3) {
		case 0:
			peers[i].Reset()
		case 1:
			peers[i].Close()
		case 2:
			w.m.shards[0].psocks[1+i].Close()
		}
		w.quiet()
		if _, ok := w.served("/run/socket"); !ok {
			t.Fatal("a connection was refused though another had ended")
		}
		if _, ok := w.served("/run/socket"); ok {
			t.Fatal("a 4th connection was accepted")
		}
		if n := w.m.Stats().Refused; n != 3 {
			t.Errorf("Stats.Refused is %d, want 3", n)
		}
	})
}

// Each peer has its own bound. IPv4 written as IPv6 is the same peer; unix peers have
// none.
func TestMaxPsocksPerPeer(t *testing.T) {
	theLives(t, Options{MaxPsocksPerPeer: 2}, func(w *lives) {
		w.m.Handle(func(*Psock, *sgmsg.Message) Verdict { return Done })
		const one, mapped, other, six, local = "10.0.0.1:80", "[::ffff:10.0.0.1]:80", "10.0.0.2:80", "[fd00::1]:80", "/run/socket"
		for _, name := range []string{one, mapped, other, six, local} {
			serves(t, w.s, w.m, name)
		}
		first, ok := w.served(one)
		for _, step := range []struct {
			name string
			want bool
		}{
			{mapped, true}, {one, false}, {mapped, false}, // 10.0.0.1 has two
			{other, true}, {other, true}, {other, false},
			{six, true}, {six, true}, {six, false},
			{local, true}, {local, true}, {local, true},
		} {
			if _, got := w.served(step.name); got != step.want || !ok {
				t.Errorf("a connection from %s: accepted %v, want %v", step.name, got, step.want)
			}
		}
		first.Close()
		w.quiet()
		if _, ok := w.served(mapped); !ok {
			t.Error("10.0.0.1 was refused though a connection of it had ended")
		}
		if _, ok := w.served(one); ok {
			t.Error("10.0.0.1 has three connections")
		}
	})
}

// Connections come and go at random over a hostile network and two loops. There are never
// more than allowed, those of every peer and of all; and in the end none is counted.
func TestGuestsAreCountedOutOnce(t *testing.T) {
	var refused uint64
	ringtest.Seeds(t, *simSeeds/4+1, ringtest.Storm(), func(t *testing.T, s *ringtest.Sim) {
		rng := s.Rand()
		var loops []*ring.Loop
		var turns []func()
		for range 2 {
			l, err := ring.NewWith(s.Open, simRing())
			if err != nil {
				t.Fatal(err)
			}
			loops = append(loops, l)
			turns = append(turns, func() { l.Turn() })
		}
		m, err := New(Options{Format: strparser.Length32, MaxMessage: 32 << 10, On: loops, MaxPsocks: 6, MaxPsocksPerPeer: 4})
		if err != nil {
			t.Fatal(err)
		}
		m.Handle(func(*Psock, *sgmsg.Message) Verdict { return End })
		names := []string{"10.0.0.1:80", "10.0.0.2:80"}
		for _, name := range names {
			serves(t, s, m, name)
		}
		var peers []*ringtest.Peer
		dialled := 0
		var dial func()
		dial = func() {
			peer, err := s.Dial(names[rng.IntN(2)])
			if err != nil {
				t.Fatal(err)
			}
			peers = append(peers, peer)
			if dialled++; dialled < 60 {
				s.After(time.Duration(rng.IntN(2_000))*time.Microsecond, dial)
			}
		}
		dial()
		accepted := func() (n int) {
			for _, l := range loops {
				n += int(l.Stats().Accepted)
			}
			return n
		}
		turns = append(turns, func() {
			if len(peers) > 0 && (dialled == 60 || rng.IntN(8) == 0) {
				peer := peers[0]
				peers = peers[1:]
				switch rng.IntN(3) {
				case 0:
					peer.Reset()
				case 1:
					_, _ = peer.Write([]byte{0, 0, 0, 1, 'x'}) // it may have been refused
					peer.Close()
				default:
					peer.Close()
				}
			}
			g := &m.guests
			sum := 0
			for peer, of := range g.peers {
				n := of.n
				sum += n
				if n < 1 || n > 4 {
					t.Fatalf("%v has %d connections", peer, n)
				}
			}
			if sum != g.n || g.n > 6 || m.open > g.n {
				t.Fatalf("%d connections, %d counted, %d of peers", m.open, g.n, sum)
			}
		})
		if err := s.Run(func() bool { return accepted() == 60 && len(peers)+m.Psocks()+m.guests.n == 0 }, turns...); err != nil {
			t.Fatalf("%v: %d open, %d counted", err, m.Psocks(), m.guests.n)
		}
		if len(m.guests.peers) != 0 {
			t.Errorf("%d peers are kept", len(m.guests.peers))
		}
		st := m.Stats()
		if st.Opened+st.Refused != 60 || st.Opened == 0 {
			t.Errorf("60 accepted, %d opened, %d refused", st.Opened, st.Refused)
		}
		refused += st.Refused
		m.Close()
		for _, l := range loops {
			l.Close()
		}
	})
	if refused == 0 && os.Getenv(ringtest.SeedEnv) == "" {
		t.Error("nobody was refused in any run")
	}
}

func TestLimitsAreChecked(t *testing.T) {
	for _, o := range []Options{{MaxPsocks: -1}, {MaxPsocksPerPeer: -1}} {
		if err := o.checkLimits(); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%d and %d: %v, want EINVAL", o.MaxPsocks, o.MaxPsocksPerPeer, err)
		}
	}
}
