package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/internal/invariants"
)

// rounds is how often tests repeat, less where that takes long.
func rounds(n int) int {
	if invariants.Race || testing.Short() {
		return max(1, n/10)
	}
	return n
}

// queue is M/G/workers, in nanoseconds.
type queue struct {
	workers int
	mean    float64 // of the service times
	service func(*rand.Rand) float64
	n       int // measured messages of a trial
}

func exponential(mean float64) func(*rand.Rand) float64 {
	return func(r *rand.Rand) float64 { return r.ExpFloat64() * mean }
}

// twoSided is 10 us, and 200 us for 5 %: mean 19.5 us.
func twoSided(r *rand.Rand) float64 {
	if r.Float64() < 0.05 {
		return 200e3
	}
	return 10e3
}

// p99 simulates one run at a rate per second, after a tenth of it for warm-up.
func (q *queue) p99(rate float64, rng *rand.Rand) float64 {
	jobs := make([]bench.Job, q.n+q.n/10)
	at := 0.0
	for i := range jobs {
		at += rng.ExpFloat64() * 1e9 / rate
		jobs[i] = bench.Job{Arrival: time.Duration(at), Service: time.Duration(q.service(rng))}
	}
	times := bench.Ideal(jobs, q.workers, bench.FCFS)[q.n/10:]
	h := bench.NewHist()
	for _, t := range times {
		h.Record(int64(t))
	}
	return h.Quantiles().P99 * 1e3
}

// trial is a run held against a target.
func (q *queue) trial(target float64, seed uint64) Trial {
	return func(_ context.Context, rate float64, n int) (Outcome, error) {
		if p99 := q.p99(rate, rand.New(rand.NewPCG(seed, uint64(n)))); p99 > target {
			return Outcome{Finding: Missed, Why: fmt.Sprintf("p99 %.1f us", p99/1e3)}, nil
		}
		return Outcome{}, nil
	}
}

// knee bisects with the same arrivals at every rate: the p99 of a very long run.
func (q *queue) knee(target float64) float64 {
	long := *q
	long.n = 2_000_000
	low, high := 0.0, float64(q.workers)*1e9/q.mean
	for high/max(low, 1) > 1.002 {
		middle := (low + high) / 2
		if long.p99(middle, rand.New(rand.NewPCG(99, 99))) > target {
			high = middle
		} else {
			low = middle
		}
	}
	return (low + high) / 2
}

// The rate found is within 3 % of the one that is right, for every seed.
func TestSearchFindsKnee(t *testing.T) {
	const us = 1e3
	mm1 := &queue{workers: 1, mean: 10 * us, service: exponential(10 * us), n: 100_000}
	mg4 := &queue{workers: 4, mean: 19.5 * us, service: twoSided, n: 100_000}
	for _, c := range []struct {
		name   string
		q      *queue
		target float64
		want   float64
	}{
		// The sojourn time of M/M/1 is exponential with the rate mu-lambda.
		{"M/M/1 at 150us", mm1, 150 * us, 1e9 * (1/mm1.mean + math.Log(0.01)/(150*us))},
		{"M/M/1 at 250us", mm1, 250 * us, 1e9 * (1/mm1.mean + math.Log(0.01)/(250*us))},
		{"M/G/4 at 300us", mg4, 300 * us, mg4.knee(300 * us)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seeds, inside, trials, worst := rounds(12), 0, 0, 0.0
			for seed := range seeds {
				res, err := Search(t.Context(), Options{Start: 1000}, c.q.trial(c.target, uint64(seed)))
				if err != nil {
					t.Fatal(err)
				}
				off := res.Rate/c.want - 1
				if math.Abs(off) > 0.03 {
					t.Errorf("seed %d: %.0f/s, %+.1f %% off %.0f/s", seed, res.Rate, 100*off, c.want)
				}
				if res.Low <= c.want && c.want <= res.High {
					inside++
				}
				if res.Low <= 0 || res.Low > res.Rate || res.High <= res.Rate || res.High > 1.3*res.Low {
					t.Errorf("seed %d: %.0f/s in [%.0f, %.0f]", seed, res.Rate, res.Low, res.High)
				}
				trials += len(res.Trials)
				worst = max(worst, math.Abs(off))
			}
			t.Logf("knee at %.0f/s, worst %.2f %% off, interval right %d of %d times, %d trials a search",
				c.want, 100*worst, inside, seeds, trials/seeds)
		})
	}
}

// The interval has the right rate as often as it says: searches for the knee of M/M/1
// with trials whose p99 is off by a factor that is lognormal.
func TestSearchInterval(t *testing.T) {
	const mu, target = 100e3, 150e-6
	searches := rounds(4000)
	knee := mu + math.Log(0.01)/target
	for _, noise := range []float64{0.02, 0.1, 0.3} {
		for _, repeats := range []int{3, 5, 7} {
			rng := rand.New(rand.NewPCG(1, uint64(repeats)))
			inside, width, confidence := 0, 0.0, 0.0
			for range searches {
				res, err := Search(t.Context(), Options{Start: 1000, Repeats: repeats}, func(_ context.Context, rate float64, _ int) (Outcome, error) {
					if p99 := -math.Log(0.01) / (mu - rate) * math.Exp(noise*rng.NormFloat64()); rate >= mu || p99 > target {
						return Outcome{Finding: Missed}, nil
					}
					return Outcome{}, nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if res.Low <= knee && knee <= res.High {
					inside++
				}
				width += (res.High/res.Low - 1) / float64(searches)
				confidence = res.Confidence
			}
			share := float64(inside) / float64(searches)
			t.Logf("noise %g, %d repeats: right %.1f %% of the time, %.1f %% promised, %.1f %% wide", noise, repeats, 100*share, 100*confidence, 100*width)
			if share < confidence-4*math.Sqrt(confidence*(1-confidence)/float64(searches)) {
				t.Errorf("noise %g, %d repeats: right %.1f %% of the time, want %.1f %%", noise, repeats, 100*share, 100*confidence)
			}
		}
	}
}

// steps is a server that holds up to a rate, the same every time.
func steps(limit float64, above Finding) Trial {
	return func(_ context.Context, rate float64, _ int) (Outcome, error) {
		if rate > limit {
			return Outcome{Finding: above, Why: "over the limit"}, nil
		}
		return Outcome{}, nil
	}
}

// Without noise the answer is the highest rate of the grid that holds, from wherever
// the search starts, and the interval is that and the next.
func TestSearchExact(t *testing.T) {
	for _, limit := range []float64{10, 999, 1000, 1001, 4000, 123456, 5e6} {
		for _, start := range []float64{10, 1000, 1e5} {
			for _, above := range []Finding{Missed, Lost, Behind} {
				res, err := Search(t.Context(), Options{Start: start, Min: 1}, steps(limit, above))
				if err != nil {
					t.Fatal(err)
				}
				if !(res.Rate <= limit && limit < res.Rate*1.0100001) {
					t.Errorf("limit %g from %g: %g", limit, start, res.Rate)
				}
				if res.Low != res.Rate || math.Abs(res.High/res.Rate-1.01) > 1e-9 || res.Limit != above || res.Why != "over the limit" {
					t.Errorf("limit %g from %g: %g in [%g, %g], limit %s: %s", limit, start, res.Rate, res.Low, res.High, res.Limit, res.Why)
				}
				if !slices.IsSortedFunc(res.Rates, func(a, b Tried) int { return int(math.Copysign(1, a.Rate-b.Rate)) }) {
					t.Errorf("rates are not in order: %+v", res.Rates)
				}
				n := 0
				for _, r := range res.Rates {
					n += r.Trials
				}
				if n != len(res.Trials) || n > 3*30+4 {
					t.Errorf("limit %g from %g: %d trials, %d in all rates", limit, start, len(res.Trials), n)
				}
			}
		}
	}
}

func TestSearchEnds(t *testing.T) {
	// Nothing holds.
	res, err := Search(t.Context(), Options{Start: 1000, Min: 200}, steps(100, Missed))
	if !errors.Is(err, ErrUnreachable) || res.Rate != 0 || res.Limit != Missed {
		t.Errorf("unreachable: %+v, %v", res, err)
	} else if want := "no rate meets the target: at 201."; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %q, want %s...", err, want)
	}
	// Everything does.
	res, err = Search(t.Context(), Options{Start: 1000, Max: 50_000}, steps(math.Inf(1), Missed))
	if err != nil || res.Rate > 50_000 || res.Rate < 49_000 || res.Limit != Held || res.High != 0 || res.Low != res.Rate {
		t.Errorf("everything holds: %+v, %v", res, err)
	}
	// A trial cannot be made, or the search is to end: what is known is returned. The
	// ninth trial is the last of three at 16000.
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	for _, c := range []struct {
		what string
		want error
		rate float64
		at8  func() error
	}{
		{"error", broken, 4000, func() error { return broken }},
		{"cancel", context.Canceled, 16000, func() error { cancel(); return nil }},
	} {
		res, err := Search(ctx, Options{Start: 1000}, func(_ context.Context, rate float64, n int) (Outcome, error) {
			if n == 8 {
				if err := c.at8(); err != nil {
					return Outcome{}, err
				}
			}
			return Outcome{}, nil
		})
		if !errors.Is(err, c.want) || res == nil || len(res.Trials) < 8 || len(res.Trials) > 9 || math.Abs(res.Rate/c.rate-1) > 0.01 {
			t.Errorf("%s: %v, %+v", c.what, err, res)
		}
	}
	for _, o := range []Options{{}, {Start: -1}, {Start: math.NaN()}, {Start: 10, Min: 11}, {Start: 10, Max: 9}, {Start: 10, Max: 1e10},
		{Start: 10, Resolution: -1}, {Start: 10, Resolution: 2}, {Start: 10, Repeats: 4}, {Start: 10, Repeats: -1}, {Start: 10, Repeats: 101}} {
		if res, err := Search(t.Context(), o, steps(100, Missed)); err == nil || res != nil {
			t.Errorf("%+v: %v, %v", o, res, err)
		}
	}
}

// One message that is lost fails a rate; one trial in which the target was missed, or
// the generator late, does not.
func TestSearchMajority(t *testing.T) {
	for _, c := range []struct {
		v    Finding
		want float64 // roughly
	}{{Missed, 10_000}, {Behind, 10_000}, {Lost, 4000}} {
		seen := map[float64]int{}
		res, err := Search(t.Context(), Options{Start: 4000, Min: 1}, func(ctx context.Context, rate float64, n int) (Outcome, error) {
			seen[rate]++
			if rate > 4000 && seen[rate] == 2 {
				return Outcome{Finding: c.v, Why: "once"}, nil
			}
			return steps(10_000, Missed)(ctx, rate, n)
		})
		if err != nil || res.Rate > c.want || res.Rate < c.want/1.011 {
			t.Errorf("%s: %g, %v, want %g", c.v, res.Rate, err, c.want)
		}
		// Down to 4000 no rate has held in all its trials.
		if res.Low > 4000 || res.Low < 2500 {
			t.Errorf("%s: interval from %g", c.v, res.Low)
		}
	}
}

func TestResultJSON(t *testing.T) {
	res, err := Search(t.Context(), Options{Start: 1000}, steps(3000, Missed))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(res)
	if err != nil {
		t.Fatal(err)
	}
	var back Result
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Rate != res.Rate || back.Limit != Missed || !slices.Equal(back.Trials, res.Trials) || len(back.Rates) != len(res.Rates) {
		t.Errorf("%s", b)
	}
	none, broken := Search(t.Context(), Options{Start: 1000}, func(context.Context, float64, int) (Outcome, error) {
		return Outcome{}, errors.New("broken")
	})
	if b, err := json.Marshal(none); broken == nil || err != nil || strings.Contains(string(b), "null") {
		t.Errorf("%s, %v", b, err)
	}
	if err := new(Finding).UnmarshalText([]byte("won")); err == nil {
		t.Error("a finding that is none")
	}
}
