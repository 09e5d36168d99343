package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// hgrmTicks is how many lines WriteHgrm has for each halving of the distance to 100 %.
const hgrmTicks = 5

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
	n := h.Count()
	if n == 0 {
		fmt.Fprintf(&b, "%12.3f %2.12f %10d\n", 0.0, 1.0, 0)
	} else {
		for _, s := range h.h.CumulativeDistributionWithTicks(hgrmTicks) {
			part := math.Round(s.Quantile/100*1e12) / 1e12 // halves up, as those do
			fmt.Fprintf(&b, "%12.3f %2.12f %10d", float64(s.ValueAt)/unit, part, s.Count)
			if s.Quantile < 100 {
				fmt.Fprintf(&b, " %14.2f", 1/(1-s.Quantile/100))
			}
			b.WriteByte('\n')
		}
	}
	fmt.Fprintf(&b, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", h.h.Mean()/unit, h.h.StdDev()/unit)
	fmt.Fprintf(&b, "#[Max     = %12.3f, Total count    = %12d]\n", float64(h.h.Max())/unit, n)
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
