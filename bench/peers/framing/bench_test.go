package framing

import (
	"fmt"
	"testing"
)

// Messages of 64 and of 1024 bytes, one after the other out of chunks of 64 KiB: an
// operation is a message.
func BenchmarkFraming(b *testing.B) {
	for _, size := range []int{64, 1024} {
		for _, set := range []Set{Read, InPlace} {
			for _, c := range Contestants() {
				if !c.Runs(set) {
					continue
				}
				b.Run(fmt.Sprintf("%d/%s/%s", size, set, c.Name), func(b *testing.B) { benchmark(b, c, size, set) })
			}
		}
	}
}

func benchmark(b *testing.B, c Contestant, size int, set Set) {
	t, err := Open(c, size, set)
	if err != nil {
		b.Fatal(err)
	}
	chunks := (b.N + t.PerChunk - 1) / t.PerChunk
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	err = t.Run(chunks)
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(chunks*t.PerChunk), "ns/message")
	if err := t.Check(); err != nil {
		b.Error(err)
	}
	if err := t.Close(); err != nil {
		b.Error(err)
	}
}
