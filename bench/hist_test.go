package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistMergeEqualsTheWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	whole, parts := NewHist(), []*Hist{NewHist(), NewHist(), NewHist()}
	var values []int64
	for i := range 30_000 {
		v := int64(math.Exp(rng.Float64() * math.Log(histHighest))) // all magnitudes
		values = append(values, v)
		whole.Record(v)
		parts[i%3].Record(v)
	}
	sum := NewHist()
	for _, p := range parts {
		if err := sum.Merge(p); err != nil {
			t.Fatal(err)
		}
	}
	if sum.Count() != int64(len(values)) || sum.Quantiles() != whole.Quantiles() {
		t.Errorf("merged: %d values, %+v; in one: %+v", sum.Count(), sum.Quantiles(), whole.Quantiles())
	}
	slices.Sort(values)
	q := sum.Quantiles()
	for name, c := range map[string]struct{ got, p float64 }{
		"p50": {q.P50, 0.5}, "p90": {q.P90, 0.9}, "p99": {q.P99, 0.99}, "p99.9": {q.P999, 0.999}, "p99.99": {q.P9999, 0.9999},
	} {
		want := float64(values[int(math.Ceil(c.p*float64(len(values))))-1]) / 1e3
		if math.Abs(c.got-want) > want/1000 {
			t.Errorf("%s = %v, sorted values say %v", name, c.got, want)
		}
	}
	if want := float64(values[len(values)-1]) / 1e3; q.Max != want {
		t.Errorf("max = %v, want exactly %v", q.Max, want)
	}
}

func TestHistBeyondItsRange(t *testing.T) {
	h := NewHist()
	for range 99 {
		h.Record(1000)
	}
	h.Record(2 * histHighest)
	h.Record(-5)
	q := h.Quantiles()
	if h.Over() != 1 || h.Count() != 101 {
		t.Errorf("over %d of %d, want 1 of 101", h.Over(), h.Count())
	}
	if q.Max != 2*histHighest/1e3 || q.P50 != 1 || q.P9999 < histHighest/1e3*0.999 {
		t.Errorf("%+v", q)
	}
	if (NewHist().Quantiles() != Quantiles{}) {
		t.Error("an empty histogram has quantiles")
	}
}

func TestHistRecordAllocatesNothing(t *testing.T) {
	h := NewHist()
	if n := testing.AllocsPerRun(1000, func() { h.Record(12345); h.Record(-1); h.Record(histHighest + 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestHistRanks compares percentiles of few times with those of the sorted times: with
// few, a rank more or less shows.
func TestHistRanks(t *testing.T) {
	for n := 1; n <= 400; n++ {
		h := NewHist()
		times := make([]time.Duration, n)
		for i := range times {
			times[i] = time.Duration(i + 1) // below 2048 each time has a bucket
			h.Record(int64(times[i]))
		}
		if got, want := h.Quantiles(), quantilesOf(times); got != want {
			t.Fatalf("%d times: %+v, want %+v", n, got, want)
		}
	}
}
