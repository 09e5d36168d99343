//go:build linux

package mux

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// instantConns is the number of connections of instantEcho.
const instantConns = 64

// instantEcho runs an echo without a kernel: in each turn every connection gets
// batch messages of 64 bytes.
func instantEcho(tb testing.TB, batch int) (m *Mux, turn func()) {
	frame := bytes.Repeat(append([]byte{0, 0, 0, 64}, make([]byte, 64)...), batch)
	be := ringtest.NewInstant(frame)
	l, err := ring.NewWith(be.Open, ring.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	m, err = New(Options{Format: strparser.Length32, On: []*ring.Loop{l}})
	if err != nil {
		tb.Fatal(err)
	}
	m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
		from.Send(msg)
		return Done
	})
	for i := range instantConns {
		if _, err := m.adopt(m.shards[0], i+1, 0); err != nil {
			tb.Fatal(err)
		}
	}
	for range 10 {
		l.Turn()
	}
	tb.Cleanup(func() {
		m.Close()
		l.Close()
	})
	return m, func() { l.Turn() }
}

// BenchmarkInlineEcho is the cost of one echoed message without the kernel.
func BenchmarkInlineEcho(b *testing.B) {
	for _, batch := range []int{1, 16} {
		b.Run(fmt.Sprintf("64Bx%d", batch), func(b *testing.B) {
			_, turn := instantEcho(b, batch)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += instantConns * batch {
				turn()
			}
		})
	}
}

func TestInlineEchoAllocatesNothing(t *testing.T) {
	if invariants.Race || invariants.Enabled {
		t.Skip("the checks of this build allocate")
	}
	for _, batch := range []int{1, 16} {
		m, turn := instantEcho(t, batch)
		const runs = 100
		before := m.Stats().TxMessages
		if n := testing.AllocsPerRun(runs, turn); n > 0 {
			t.Errorf("a turn with %d messages makes %v allocations", instantConns*batch, n)
		}
		if n := m.Stats().TxMessages - before; n < runs*instantConns*uint64(batch) {
			t.Errorf("%d messages went through, want at least %d", n, runs*instantConns*batch)
		}
	}
}
