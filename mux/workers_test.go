//go:build linux

package mux_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// dispatches are the ways of dispatching that keep replies in order.
var dispatches = []struct {
	name string
	mux.Options
}{
	{"idle", mux.Options{Policy: mux.Idle}},
	{"idle,ordered replies", mux.Options{Policy: mux.Idle, OrderedReplies: true}},
	{"idle,ordered replies,3 at a time", mux.Options{Policy: mux.Idle, OrderedReplies: true, FlowCap: 3}},
	{"fifo", mux.Options{Policy: mux.FIFO}},
	{"fifo,ordered replies", mux.Options{Policy: mux.FIFO, OrderedReplies: true}},
}

func eachDispatch(t *testing.T, fn func(t *testing.T, o mux.Options)) {
	each(t, func(t *testing.T, b ring.Backend) {
		for _, d := range dispatches {
			t.Run(d.name, func(t *testing.T) {
				o := d.Options
				o.Ring.Backend = b
				fn(t, o)
			})
		}
	})
}

// reply answers every message with itself.
func reply(r *mux.Received) mux.Verdict {
	r.Reply(r.Msg)
	return mux.Done
}

func startWorkers(t *testing.T, m *mux.Mux, n int, work mux.Work) *mux.Workers {
	t.Helper()
	w, err := m.Workers(n, work)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// manyPipelines checks that replies come, in order and unchanged, on many connections
// at once.
func manyPipelines(t *testing.T, addr string, conns, messages, limit int) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range conns {
		c := dial(t, addr)
		wg.Go(func() {
			if err := pipeline(c, uint64(i), messages, 16, limit); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestWorkersAnswerInOrder(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		o.Loops = 2
		m, addr := server(t, o, nil)
		startWorkers(t, m, 4, reply)
		manyPipelines(t, addr, 8, 400, 5000)
		until(t, "all messages are handled", func() bool { // a reply may be there before its reader is done
			st := m.Stats()
			return st.Received == 3200 && st.Queued == 0
		})
	})
}

// Few Ps make workers sleep in the runtime, many on futexes.
func TestWorkersAtSeveralGOMAXPROCS(t *testing.T) {
	for _, procs := range []int{1, 2, 8} {
		t.Run(fmt.Sprint(procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			m, addr := server(t, mux.Options{}, nil)
			startWorkers(t, m, 3, reply)
			manyPipelines(t, addr, 4, 500, 2000)
		})
	}
}

// The replies to messages of one batch leave together, but not if one of them takes
// long: then those before it do not wait, whether there is other traffic or not.
func TestQuickRepliesDoNotWaitForAStuckMessage(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		m := newMux(t, o, nil)
		g := newGate(t)
		startGate(t, m, 2, g)
		_, c := attach(t, m)
		_, other := attach(t, m)
		for round := range 3 {
			if _, err := c.Write(slices.Concat(numbered(1), numbered(2), numbered(0), numbered(3))); err != nil {
				t.Fatal(err)
			}
			if round == 0 {
				<-g.reached
				if o.FlowCap == 0 && !o.OrderedReplies {
					writeNumbers(t, other, 1, 2)
					readNumbers(t, other, 1)
				}
				if got := readNumbers(t, c, 2); !slices.Equal(got, upTo(1, 3)) {
					t.Errorf("replies to %d before the stuck message", got)
				}
				g.open()
				readNumbers(t, c, 2)
				continue
			}
			if got := readNumbers(t, c, 4); !slices.Equal(got, []uint32{1, 2, 0, 3}) {
				t.Errorf("replies to %d", got)
			}
		}
	})
}
