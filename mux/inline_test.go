package mux

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// BenchmarkInlineEcho is the cost of one echoed message without the kernel.
func BenchmarkInlineEcho(b *testing.B) {
	for _, batch := range []int{1, 16} {
		b.Run(fmt.Sprintf("64Bx%d", batch), func(b *testing.B) {
			frame := bytes.Repeat(append([]byte{0, 0, 0, 64}, make([]byte, 64)...), batch)
			be := ringtest.NewInstant(frame)
			l, err := ring.NewWith(be.Open, ring.Options{})
			if err != nil {
				b.Fatal(err)
			}
			m, err := New(Options{Format: strparser.Length32, On: []*ring.Loop{l}})
			if err != nil {
				b.Fatal(err)
			}
			m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
				from.Send(msg)
				return Done
			})
			for i := range 64 {
				if _, err := m.adopt(m.shards[0], i+1); err != nil {
					b.Fatal(err)
				}
			}
			for range 10 {
				l.Turn()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += 64 * batch {
				l.Turn()
			}
			b.StopTimer()
			m.Close()
			l.Close()
		})
	}
}
