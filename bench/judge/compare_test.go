package judge

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// runs are n values of a distribution with median 1.
type runs struct {
	name string
	draw func(*rand.Rand) float64
}

var distributions = []runs{
	{"lognormal, 5 %", func(r *rand.Rand) float64 { return math.Exp(0.05 * r.NormFloat64()) }},
	{"lognormal, 50 %", func(r *rand.Rand) float64 { return math.Exp(0.5 * r.NormFloat64()) }},
	{"exponential", func(r *rand.Rand) float64 { return r.ExpFloat64() / math.Ln2 }},
	// One run of five is disturbed.
	{"disturbed", func(r *rand.Rand) float64 {
		x := math.Exp(0.05 * r.NormFloat64())
		if r.IntN(5) == 0 {
			x *= 3
		}
		return x
	}},
}

// sides draws n runs of each side, B's times factor. Paired ones share a disturbance
// that is larger than their own.
func sides(rng *rand.Rand, d runs, n int, factor float64, paired bool) (f Figure) {
	f.Name = d.name
	for range n {
		drift := 1.0
		if paired {
			drift = math.Exp(rng.NormFloat64())
		}
		f.A = append(f.A, drift*d.draw(rng))
		f.B = append(f.B, drift*d.draw(rng)*factor)
	}
	return f
}

// within reports whether a share of n is want, or more if atLeast, up to 4 standard
// deviations.
func within(share, want float64, n int) (low, high bool) {
	s := 4 * math.Sqrt(want*(1-want)/float64(n))
	return share < want-s, share > want+s
}

// Intervals enclose the true ratio as often as they say, and differences that are none
// are shown no more often than they may, whatever the distribution.
func TestCompareCoverage(t *testing.T) {
	rounds := rounds(1000)
	for _, d := range distributions {
		for _, n := range []int{MinRuns} {
			for _, paired := range []bool{false, true} {
				rng := rand.New(rand.NewPCG(uint64(n), 5))
				covered, shown := 0, 0
				for range rounds {
					got, err := compare([]Figure{sides(rng, d, n, 1, paired)}, paired, 500)
					if err != nil {
						t.Fatal(err)
					}
					if got[0].Low <= 1 && 1 <= got[0].High {
						covered++
					}
					if got[0].Shown {
						shown++
					}
				}
				c, s := float64(covered)/float64(rounds), float64(shown)/float64(rounds)
				t.Logf("%-15s n=%d paired=%-5v: %.1f %% covered, %.1f %% shown", d.name, n, paired, 100*c, 100*s)
				if low, _ := within(c, 1-Alpha, rounds); low {
					t.Errorf("%s, n=%d, paired %v: the interval is right %.1f %% of the time", d.name, n, paired, 100*c)
				}
				if _, high := within(s, Alpha, rounds); high {
					t.Errorf("%s, n=%d, paired %v: %.1f %% false differences", d.name, n, paired, 100*s)
				}
			}
		}
	}
}

// Among five figures of equal sides a difference is shown in one of twenty comparisons
// at most; without Holm's method it would be in one of five.
func TestCompareFamily(t *testing.T) {
	rounds := rounds(1500)
	rng := rand.New(rand.NewPCG(3, 5))
	shown, single := 0, 0
	for range rounds {
		var five []Figure
		for range 5 {
			five = append(five, sides(rng, distributions[0], 10, 1, false))
		}
		got, err := compare(five, false, 200)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(got, func(d Difference) bool { return d.Shown }) {
			shown++
		}
		if slices.ContainsFunc(got, func(d Difference) bool { return d.PU < Alpha }) {
			single++
		}
	}
	t.Logf("shown in %.1f %%, would be %.1f %%", 100*float64(shown)/float64(rounds), 100*float64(single)/float64(rounds))
	few, _ := within(float64(single)/float64(rounds), 0.18, rounds)
	if _, high := within(float64(shown)/float64(rounds), Alpha, rounds); high || few {
		t.Errorf("shown in %d of %d, without adjustment %d", shown, rounds, single)
	}
}

// A difference of 10 % in one figure of five is shown by ten runs of each side that
// scatter by 5 % four times of five, by ten pairs seven times of ten, and by twenty of
// either nearly always.
func TestComparePower(t *testing.T) {
	rounds := rounds(1000)
	for _, c := range []struct {
		n      int
		paired bool
		power  float64
	}{{10, false, 0.8}, {20, false, 0.99}, {10, true, 0.7}, {20, true, 0.99}} {
		n := c.n
		rng := rand.New(rand.NewPCG(4, 5))
		shown, inside := 0, 0
		for range rounds {
			figures := []Figure{sides(rng, distributions[0], n, 1.1, c.paired)}
			for range 4 {
				figures = append(figures, sides(rng, distributions[0], n, 1, c.paired))
			}
			got, err := compare(figures, c.paired, 200)
			if err != nil {
				t.Fatal(err)
			}
			if got[0].Shown {
				shown++
			}
			if got[0].Low <= 1.1 && 1.1 <= got[0].High {
				inside++
			}
		}
		t.Logf("n=%d paired=%v: shown in %.1f %%, 1.1 is in %.1f %% of the intervals", n, c.paired, 100*float64(shown)/float64(rounds), 100*float64(inside)/float64(rounds))
		weak, _ := within(float64(shown)/float64(rounds), c.power, rounds)
		if low, _ := within(float64(inside)/float64(rounds), 1-Alpha, rounds); low || weak {
			t.Errorf("n=%d, paired %v: shown in %d of %d, 1.1 in %d intervals", n, c.paired, shown, rounds, inside)
		}
	}
}

func TestCompareExact(t *testing.T) {
	up := func(from float64) (x []float64) {
		for i := range 10 {
			x = append(x, from+float64(i))
		}
		return x
	}
	got, err := Compare([]Figure{{"apart", up(100), up(200)}, {"equal", up(1), up(1)}, {"one value", slices.Repeat([]float64{7}, 10), slices.Repeat([]float64{7}, 11)}}, false)
	if err != nil {
		t.Fatal(err)
	}
	// Of the C(20, 10) = 184756 ways to mix the sides, two are as far apart; the three
	// figures count 3, 2 and 1 times.
	d := got[0]
	if d.Name != "apart" || d.A != 104.5 || d.B != 204.5 || d.Ratio != 204.5/104.5 || d.RunsA != 10 || d.RunsB != 10 ||
		math.Abs(d.PU-2.0/184756) > 1e-12 || math.Abs(d.PHolm-3*d.PU) > 1e-12 || !d.Shown || !(1.8 < d.Low && d.Low < d.Ratio && d.Ratio < d.High && d.High < 2.1) {
		t.Errorf("%+v", d)
	}
	for _, d := range got[1:] {
		if d.Shown || d.Ratio != 1 || d.PHolm != 1 || d.Low > 1 || d.High < 1 {
			t.Errorf("%+v", d)
		}
	}
	// The pairs tell what the sides do not.
	pairs := Figure{Name: "pairs"}
	for i := range 10 {
		pairs.A = append(pairs.A, math.Pow(2, float64(i)))
		pairs.B = append(pairs.B, 1.1*math.Pow(2, float64(i)))
	}
	got, err = Compare([]Figure{pairs}, true)
	if d := got[0]; err != nil || d.PU < 0.5 || math.Abs(d.PSigned-2.0/1024) > 1e-12 || !d.Shown || math.Abs(d.Ratio-1.1) > 1e-9 || math.Abs(d.Low-1.1) > 1e-9 || math.Abs(d.High-1.1) > 1e-9 {
		t.Errorf("%+v, %v", d, err)
	}
	again, _ := Compare([]Figure{pairs}, true)
	if again[0] != got[0] {
		t.Errorf("%+v, then %+v", got[0], again[0])
	}
	for what, f := range map[string]struct {
		Figure
		few bool
	}{
		"9 runs":      {Figure{"x", up(1)[1:], up(1)}, true},
		"no runs":     {Figure{"x", up(1), nil}, true},
		"not in pair": {Figure{"x", up(1), append(up(1), 3)}, false},
		"zero":        {Figure{"x", up(0), up(1)}, false},
		"negative":    {Figure{"x", up(1), up(-1)}, false},
		"not finite":  {Figure{"x", up(math.Inf(1)), up(1)}, false},
		"no number":   {Figure{"x", up(math.NaN()), up(1)}, false},
	} {
		if got, err := Compare([]Figure{f.Figure}, true); err == nil || got != nil || errors.Is(err, ErrFewRuns) != f.few {
			t.Errorf("%s: %v, %v", what, got, err)
		}
	}
}

// Factors of the expanded interval: Student's quantiles are those of any table.
func TestExpanded(t *testing.T) {
	for n, quantile := range map[int]float64{10: 2.2622, 15: 2.1448, 21: 2.0860} {
		want := 0.5 * math.Erfc(math.Sqrt(float64(n)/float64(n-1))*quantile/math.Sqrt2)
		if got := expanded(n); math.Abs(got-want) > 1e-5 {
			t.Errorf("n=%d: %g, want %g", n, got, want)
		}
	}
}

// By hand: of 2^n ways to choose signs those with a sum of ranks as far from the middle.
func TestSignedRank(t *testing.T) {
	e := math.Exp
	for _, c := range []struct {
		ratios []float64
		want   float64
	}{
		{nil, 1},
		{[]float64{1, 1}, 1},
		{[]float64{2}, 1},
		{[]float64{2, 3, 4}, 2.0 / 8},                         // 6 or 0
		{[]float64{e(-1), e(2), e(3)}, 4.0 / 8},               // 5: 6, 5, 1, 0
		{[]float64{e(1), e(-2), e(3)}, 6.0 / 8},               // 4: also 4 and 2
		{[]float64{e(1), e(1), 1, e(2)}, 2.0 / 8},             // ranks 1.5, 1.5, 3
		{[]float64{e(-1), e(1), e(2)}, 6.0 / 8},               // 4.5: 6, 4.5 twice, 1.5 twice, 0
		{[]float64{e(1), e(2), e(3), e(4), e(-5)}, 20.0 / 32}, // 10,
	} {
		if got := signedRank(c.ratios); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %g, want %g", c.ratios, got, c.want)
		}
	}
}
