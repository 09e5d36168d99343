package judge

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/aclements/go-moremath/stats"
)

// MinRuns is how many runs of each side a comparison takes at least. With fewer the
// intervals are wide and not what they say.
const MinRuns = 10

// Alpha is the probability with which Compare shows a difference in any figure when
// there is none, at most; 1 - Alpha is the confidence of the intervals.
const Alpha = 0.05

// Figure is a quantity of each run of two sides.
type Figure struct {
	Name string
	A, B []float64 // one value per run, all positive; in pairs of equal index if paired
}

// Difference is what Compare says about one Figure.
type Difference struct {
	Name  string `json:"figure"`
	RunsA int    `json:"runs_a"`
	RunsB int    `json:"runs_b"`
	// A and B are medians of the runs.
	A float64 `json:"a"`
	B float64 `json:"b"`
	// Ratio is B to A: of the medians, or if paired the median of the ratios. Low and
	// High enclose it with a confidence of 1 - Alpha.
	Ratio float64 `json:"ratio"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	// PU is of the U test of Mann and Whitney: how likely runs of equal sides are to be
	// as different as these. PSigned is of Wilcoxon's test, and 1 unless paired. PHolm is
	// the latter if paired and else the former, with account of the number of figures.
	PU      float64 `json:"p_mann_whitney"`
	PSigned float64 `json:"p_signed_rank"`
	PHolm   float64 `json:"p_holm"`
	// Shown is that the sides differ: PHolm is less than Alpha and 1 is not between Low
	// and High.
	Shown bool `json:"shown"`
}

// ErrFewRuns is that a side has fewer than MinRuns runs.
var ErrFewRuns = fmt.Errorf("want at least %d runs of each side", MinRuns)

// Compare says of each figure whether two sides differ, and by how much.
//
//   - The test is the two-sided U test of Mann and Whitney. It assumes no distribution,
//     and takes the runs as independent. Pairs are not, if they share what disturbs them:
//     it then shows less than it could. Pairs have the signed-rank test of Wilcoxon, of
//     the logarithms of their ratios: equal sides may be swapped in any pair.
//   - The probabilities are adjusted for the number of figures by Holm's method.
//   - The interval is a bootstrap of percentiles, from 10000 samples with a fixed seed. If
//     paired, pairs are drawn, and as the spread of a sample of n is too small by
//     (n-1)/n and n is small, percentiles further out are taken: the expanded interval
//     of Hesterberg, What Teachers Should Know About the Bootstrap (2015), section 5.3.
//     The interval of a ratio of two medians is wide enough without.
//
// Sides that are paired have run by turns, one run of each in a pair. The error wraps
// ErrFewRuns, or names the figure that is not positive or not paired.
func Compare(figures []Figure, paired bool) ([]Difference, error) {
	return compare(figures, paired, 10_000)
}

func compare(figures []Figure, paired bool, samples int) ([]Difference, error) {
	var all []Difference
	for _, f := range figures {
		d, err := f.compare(paired, samples)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		all = append(all, d)
	}
	holm(all, paired)
	for i := range all {
		d := &all[i]
		d.Shown = d.PHolm < Alpha && (d.Low > 1 || d.High < 1)
	}
	return all, nil
}

func (f *Figure) compare(paired bool, samples int) (Difference, error) {
	d := Difference{Name: f.Name, RunsA: len(f.A), RunsB: len(f.B)}
	if min(d.RunsA, d.RunsB) < MinRuns {
		return d, fmt.Errorf("%d and %d runs: %w", d.RunsA, d.RunsB, ErrFewRuns)
	}
	if paired && d.RunsA != d.RunsB {
		return d, fmt.Errorf("%d and %d runs are not in pairs", d.RunsA, d.RunsB)
	}
	for _, x := range slices.Concat(f.A, f.B) {
		if !(x > 0) || math.IsInf(x, 1) {
			return d, fmt.Errorf("%g is not positive", x)
		}
	}
	d.A, d.B = median(slices.Clone(f.A)), median(slices.Clone(f.B))
	d.PU, d.PSigned = 1, 1
	switch u, err := stats.MannWhitneyUTest(f.A, f.B, stats.LocationDiffers); {
	case err == nil:
		d.PU = u.P
	case !errors.Is(err, stats.ErrSamplesEqual):
		return d, err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	if paired {
		ratios := make([]float64, len(f.A))
		for i := range ratios {
			ratios[i] = f.B[i] / f.A[i]
		}
		d.Ratio, d.PSigned = median(slices.Clone(ratios)), signedRank(ratios)
		s := make([]float64, len(ratios))
		d.Low, d.High = percentileInterval(samples, expanded(len(ratios)), func() float64 { return median(draw(rng, s, ratios)) })
		return d, nil
	}
	d.Ratio = d.B / d.A
	a, b := make([]float64, len(f.A)), make([]float64, len(f.B))
	d.Low, d.High = percentileInterval(samples, Alpha/2, func() float64 { return median(draw(rng, b, f.B)) / median(draw(rng, a, f.A)) })
	return d, nil
}

// median returns the median of x, which it sorts.
func median(x []float64) float64 {
	slices.Sort(x)
	n := len(x)
	if n%2 == 1 {
		return x[n/2]
	}
	return x[n/2-1]/2 + x[n/2]/2
}

// draw fills to with values of from, each drawn from all.
func draw(rng *rand.Rand, to, from []float64) []float64 {
	for i := range to {
		to[i] = from[rng.IntN(len(from))]
	}
	return to
}

// percentileInterval returns the values that a share of tail of the samples is below,
// and above.
func percentileInterval(samples int, tail float64, sample func() float64) (low, high float64) {
	all := make([]float64, samples)
	for i := range all {
		all[i] = sample()
	}
	slices.Sort(all)
	at := int(tail * float64(samples-1))
	return all[at], all[samples-1-at]
}

// expanded returns the tail of Hesterberg's interval for n values: that of the normal
// distribution beyond sqrt(n/(n-1)) times the quantile of Student's.
func expanded(n int) float64 {
	df := float64(n - 1)
	t := stats.InvCDF(stats.TDist{V: df})(1 - Alpha/2)
	return stats.StdNormal.CDF(-math.Sqrt(float64(n)/df) * t)
}

// signedRank returns the two-sided probability of Wilcoxon's signed-rank test that
// ratios have a centre other than 1: of all ways to turn some of them over, how many have
// a sum of ranks as far from the middle. Ratios of 1 are left out; equal ones share their
// ranks.
func signedRank(ratios []float64) float64 {
	var logs []float64
	for _, r := range ratios {
		if r != 1 {
			logs = append(logs, math.Log(r))
		}
	}
	slices.SortFunc(logs, func(a, b float64) int { return cmp.Compare(math.Abs(a), math.Abs(b)) })
	n := len(logs)
	ways := []float64{1} // shares of them, by twice the sum of positive ranks
	sum := 0
	for i := 0; i < n; {
		j := i + 1
		for j < n && math.Abs(logs[j]) == math.Abs(logs[i]) {
			j++
		}
		rank := i + 1 + j // twice the mean of i+1 to j
		for ; i < j; i++ {
			if logs[i] > 0 {
				sum += rank
			}
			with := make([]float64, len(ways)+rank)
			for k, w := range ways {
				with[k] += w / 2
				with[k+rank] += w / 2
			}
			ways = with
		}
	}
	p := 0.0
	most := n * (n + 1)
	for k, w := range ways {
		if abs(2*k-most) >= abs(2*sum-most) {
			p += w
		}
	}
	return min(p, 1)
}

func abs(x int) int { return max(x, -x) }

// holm fills in PHolm: the k-th smallest of n probabilities, from 0, counts n-k times,
// and never less than the one before it.
func holm(all []Difference, paired bool) {
	order := make([]*Difference, len(all))
	for i := range all {
		order[i] = &all[i]
		if order[i].PHolm = all[i].PU; paired {
			order[i].PHolm = all[i].PSigned
		}
	}
	slices.SortFunc(order, func(a, b *Difference) int { return cmp.Compare(a.PHolm, b.PHolm) })
	least := 0.0
	for k, d := range order {
		least = max(least, min(1, d.PHolm*float64(len(all)-k)))
		d.PHolm = least
	}
}
