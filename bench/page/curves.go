package page

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/kcm-go/kcm/bench"
)

// curve returns the percentiles of a histogram as points: x is 1/(1-percentile). The
// highest time is where as many are below it as there are in all.
func curve(h *bench.Hist) (points []point) {
	n := float64(h.Count())
	for _, r := range h.Distribution() {
		x := n
		if r.Share < 1 {
			x = min(1/(1-r.Share), n)
		}
		points = append(points, point{x: x, y: r.Micros})
	}
	return points
}

// percentiles draws the curves of all groups, or all histograms of a single one.
func percentiles(all []*group) *figure {
	f := &figure{ID: "percentiles", Title: "Latency by percentile", xName: "percentile", yName: "latency"}
	add := func(label string, colour int, h *bench.Hist) {
		if h != nil && h.Count() > 0 {
			f.lines = append(f.lines, line{label: label, colour: colour, step: true, points: curve(h)})
		}
	}
	if len(all) == 1 {
		g := all[0]
		names := slices.Sorted(maps.Keys(g.runs[0].Report.Histograms))
		slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
		for i, name := range names {
			add(spoken(name), i, g.histogram(name))
		}
	} else {
		for _, g := range all {
			add(g.label, g.colour, g.histogram(bench.LatencyName))
		}
	}
	x, y := values(f.lines)
	high := 10.0
	for _, v := range x {
		high = max(high, v)
	}
	f.x = scale{1, high * 1.1, true, nines, nil}
	for v := 1.0; v <= f.x.high; v *= 10 {
		f.x.marks = append(f.x.marks, v)
	}
	f.y = logarithmic(y, micros)
	return f
}

// rank orders the histograms of a run.
func rank(name string) int {
	if i := slices.Index([]string{bench.LatencyName, bench.ActualName, bench.LatenessName}, name); i >= 0 {
		return i
	}
	return math.MaxInt
}

// spoken says what a histogram is.
func spoken(name string) string {
	switch name {
	case bench.LatencyName:
		return "latency"
	case bench.ActualName:
		return "latency from sending"
	case bench.LatenessName:
		return "lateness of sending"
	case bench.ConnectName:
		return "time to connect"
	}
	return name
}

// overTime draws the intervals of a run, or the 99th percentile of the first run of each
// group.
func overTime(all []*group) []*figure {
	latency := &figure{ID: "time", Title: "Latency over time", xName: "time since measuring began", yName: "latency"}
	rate := &figure{ID: "rate", Title: "Throughput over time", xName: "time since measuring began", yName: "messages per second"}
	add := func(f *figure, label string, colour int, series []bench.Point, value func(*bench.Point) float64, name func(float64) string) {
		l := line{label: label, colour: colour, dots: len(series) <= 60}
		for i := range series {
			p := &series[i]
			v := value(p)
			if p.Messages == 0 && f == latency {
				v = math.NaN() // no reply in it
			}
			l.points = append(l.points, point{p.To, v, fmt.Sprintf("%s s to %s s: %s", digits(p.From), digits(p.To), name(v))})
		}
		l.points = thin(l.points)
		f.lines = append(f.lines, l)
	}
	p99 := func(p *bench.Point) float64 { return p.Latency.P99 }
	perSecond := func(p *bench.Point) float64 { return p.PerSecond }
	each := func(v float64) string { return count(v) + "/s" }
	for _, g := range all {
		r := g.runs[0]
		series := r.Report.Series
		if len(series) == 0 {
			continue
		}
		if len(all) == 1 {
			add(latency, "p50", 0, series, func(p *bench.Point) float64 { return p.Latency.P50 }, micros)
			add(latency, "p99", 1, series, p99, micros)
			add(latency, "p99.9", 2, series, func(p *bench.Point) float64 { return p.Latency.P999 }, micros)
			add(latency, "max", 3, series, func(p *bench.Point) float64 { return p.Latency.Max }, micros)
			add(rate, "", 0, series, perSecond, each)
			continue
		}
		add(latency, g.label, g.colour, series, p99, micros)
		add(rate, g.label, g.colour, series, perSecond, each)
	}
	if len(all) > 1 {
		latency.Title = "99th percentile over time"
		latency.Note = "Of each group, its first run."
	}
	for _, f := range []*figure{latency, rate} {
		x, y := values(f.lines)
		f.x = linear(x, func(v float64) string { return digits(v) + " s" })
		if f.y = linear(y, count); f == latency {
			f.y = logarithmic(y, micros)
		}
	}
	return []*figure{latency, rate}
}
