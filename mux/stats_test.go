//go:build linux

package mux_test

import (
	"net"
	"reflect"
	"sync"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// fell returns the names of the totals that are lower in b than in a.
func fell(a, b reflect.Value, path string) (names []string) {
	for i := range a.NumField() {
		name := path + a.Type().Field(i).Name
		switch x, y := a.Field(i), b.Field(i); x.Kind() {
		case reflect.Struct:
			names = append(names, fell(x, y, name+".")...)
		case reflect.Uint64: // others are of the moment
			if y.Uint() < x.Uint() {
				names = append(names, name)
			}
		}
	}
	return names
}

// Connections come and go, some in the middle of a message, while somebody looks at
// the totals: they never go down, and in the end they are what was done.
func TestTotalsNeverGoDown(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		const clients, rounds, messages = 4, 25, 3
		var left sync.WaitGroup
		left.Add(clients * rounds)
		m, addr := server(t, mux.Options{
			Loops: 2, Ring: ring.Options{Backend: b},
			OnClose: func(*mux.Psock, error) { left.Done() },
		}, echo)
		var wg sync.WaitGroup
		for i := range clients {
			wg.Go(func() {
				for range rounds {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						t.Error(err)
						left.Done()
						continue
					}
					if err := pipeline(c, uint64(i), messages, 2, 1<<10); err != nil {
						t.Error(err)
					}
					if i%2 == 0 {
						c.Write([]byte{0, 0, 4, 0, 'h', 'a', 'l', 'f'})
					}
					c.Close()
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); left.Wait(); close(done) }()
		last := m.Stats()
		for looks := 1; ; looks++ {
			st := m.Stats()
			if names := fell(reflect.ValueOf(last), reflect.ValueOf(st), ""); len(names) > 0 {
				t.Fatalf("at look %d %v went down: %+v, then %+v", looks, names, last, st)
			}
			last = st
			select {
			case <-done:
			default:
				continue
			}
			break
		}
		until(t, "all have ended", func() bool { return m.Stats().Psocks == 0 })
		const n = clients * rounds
		st := m.Stats()
		if st.Opened != n || st.Closed != n || st.RxMessages != n*messages || st.TxMessages != n*messages || st.Parser.Messages != n*messages {
			t.Errorf("%+v, want %d connections with %d messages each", st, n, messages)
		}
		if st.Parser.Aborts == 0 || st.Parser.Aborts > n/2 {
			t.Errorf("%d connections ended inside a message, want up to %d", st.Parser.Aborts, n/2)
		}
		// The last figures outlive the loops.
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if after := m.Stats(); after != st {
			t.Errorf("after Close %+v, before %+v", after, st)
		}
	})
}

// Handlers on two loops ask for figures at the same time: neither waits for the other.
func TestStatsOnTwoLoopsAtOnce(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 2}, nil)
	var both sync.WaitGroup
	both.Add(2)
	done := make(chan int, 2)
	for _, l := range m.Loops() {
		l.Post(func() {
			both.Done()
			both.Wait()
			m.Stats()
			done <- len(m.Snapshot().Psocks)
		})
	}
	within(t, "the first", done)
	within(t, "the second", done)
}
