package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestThinkersComeInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var h thinkers
	var model []time.Duration
	for range 20_000 {
		if rng.IntN(2) == 0 || len(model) == 0 {
			at := time.Duration(rng.IntN(1000))
			h.push(thinker{at: at})
			model = append(model, at)
			continue
		}
		i := slices.Index(model, slices.Min(model))
		if got := h.pop().at; got != model[i] {
			t.Fatalf("%v, want %v", got, model[i])
		}
		model = slices.Delete(model, i, i+1)
	}
}

// With a think time each message slot of a connection has one message in so long, at
// most.
func TestThinkTime(t *testing.T) {
	c := short("")
	c.Conns, c.Depth, c.Duration, c.Think = 3, 2, 200*time.Millisecond, Service{Time: 10 * time.Millisecond}
	rep := succeed(t, c)
	if most := int64(3 * 2 * (200/10 + 1)); rep.MessagesTotal > most || rep.Think != "10ms" {
		t.Errorf("%d messages, at most %d fit; think time %q", rep.MessagesTotal, most, rep.Think)
	}
}

// A closed loop sends in whole batches.
func TestBatchesOfAClosedLoop(t *testing.T) {
	c := short("")
	c.Depth, c.Batch = 8, 4
	if rep := succeed(t, c); rep.MessagesTotal%4 != 0 || rep.Batch != 4 {
		t.Errorf("%d messages in batches of %d", rep.MessagesTotal, rep.Batch)
	}
}
