//go:build linux

package uring

import (
	"fmt"
	"testing"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// BenchmarkIdlePoll is a Wait with timeout 0 and nothing to do, what a spinning loop
// pays.
func BenchmarkIdlePoll(b *testing.B) {
	mustHave(b)
	r := start(b, 1, 512)
	events := make([]backend.Event, 8)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Wait(events, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTurn is a turn in which every one of n unix streams has received 64 bytes
// and sends 64, to itself by way of the far end. The time is per message.
func BenchmarkTurn(b *testing.B) {
	mustHave(b)
	for _, n := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			r := start(b, 2*n, 512)
			v := elements(b, 1, 64)
			fds := make([]int, n)
			for i := range uint32(n) {
				fd, peer := pair(b)
				fds[i] = fd
				r.Recv(backend.MakeKey(backend.OpRecv, 1, i), peer)
				r.Send(backend.MakeKey(backend.OpSend, 1, i), fd, v)
			}
			events := make([]backend.Event, 4*n)
			back := make([]sgmsg.BufID, 0, n)
			enters := r.stats.Syscalls
			b.ReportAllocs()
			b.ResetTimer()
			for got := 0; got < b.N; {
				k, err := r.Wait(events, -1)
				if err != nil {
					b.Fatal(err)
				}
				for _, e := range events[:k] {
					if e.Key.Op() != backend.OpRecv {
						continue
					}
					got++
					e.Buf.Release()
					back = append(back, e.Buf)
					slot := e.Key.Slot()
					r.Send(backend.MakeKey(backend.OpSend, 1, slot), fds[slot], v)
				}
				r.Provide(back)
				back = back[:0]
			}
			b.ReportMetric(float64(r.stats.Syscalls-enters)/float64(b.N), "syscalls/op")
		})
	}
}
