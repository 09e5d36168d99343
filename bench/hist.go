package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Range and precision of recorded times: from one nanosecond to one minute, three
// significant digits.
const (
	histLowest  = 1
	histHighest = 60_000_000_000
	histDigits  = 3
)

// Hist records times in nanoseconds. It belongs to one thread; Merge brings those
// of several together at the end. Maximum and mean are exact, percentiles have
// three digits.
type Hist struct {
	h    *hdrhistogram.Histogram
	sum  float64
	max  int64
	over int64
}

// NewHist returns an empty histogram.
func NewHist() *Hist { return &Hist{h: hdrhistogram.New(histLowest, histHighest, histDigits)} }

// Record adds one time. One over a minute counts as a minute in the percentiles,
// so that ranks stay right, and in Over; one below zero counts as zero.
func (h *Hist) Record(ns int64) {
	ns = max(ns, 0)
	h.max = max(h.max, ns)
	h.sum += float64(ns)
	if ns > histHighest {
		h.over++
		ns = histHighest
	}
	_ = h.h.RecordValue(ns) // in range
}

// Count returns the number of recorded times, Over how many were beyond the range.
func (h *Hist) Count() int64 { return h.h.TotalCount() }

// Over returns how many of the recorded times were longer than a minute.
func (h *Hist) Over() int64 { return h.over }

// Reset makes the histogram empty.
func (h *Hist) Reset() {
	h.h.Reset()
	h.sum, h.max, h.over = 0, 0, 0
}

// Merge adds the times of from. The error, that some did not fit, means that the
// two are of different ranges.
func (h *Hist) Merge(from *Hist) error {
	h.max = max(h.max, from.max)
	h.sum += from.sum
	h.over += from.over
	if n := h.h.Merge(from.h); n > 0 {
		return fmt.Errorf("merge histograms: %d values did not fit", n)
	}
	return nil
}

// Quantiles sums a histogram up, in microseconds.
type Quantiles struct {
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	P9999 float64 `json:"p99_99"`
	Max   float64 `json:"max"`
	Mean  float64 `json:"mean"`
}

// quantileColumns is the heading of columns.
const quantileColumns = "      p50       p90       p99     p99.9    p99.99       max      mean"

// columns are the figures for a table.
func (q *Quantiles) columns() string {
	return fmt.Sprintf("%9.1f %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f", q.P50, q.P90, q.P99, q.P999, q.P9999, q.Max, q.Mean)
}

// Quantiles returns the summary, zeros if nothing was recorded.
func (h *Hist) Quantiles() Quantiles {
	n := h.Count()
	if n == 0 {
		return Quantiles{}
	}
	at := func(ppm int64) float64 { return float64(h.at(ppm)) / 1e3 }
	return Quantiles{
		P50: at(500_000), P90: at(900_000), P99: at(990_000), P999: at(999_000), P9999: at(999_900),
		Max: float64(h.max) / 1e3, Mean: h.sum / float64(n) / 1e3,
	}
}

// at returns a percentile in millionths, by the nearest rank: the smallest time that so
// many of all times do not exceed. So do HdrHistogram's Java and JavaScript;
// hdrhistogram-go rounds the rank, which is one less in half of all cases. So the
// percentile that it is asked for is that of the rank.
func (h *Hist) at(ppm int64) int64 {
	n := h.Count()
	rank := max(1, (n*ppm+999_999)/1_000_000)
	// A bucket's upper end may lie beyond the largest value in it.
	return min(h.h.ValueAtPercentile(100*float64(rank)/float64(n)), h.max)
}

// quantilesOf sums times up exactly, each percentile by the nearest rank. It sorts
// them.
func quantilesOf(times []time.Duration) Quantiles {
	n := len(times)
	if n == 0 {
		return Quantiles{}
	}
	slices.Sort(times)
	sum := 0.0
	for _, t := range times {
		sum += float64(t)
	}
	at := func(ppm int) float64 { return float64(times[max(0, (n*ppm+999_999)/1_000_000-1)]) / 1e3 }
	return Quantiles{
		P50: at(500_000), P90: at(900_000), P99: at(990_000), P999: at(999_000), P9999: at(999_900),
		Max: float64(times[n-1]) / 1e3, Mean: sum / float64(n) / 1e3,
	}
}
