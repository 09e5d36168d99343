package page

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench"
)

// Target is a latency that is to be met.
type Target struct {
	Percentile string // p50, p90, p99, p99_9 or p99_99
	Latency    time.Duration
}

// Found is what a search for the highest rate that meets the target came to: it is between
// two rates, in messages per second; 0 is a side that was not found.
type Found struct{ Low, High float64 }

// percentile returns one of q's by its name, and false for a name it has not.
func percentile(q *bench.Quantiles, name string) (float64, bool) {
	v, ok := map[string]float64{"p50": q.P50, "p90": q.P90, "p99": q.P99, "p99_9": q.P999, "p99_99": q.P9999}[name]
	return v, ok
}

// throughput draws latency against throughput for settings with runs at several rates,
// nil if there are none.
func throughput(all []*group, target *Target, found []Found, workers int) *figure {
	name := "p99"
	if target != nil {
		name = target.Percentile
	}
	f := &figure{ID: "throughput", Title: name + " against throughput", xName: "messages per second", yName: name + " of latency"}
	ideals := 0
	for _, g := range withoutLoad(all) {
		each := line{colour: g.colour, dots: true, loose: true}
		l := line{label: cmp.Or(g.label, "measured"), colour: g.colour}
		best := line{label: cmp.Or(g.label, "measured") + ": ideal", colour: g.colour, dashed: true, dots: true}
		rates := make(map[float64][]point)
		for _, run := range g.runs {
			r := run.Report
			v, _ := percentile(&r.Latency, name)
			p := point{r.PerSecond, v, fmt.Sprintf("%s: %s at %s/s", run.Name, micros(v), count(r.PerSecond))}
			if !r.Verdict.Valid {
				p.name += ", not valid"
			}
			rates[offered(r)] = append(rates[offered(r)], p)
			each.points = append(each.points, p)
		}
		if len(rates) < 2 {
			continue
		}
		for _, rate := range slices.Sorted(maps.Keys(rates)) {
			l.points = append(l.points, middle(rates[rate]))
			if i := slices.IndexFunc(g.runs, func(r Run) bool { return offered(r.Report) == rate }); i >= 0 {
				if v, ok := ideal(g.runs[i].Report, name, workers); ok {
					best.points = append(best.points, point{rate, v, fmt.Sprintf("ideal: %s at %s/s", micros(v), count(rate))})
				}
			}
		}
		f.lines = append(f.lines, l, each)
		if len(best.points) > 0 {
			ideals++
			f.lines = append(f.lines, best)
		}
	}
	if f.empty() {
		return nil
	}
	x, y := values(f.lines)
	if target != nil {
		at := float64(target.Latency) / 1e3
		y = append(y, at)
		f.bounds = append(f.bounds, bound{at, fmt.Sprintf("target: %s %s", name, micros(at))})
	}
	f.x, f.y = linear(x, count), logarithmic(y, micros)
	for _, o := range found {
		f.spans = append(f.spans, span{o.Low, cmp.Or(o.High, f.x.high)})
	}
	if ideals > 0 {
		f.Note = "Ideal is the same load on as many workers, first come, first served, if nothing but the work took time."
	}
	if len(found) > 0 {
		f.Note = strings.TrimSpace(f.Note + " The band is where the highest rate that meets the target lies.")
	}
	return f
}

// middle is the point of the medians of runs at one rate. The line goes through those,
// not from run to run.
func middle(runs []point) point {
	x, y := make([]float64, len(runs)), make([]float64, len(runs))
	for i, p := range runs {
		x[i], y[i] = p.x, p.y
	}
	slices.Sort(x)
	slices.Sort(y)
	k := len(runs) / 2
	return point{x: (x[(len(x)-1)/2] + x[k]) / 2, y: (y[(len(y)-1)/2] + y[k]) / 2}
}

// ideal returns what a percentile of a run's load would be on an ideal queue, and false
// if the report does not say enough of the load, or it has no work. workers are those of
// the server, or 0 if the report has them.
func ideal(r *bench.Report, name string, workers int) (float64, bool) {
	if workers == 0 && r.Server != nil {
		workers = cmp.Or(r.Workers, r.Server.Loops)
	}
	w, ok := workload(r)
	if !ok || workers < 1 || workers > bench.MaxWorkers {
		return 0, false
	}
	jobs, err := w.Jobs()
	if err != nil {
		return 0, false
	}
	res := jobs.Ideal(workers, bench.FCFS)
	return percentile(&res.Disciplines[0].Sojourn, name)
}

// workload returns the Workload of a report as far as Jobs needs it, if each message has
// work and is sent at a time of a schedule that the report has.
func workload(r *bench.Report) (*bench.Workload, bool) {
	w := &bench.Workload{
		Conns: r.Conns, Depth: r.Depth, Size: r.Size, Rate: r.Rate, Seed: r.Seed, Unordered: !r.Order, Batch: r.Batch,
		Duration: time.Duration(r.Seconds * float64(time.Second)), Warmup: time.Duration(r.WarmupSeconds * float64(time.Second)),
	}
	if r.Rate == 0 || r.Replay != "" || len(r.Kinds) > 0 || r.Service == "0" {
		return nil, false
	}
	var errs [3]error
	w.Arrival, errs[0] = bench.ParseArrival(r.Arrival)
	w.Service, errs[1] = bench.ParseService(r.Service)
	if r.Profile != "" {
		w.Profile, errs[2] = bench.ParseProfile(r.Profile)
	}
	return w, errors.Join(errs[:]...) == nil
}
