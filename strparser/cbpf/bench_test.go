//go:build linux

package cbpf_test

import (
	"encoding/binary"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// BenchmarkParse is the cost of a message of 64 bytes out of chunks of 64 KiB, by a
// program of three instructions, by the same in Go, and by a plain length.
func BenchmarkParse(b *testing.B) {
	for _, f := range []struct {
		name string
		strparser.Format
	}{
		{"program", program(b, prefixed...)},
		{"ParseFunc", strparser.ParseFunc(func(v *strparser.View) (int, error) {
			h := v.Head()
			if len(h) < 4 {
				return 0, nil
			}
			return 4 + int(binary.BigEndian.Uint32(h)), nil
		})},
		{"Length", strparser.Length32},
	} {
		b.Run(f.name, func(b *testing.B) {
			const size, count = 64, 1024
			heap := sgmsg.NewHeap(1 << 20)
			defer heap.Close(nil)
			p, err := strparser.New(nil, strparser.Options{
				Format: f.Format, Alloc: heap, Message: func(*strparser.Parser, *sgmsg.Message) {},
				Lock: func(*strparser.Parser) {}, Unlock: func(*strparser.Parser) {},
			})
			if err != nil {
				b.Fatal(err)
			}
			e, err := heap.Alloc(size * count)
			if err != nil {
				b.Fatal(err)
			}
			e.Len = size * count
			for i := range count {
				binary.BigEndian.PutUint32(e.Bytes()[i*size:], size-4)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += count {
				if _, err := p.Process(e, 0, 0); err != nil {
					b.Fatal(err)
				}
			}
			e.Buf.Release()
			p.Stop()
			p.Done()
		})
	}
}
