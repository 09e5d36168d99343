// Package stats has the two statistics the comparison rests on: the median of
// a sample and the bounds of the median of what the sample was drawn from.
//
// Both are free of assumptions about the distribution. Of n values drawn
// independently, the number below the true median is binomial with p = 1/2, so
// the k-th smallest and k-th largest value enclose it with a probability that
// depends on n and k alone.
package stats

import (
	"math"
	"slices"
)

// Median returns the median of x, NaN if x is empty. x is left as it is.
func Median(x []float64) float64 {
	n := len(x)
	if n == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(x))
	if n%2 == 1 {
		return s[n/2]
	}
	return s[n/2-1]/2 + s[n/2]/2
}

// Bounds returns the narrowest symmetric pair of order statistics of x that
// enclose the true median with at least the given confidence (0.95 for 95 %),
// and the confidence they do have. Fewer than six values cannot reach 95 %;
// lo and hi are then the extremes and got says how little they mean. For an
// empty x lo and hi are NaN.
func Bounds(x []float64, confidence float64) (lo, hi, got float64) {
	n := len(x)
	if n == 0 {
		return math.NaN(), math.NaN(), 0
	}
	s := slices.Sorted(slices.Values(x))
	k, got := 0, 1-2*tail(n, 0)
	for k+1 <= (n-1)/2 {
		c := 1 - 2*tail(n, k+1)
		if c < confidence {
			break
		}
		k, got = k+1, c
	}
	return s[k], s[n-1-k], max(got, 0)
}

// tail is the probability that at most k of n fair coins show heads.
func tail(n, k int) float64 {
	sum := 0.0
	for i := range k + 1 {
		sum += math.Exp(lnChoose(n, i) - float64(n)*math.Ln2)
	}
	return sum
}

func lnChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
