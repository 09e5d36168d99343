package ring

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

type recorder struct {
	w     *wheel
	fired *[]int
	id    int
	due   int64
	t     *testing.T
}

func (r *recorder) Expire(*Timer) {
	if r.w.now < r.due {
		r.t.Errorf("timer %d for tick %d fired at %d", r.id, r.due, r.w.now)
	}
	*r.fired = append(*r.fired, r.id)
}

// The wheel against the naive model: a list of pending timers.
func TestWheelFiresWhatAModelFires(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := &wheel{now: rng.Int64N(1 << 20)}
		var fired []int
		timers := make([]Timer, 64)
		due := make([]int64, len(timers)) // 0: not armed
		for range 400 {
			i := rng.IntN(len(timers))
			switch rng.IntN(3) {
			case 0:
				w.remove(&timers[i])
				delta := rng.Int64N(1 << rng.IntN(27)) // from one tick to beyond the horizon
				timers[i].owner = &recorder{w, &fired, i, max(w.now+delta, w.now+1), t}
				w.add(&timers[i], w.now+delta)
				due[i] = max(w.now+delta, w.now+1)
			case 1:
				w.remove(&timers[i])
				due[i] = 0
			case 2:
				to := w.now + rng.Int64N(1<<rng.IntN(26))
				fired = fired[:0]
				w.advance(to)
				var want []int
				for j, d := range due {
					if d != 0 && d <= to {
						want = append(want, j)
						due[j] = 0
					}
				}
				slices.Sort(fired)
				if !slices.Equal(fired, want) {
					t.Fatalf("seed %d: advancing to %d fired %v, want %v", seed, to, fired, want)
				}
			}
			pending := 0
			for j := range due {
				if (due[j] != 0) != timers[j].Armed() {
					t.Fatalf("seed %d: timer %d armed: %v, want %v", seed, j, timers[j].Armed(), due[j] != 0)
				}
				if due[j] != 0 {
					pending++
					if next := w.nextTick(); next > due[j] {
						t.Fatalf("seed %d: next tick %d is after timer %d at %d", seed, next, j, due[j])
					}
				}
			}
			if w.count != pending {
				t.Fatalf("seed %d: count %d, want %d", seed, w.count, pending)
			}
		}
	}
}

type rearm struct {
	l *wheel
	n int
}

func (r *rearm) Expire(t *Timer) {
	r.n++
	r.l.add(t, r.l.now) // "now" must mean the next tick, not an endless loop
}

func TestTimerStartedByItsOwnExpiryFiresOncePerTick(t *testing.T) {
	w := new(wheel)
	r := &rearm{l: w}
	tm := Timer{owner: r}
	w.add(&tm, 1)
	w.advance(1000)
	if r.n != 1000 {
		t.Fatalf("fired %d times in 1000 ticks", r.n)
	}
}

func TestTicksRoundUp(t *testing.T) {
	for d, want := range map[time.Duration]int64{0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2} {
		if got := ticks(d); got != want {
			t.Errorf("ticks(%v) = %d, want %d", d, got, want)
		}
	}
}

func BenchmarkTimerStartStop(b *testing.B) {
	w := new(wheel)
	var tm Timer
	b.ReportAllocs()
	for i := range b.N {
		w.add(&tm, w.now+30_000+int64(i&1023))
		w.remove(&tm)
	}
}
