//go:build linux

package mux

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

const benchMessage = 68 // bytes: a header and 64

// handing is a loop's side of the hand-over, without a loop running: chunks are lent
// to pass as a parser would.
type handing struct {
	shard *shard
	chunk sgmsg.Element
	at    uint32
}

// newHanding returns a Mux over n loops that never turn, each with conns connections.
func newHanding(tb testing.TB, n, conns int, o Options) (*Mux, []*handing) {
	for range n {
		l, err := ring.NewWith(ringtest.NewInstant(make([]byte, benchMessage)).Open, ring.Options{})
		if err != nil {
			tb.Fatal(err)
		}
		o.On = append(o.On, l)
	}
	o.Format = strparser.Length32
	m, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		m.Close()
		for _, l := range o.On {
			l.Close()
		}
	})
	var hs []*handing
	for _, sh := range m.shards {
		sh.passing.hooked = true // there is no end of a turn
		for i := range conns {
			if _, err := m.adopt(sh, i+1, 0); err != nil {
				tb.Fatal(err)
			}
		}
		e, err := sh.loop.Alloc(64 * benchMessage)
		if err != nil {
			tb.Fatal(err)
		}
		e.Len = 64 * benchMessage
		hs = append(hs, &handing{shard: sh, chunk: e})
	}
	return m, hs
}

// callback passes batch messages of a connection.
func (h *handing) callback(p *Psock, batch int) {
	var msg sgmsg.Message
	for range batch {
		e := h.chunk
		e.Off, e.Len = e.Off+h.at, benchMessage
		h.at = (h.at + benchMessage) % h.chunk.Len
		msg.Lend(e)
		p.pass(&msg)
		msg.Reset()
	}
}

// handOver returns a function that hands messages from one loop's connections to a
// reader, all on one goroutine, and how many messages that is.
func handOver(tb testing.TB, batch int, o Options) (turn func(), messages int) {
	const conns = 64
	m, hs := newHanding(tb, 1, conns, o)
	s, err := m.Socket()
	if err != nil {
		tb.Fatal(err)
	}
	rd := s.Reader()
	tb.Cleanup(func() { rd.Close() })
	ctx := context.Background()
	h := hs[0]
	turn = func() {
		for _, p := range h.shard.psocks {
			h.callback(p, batch)
		}
		h.shard.handOver()
		for range conns * batch {
			if _, err := rd.Next(ctx); err != nil {
				tb.Fatal(err)
			}
		}
	}
	turn()
	return turn, conns * batch
}

// BenchmarkSteer is the cost of changing hands, per message: from pass to the end of
// its handling, without parser, kernel, reply and change of goroutine. Beside it:
// BenchmarkInlineEcho.
func BenchmarkSteer(b *testing.B) {
	for _, o := range []struct {
		name string
		Options
	}{{"one by one", Options{}}, {"any order", Options{FlowCap: -1}}, {"ordered replies", Options{OrderedReplies: true}}} {
		for _, batch := range []int{1, 4, 16} {
			b.Run(fmt.Sprintf("%s/64Bx%d", o.name, batch), func(b *testing.B) {
				turn, messages := handOver(b, batch, o.Options)
				b.ReportAllocs()
				b.ResetTimer()
				for n := 0; n < b.N; n += messages {
					turn()
				}
			})
		}
	}
}

func TestHandOverAllocatesNothing(t *testing.T) {
	if invariants.Race || invariants.Enabled {
		t.Skip("the checks of this build allocate")
	}
	for _, o := range []Options{{}, {FlowCap: -1}, {OrderedReplies: true}} {
		for _, batch := range []int{1, 16} {
			turn, messages := handOver(t, batch, o)
			for range 10 {
				turn()
			}
			if n := testing.AllocsPerRun(100, turn); n > 0 {
				t.Errorf("handing %d messages over makes %v allocations", messages, n)
			}
		}
	}
}

// BenchmarkCombiner is the cost per message when several loops push, in bursts of 4,
// and one reader takes.
func BenchmarkCombiner(b *testing.B) {
	for _, pushers := range []int{1, 2, 3, 4} {
		b.Run(fmt.Sprint(pushers), func(b *testing.B) {
			const conns, batch = 16, 4
			m, hs := newHanding(b, pushers, conns, Options{QueueBytes: 4 << 20})
			s, err := m.Socket()
			if err != nil {
				b.Fatal(err)
			}
			// The loops are nobody's thread here, so the reader may wait.
			loops := m.loops
			m.loops = nil
			defer func() { m.loops = loops }()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			each := (b.N + pushers*conns*batch - 1) / (pushers * conns * batch)
			for _, h := range hs {
				wg.Go(func() {
					for range each {
						// A loop would park; here is nobody to let it go on.
						for m.steer.shared.charge.Load()+m.steer.behind.Load() > m.steer.limit/2 {
							runtime.Gosched()
						}
						for _, p := range h.shard.psocks {
							h.callback(p, batch)
						}
						h.shard.handOver()
					}
				})
			}
			wg.Go(func() {
				rd := s.Reader()
				defer rd.Close()
				for range each * pushers * conns * batch {
					if _, err := rd.Next(context.Background()); err != nil {
						b.Error(err)
						return
					}
				}
			})
			wg.Wait()
		})
	}
}
