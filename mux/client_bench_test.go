//go:build linux

package mux_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/strparser"
)

// BenchmarkDo is calls of some goroutines over two connections to a server that echoes, in
// the same process.
func BenchmarkDo(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			server, addr := echoServer()
			defer server.Close()
			m, err := mux.New(mux.Options{Format: strparser.Length32, Loops: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			cl, err := m.Client(mux.ClientOptions{IDs: tokenIDs})
			if err != nil {
				b.Fatal(err)
			}
			pool, err := m.Pool(quick(2, addr))
			if err != nil {
				b.Fatal(err)
			}
			ctx := context.Background()
			if err := pool.Wait(ctx, 2); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					var c mux.Call
					for n := i; n < b.N; n += callers {
						setToken(b, m, &c.Request, uint64(n))
						if err := cl.Do(ctx, &c); err != nil {
							b.Error(err)
							return
						}
						c.Reply.Release()
						c.Reply.Reset()
					}
				})
			}
			wg.Wait()
		})
	}
}
