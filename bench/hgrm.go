package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Rank is a point of a distribution: so many times, and such a share of all, are no longer
// than Micros.
type Rank struct {
	Micros float64
	Share  float64 // 0 to 1
	Count  int64
}

// perHalving is how many ranks a distribution has for each halving of the distance to
// 100 %.
const perHalving = 5

// Distribution returns the ranks of the histogram, from the shortest time to the longest,
// which comes with a Share of 1; none if it is empty.
func (h *Hist) Distribution() (ranks []Rank) {
	if h.Count() == 0 {
		return nil
	}
	for _, s := range h.h.CumulativeDistributionWithTicks(perHalving) {
		ranks = append(ranks, Rank{float64(s.ValueAt) / 1e3, s.Quantile / 100, s.Count})
	}
	return ranks
}

// WriteHgrm writes the percentiles as the HdrHistogram project's tools print them and
// plotters read them: value, percentile as a fraction, number of times up to it, and
// 1/(1-percentile), after a line of names and before lines that begin with #. Values
// are in microseconds.
//
// The layout is that of outputPercentileDistribution in HdrHistogram's Java and
// JavaScript; hdrhistogram-go prints another, with fewer digits.
func (h *Hist) WriteHgrm(w io.Writer) error {
	const unit = 1e3
	var b strings.Builder
	b.WriteString("       Value     Percentile TotalCount 1/(1-Percentile)\n\n")
	ranks := h.Distribution()
	if len(ranks) == 0 {
		ranks = []Rank{{Share: 1}}
	}
	for _, r := range ranks {
		fmt.Fprintf(&b, "%12.3f %2.12f %10d", r.Micros, math.Round(r.Share*1e12)/1e12, r.Count) // halves up, as those do
		if r.Share < 1 {
			fmt.Fprintf(&b, " %14.2f", 1/(1-r.Share))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", h.h.Mean()/unit, h.h.StdDev()/unit)
	fmt.Fprintf(&b, "#[Max     = %12.3f, Total count    = %12d]\n", float64(h.h.Max())/unit, h.Count())
	buckets, sub := geometry()
	fmt.Fprintf(&b, "#[Buckets = %12d, SubBuckets     = %12d]\n", buckets, sub)
	_, err := io.WriteString(w, b.String())
	return err
}

// geometry returns how many buckets a Hist has, and steps in a bucket: 2048 steps tell
// times apart that differ in the third digit, and each further bucket doubles the range.
func geometry() (buckets, steps int) {
	steps = 2048
	for reach := int64(steps); reach <= histHighest; reach *= 2 {
		buckets++
	}
	return buckets + 1, steps
}
