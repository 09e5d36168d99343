//go:build linux

package mux

import (
	"slices"
	"testing"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Twenty peers send messages as fast as they are taken, which is more than a turn handles
// and more than there are receive buffers. A turn is bounded all the same, each of them gets
// its share, and one that sends a message now and then is served between them.
func TestFloodsShareTheLoop(t *testing.T) {
	for _, size := range []int{0, 1, 100, 3000} {
		s := ringtest.New(uint64(size), ringtest.Calm())
		s.LogOnFailure(t)
		ro := simRing()
		ro.TurnBytes = 8 << 10
		l, err := ring.NewWith(s.Open, ro)
		if err != nil {
			t.Fatal(err)
		}
		m, err := New(Options{Format: strparser.Length32, MaxMessage: 32 << 10, On: []*ring.Loop{l}})
		if err != nil {
			t.Fatal(err)
		}
		handled := map[*Psock]int{}
		total := 0
		m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict {
			handled[p]++
			total += msg.Len()
			return Done
		})
		const floods = 20
		var flood []byte
		for len(flood) < 16<<10 {
			flood = append(flood, simFrame(size)...)
		}
		var flooders []*Psock
		rest := map[*Psock][]byte{}
		var writers []func()
		for range floods {
			p, peer := simPeer(t, s, m)
			flooders = append(flooders, p)
			writers = append(writers, func() {
				if len(rest[p]) == 0 {
					rest[p] = flood
				}
				n, _ := peer.Write(rest[p]) // EAGAIN
				rest[p] = rest[p][n:]
			})
		}
		// A stream's last delivery of a turn may cross the limit, by what buffers hold.
		most := ro.TurnBytes + ro.Buffers*ro.BufferSize + len(simFrame(size))
		full := 0 // turns that were cut
		turn := func() {
			before := total
			l.Turn()
			got := total - before
			if got >= ro.TurnBytes {
				full++
			}
			if got > most {
				t.Fatalf("messages of %d bytes: a turn handled %d bytes, want at most %d", size, got, most)
			}
		}
		honest, peer := simPeer(t, s, m)
		for i := range 50 {
			for range 20 {
				s.Step(append(writers, turn)...)
			}
			if _, err := peer.Write(simFrame(10)); err != nil {
				t.Fatal(err)
			}
			s.Settle()
			// Each flood ahead of it may have its credit, twice: unread, and in the line
			// for buffers.
			limit := 2*floods*ro.Credit/ro.TurnBytes + floods
			turns := 0
			for ; handled[honest] == i && turns < limit; turns++ {
				s.Step(append(writers, turn)...)
			}
			if handled[honest] != i+1 {
				t.Fatalf("messages of %d bytes: message %d of another connection waits for more than %d turns", size, i, limit)
			}
		}
		if full == 0 {
			t.Errorf("messages of %d bytes: no turn had more than it may handle", size)
		}
		var shares []int
		for _, p := range flooders {
			shares = append(shares, handled[p])
		}
		if low, high := slices.Min(shares), slices.Max(shares); low == 0 || high > 2*low+2 {
			t.Errorf("messages of %d bytes: the floods had shares from %d to %d messages", size, low, high)
		}
		m.Close()
		if err := s.Run(func() bool { return m.Psocks() == 0 }, func() { l.Turn() }); err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}
