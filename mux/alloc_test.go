//go:build linux

package mux_test

import (
	"bytes"
	"io"
	"runtime"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// In the steady state a message allocates nothing, system calls and client
// included. Bookkeeping of the runtime is allowed for: one allocation for a hundred
// messages would be a hundred times more than there should be.
func TestSteadyStateAllocatesNothing(t *testing.T) {
	if invariants.Race || invariants.Enabled {
		t.Skip("the checks of this build allocate")
	}
	const batch, warm, rounds = 16, 200, 1500
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		_, c := attach(t, m)
		msgs := bytes.Repeat(frame(make([]byte, 64)), batch)
		got := make([]byte, len(msgs))
		round := func() {
			if _, err := c.Write(msgs); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
		}
		for range warm {
			round()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			round()
		}
		runtime.ReadMemStats(&after)
		n := after.Mallocs - before.Mallocs
		t.Logf("%d allocations for %d messages", n, rounds*batch)
		if n*100 > rounds*batch {
			t.Errorf("%d allocations for %d messages, want fewer than one for a hundred", n, rounds*batch)
		}
		if !bytes.Equal(got, msgs) {
			t.Error("the last replies are not what was sent")
		}
	})
}
