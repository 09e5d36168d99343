package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		x    []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{4, 1}, 2.5},
		{[]float64{9, 1, 5}, 5},
		{[]float64{9, 1, 5, 6}, 5.5},
		{[]float64{math.MaxFloat64, math.MaxFloat64}, math.MaxFloat64},
	} {
		before := slices.Clone(tt.x)
		if got := Median(tt.x); got != tt.want {
			t.Errorf("Median(%v) = %v, want %v", tt.x, got, tt.want)
		}
		if !slices.Equal(tt.x, before) {
			t.Errorf("Median changed its argument %v to %v", before, tt.x)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("Median(nil) = %v, want NaN", got)
	}
}

// The ranks and confidences are those of the tables of the sign test, e.g.
// Conover, Practical Nonparametric Statistics, table A3; n = 15:
// 1 - 2*(1+15+105+455)/2^15.
func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		n, lo, hi int // as ranks from 1
		got       float64
	}{
		{1, 1, 1, 0},
		{2, 1, 2, 0.5},
		{5, 1, 5, 1 - 2.0/32},
		{6, 1, 6, 1 - 2.0/64},
		{8, 1, 8, 1 - 2.0/256},
		{9, 2, 8, 1 - 2*10.0/512},
		{10, 2, 9, 1 - 2*11.0/1024},
		{15, 4, 12, 1 - 2*576.0/32768},
		{20, 6, 15, 1 - 2*21700.0/1048576},
		{50, 18, 33, 0.9671},
	} {
		x := make([]float64, tt.n)
		for i := range x {
			x[i] = float64(i + 1)
		}
		rand.New(rand.NewPCG(1, uint64(tt.n))).Shuffle(tt.n, func(i, j int) { x[i], x[j] = x[j], x[i] })
		lo, hi, got := Bounds(x, 0.95)
		if lo != float64(tt.lo) || hi != float64(tt.hi) || math.Abs(got-tt.got) > 1e-4 {
			t.Errorf("n=%d: Bounds = %v, %v, %.5f, want %d, %d, %.5f", tt.n, lo, hi, got, tt.lo, tt.hi, tt.got)
		}
	}
	if lo, hi, got := Bounds(nil, 0.95); !math.IsNaN(lo) || !math.IsNaN(hi) || got != 0 {
		t.Errorf("Bounds(nil) = %v, %v, %v", lo, hi, got)
	}
}

// TestBoundsCover draws many samples from a skewed distribution whose median is
// known and counts how often the bounds enclose it.
func TestBoundsCover(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	const rounds = 20000
	covered, want := 0, 0.0
	x := make([]float64, 15)
	for range rounds {
		for i := range x {
			x[i] = r.ExpFloat64()
		}
		lo, hi, got := Bounds(x, 0.95)
		want = got
		if lo <= math.Ln2 && math.Ln2 <= hi {
			covered++
		}
	}
	share := float64(covered) / rounds
	// Four standard deviations of the count.
	if slack := 4 * math.Sqrt(want*(1-want)/rounds); math.Abs(share-want) > slack {
		t.Errorf("the bounds cover the median in %.4f of samples, want %.4f ± %.4f", share, want, slack)
	}
}
