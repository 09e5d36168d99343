package bench

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A connection's ring against a naive model: a set of the messages in flight.
func TestWindowAgainstAModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, window := range []int{1, 2, 3, 7, 8, 100} {
		var c conn
		c.init(5, window)
		if c.base != firstNumber(5) || len(c.sent) < window || len(c.sent) >= 2*window && window > 1 {
			t.Fatalf("window %d: %d slots", window, len(c.sent))
		}
		model := map[uint64]bool{}
		overtaken := false
		for range 20_000 {
			if rng.IntN(2) == 0 { // send
				oldest := c.next
				for seq := range model {
					oldest = min(oldest, seq)
				}
				if room := c.room(window); room != window-int(c.next-oldest) {
					t.Fatalf("window %d: room %d with messages %d to %d", window, room, oldest, c.next)
				} else if room > 0 {
					at := time.Duration(c.next)
					*c.slot(c.next) = times{at, at}
					model[c.next] = true
					c.next++
				}
			} else if c.next > 0 { // a reply, to one in flight or not
				seq := c.next - min(c.next, rng.Uint64N(uint64(window)+2))
				if c.awaits(seq) != model[seq] {
					t.Fatalf("window %d: awaits %d: %v", window, seq, c.awaits(seq))
				}
				if model[seq] {
					if *c.slot(seq) != (times{time.Duration(seq), time.Duration(seq)}) {
						t.Fatalf("window %d: message %d has the times %+v", window, seq, *c.slot(seq))
					}
					overtaken = overtaken || seq != c.head
					c.answer(seq)
					delete(model, seq)
				}
			}
		}
		if !overtaken && window > 1 {
			t.Errorf("window %d: no message was overtaken", window)
		}
	}
}

func TestWindows(t *testing.T) {
	w := good()
	w.Conns, w.Depth = 64, 16
	for _, c := range []struct {
		change           func(*Workload)
		inFlight, window int
	}{
		{func(*Workload) {}, 16, 16},
		{func(w *Workload) { w.Unordered = true }, 16, maxWindow},
		{func(w *Workload) { w.Unordered, w.Depth = true, MaxDepth }, MaxDepth, MaxDepth},
		{func(w *Workload) { w.Rate = 1 }, 2048, 2048},
		{func(w *Workload) { w.Rate, w.Unordered = 1, true }, 2048, 2048},
	} {
		w := w
		c.change(&w)
		if inFlight, window := w.windows(w.Conns); inFlight != c.inFlight || window != c.window {
			t.Errorf("%+v: %d in flight in a window of %d, want %d, %d", w, inFlight, window, c.inFlight, c.window)
		}
	}
}
