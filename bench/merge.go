package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// mergeRule says how a key of a Report comes to be in the sum of several.
type mergeRule uint8

const (
	mergeSame mergeRule = iota // must be the same in all
	mergeSum                   // is added up
	mergeOwn                   // is made of the others, or is each one's own
)

// mergeRules has a rule for every key of the JSON but those that must be the same.
var mergeRules = map[string]mergeRule{
	"messages": mergeSum, "messages_total": mergeSum, "messages_per_second": mergeSum, "mb_per_second": mergeSum,
	"errors": mergeSum, "lost": mergeSum, "unsent": mergeSum, "corrupt": mergeSum, "duplicate": mergeSum,
	"broken": mergeSum, "out_of_range": mergeSum, "reconnects": mergeSum, "conns": mergeSum, "idle": mergeSum, "rate": mergeSum,

	"seconds": mergeOwn, "failure": mergeOwn, "latency_us": mergeOwn, "latency_actual_us": mergeOwn, "lateness_us": mergeOwn,
	"connect_us": mergeOwn, "classes": mergeOwn, "seed": mergeOwn, "env": mergeOwn, "server": mergeOwn, "policy": mergeOwn,
	"workers": mergeOwn, "generator": mergeOwn, "allocs_per_message": mergeOwn, "verdict": mergeOwn,
	"began_unix_ms": mergeOwn, "clock": mergeOwn, "series": mergeOwn, "histograms": mergeOwn, "parts": mergeOwn,
}

// Part is a generator's share of a merged Report.
type Part struct {
	Name            string      `json:"name"`
	Messages        int64       `json:"messages"`
	PerSecond       float64     `json:"messages_per_second"`
	Errors          int64       `json:"errors"`
	Conns           int         `json:"conns"`
	Rate            float64     `json:"rate"`
	Seed            uint64      `json:"seed"`
	Latency         Quantiles   `json:"latency_us"`
	Lateness        *Quantiles  `json:"lateness_us,omitempty"`
	Verdict         Verdict     `json:"verdict"`
	Failure         string      `json:"failure,omitempty"`
	BeganUnixMillis int64       `json:"began_unix_ms"`
	Clock           *Clock      `json:"clock,omitempty"`
	Env             Env         `json:"env"`
	Generator       *LoopReport `json:"generator"`
}

// MergeReports adds up reports of generators that sent parts of one load at the same time:
// counts, rates and connections are added, histograms too, and percentiles are those of
// the sums. Parts has what each had for itself; the environment is that of the first.
// There is no series: percentiles of intervals do not add up, logs do (see MergeLogs).
//
// It refuses reports of different workloads, of runs that began more than spread apart, of
// generators that brought a server of their own, and of equal seeds, which send the same
// messages at the same times. It checks that each histogram of latencies has as many times
// as messages were counted, and the sum as many as its parts.
func MergeReports(names []string, reports []*Report, spread time.Duration) (*Report, error) {
	if len(reports) < 2 || len(names) != len(reports) {
		return nil, errors.New("merge: want two reports or more")
	}
	first := reports[0]
	low, high := first.BeganUnixMillis, first.BeganUnixMillis
	for i, r := range reports {
		if err := mergeable(first, r); err != nil {
			return nil, fmt.Errorf("merge: %s: %w", names[i], err)
		}
		if n := r.Histograms[LatencyName].Count(); n != r.Messages {
			return nil, fmt.Errorf("merge: %s: %d messages, and %d in the histogram of latencies", names[i], r.Messages, n)
		}
		for k, o := range reports[:i] {
			if o.Seed == r.Seed {
				return nil, fmt.Errorf("merge: %s and %s: both have seed %d, so they sent the same", names[k], names[i], r.Seed)
			}
		}
		low, high = min(low, r.BeganUnixMillis), max(high, r.BeganUnixMillis)
	}
	if d := time.Duration(high-low) * time.Millisecond; d > spread {
		return nil, fmt.Errorf("merge: they began up to %v apart, allowed are %v: no load of one time", d, spread)
	}
	sum := *first
	sum.Failure, sum.Series, sum.Verdict, sum.BeganUnixMillis = "", nil, Verdict{Valid: true}, low
	for i, r := range reports {
		sum.addPart(names[i], r, i == 0)
	}
	if err := sum.addHistograms(reports); err != nil {
		return nil, err
	}
	return &sum, nil
}

// mergeable says why two reports are no parts of one load.
func mergeable(a, b *Report) error {
	switch {
	case a.Server != nil || b.Server != nil:
		return errors.New("it had a server in its own process")
	case a.Histograms[LatencyName] == nil || b.Histograms[LatencyName] == nil:
		return errors.New("no histogram of latencies")
	case (a.Rate > 0) != (b.Rate > 0):
		return errors.New("other workload: one is an open loop, another a closed one")
	}
	x, err := keysOf(a)
	if err != nil {
		return err
	}
	y, err := keysOf(b)
	if err != nil {
		return err
	}
	keys := maps.Clone(x)
	maps.Copy(keys, y)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if mergeRules[k] == mergeSame && !bytes.Equal(x[k], y[k]) {
			return fmt.Errorf("other workload: %s is %s, and %s in the first", k, absent(y[k]), absent(x[k]))
		}
	}
	return nil
}

func keysOf(r *Report) (keys map[string]json.RawMessage, err error) {
	b, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(b, &keys)
	}
	return keys, err
}

func absent(b json.RawMessage) string {
	if b == nil {
		return "absent"
	}
	return string(b)
}

// addPart adds what is added up, but for histograms, and keeps the rest.
func (r *Report) addPart(name string, o *Report, first bool) {
	if !first {
		r.Messages += o.Messages
		r.MessagesTotal += o.MessagesTotal
		r.PerSecond += o.PerSecond
		r.MBPerSecond += o.MBPerSecond
		r.Errors += o.Errors
		r.Lost += o.Lost
		r.Unsent += o.Unsent
		r.Corrupt += o.Corrupt
		r.Duplicate += o.Duplicate
		r.Broken += o.Broken
		r.OutOfRange += o.OutOfRange
		r.Reconnects += o.Reconnects
		r.Conns += o.Conns
		r.Idle += o.Idle
		r.Rate += o.Rate
		r.Seconds = max(r.Seconds, o.Seconds)
		r.Generator = r.Generator.plus(&o.Generator, r.Messages-o.Messages, o.Messages)
		r.AllocsPerMessage = weighted(r.AllocsPerMessage, o.AllocsPerMessage, r.Messages-o.Messages, o.Messages)
		if o.Clock == nil || r.Clock != nil && o.Clock.MaxError > r.Clock.MaxError {
			r.Clock = o.Clock // the worst
		}
	}
	if o.Failure != "" {
		r.Failure = strings.TrimPrefix(r.Failure+"; "+name+": "+o.Failure, "; ")
	}
	for _, why := range o.Verdict.Reasons {
		r.Verdict.Reasons = append(r.Verdict.Reasons, name+": "+why)
	}
	r.Verdict.Valid = r.Verdict.Valid && o.Verdict.Valid
	r.Parts = append(r.Parts, Part{
		Name: name, Messages: o.Messages, PerSecond: o.PerSecond, Errors: o.Errors, Conns: o.Conns, Rate: o.Rate, Seed: o.Seed,
		Latency: o.Latency, Lateness: o.Lateness, Verdict: o.Verdict, Failure: o.Failure,
		BeganUnixMillis: o.BeganUnixMillis, Clock: o.Clock, Env: o.Env, Generator: &o.Generator,
	})
}

// weighted is the mean of a and b, by the numbers of messages.
func weighted(a, b float64, n, m int64) float64 {
	if n+m == 0 {
		return 0
	}
	return (a*float64(n) + b*float64(m)) / float64(n+m)
}

// plus is the report of the loops of both: costs per message by their numbers, the
// busiest thread of either.
func (l LoopReport) plus(o *LoopReport, n, m int64) LoopReport {
	if o.demand() > l.demand() {
		l.Busy, l.Waiting = o.Busy, o.Waiting
	}
	l.Loops += o.Loops
	l.CPUs = slices.Concat(l.CPUs, o.CPUs)
	l.Notes = slices.Clone(l.Notes)
	for _, note := range o.Notes {
		if !slices.Contains(l.Notes, note) {
			l.Notes = append(l.Notes, note)
		}
	}
	if o.Backend != l.Backend {
		l.Backend = "mixed"
	}
	l.CPUNanosPerMessage = weighted(l.CPUNanosPerMessage, o.CPUNanosPerMessage, n, m)
	l.SyscallsPerMessage = weighted(l.SyscallsPerMessage, o.SyscallsPerMessage, n, m)
	l.TurnsPerMessage = weighted(l.TurnsPerMessage, o.TurnsPerMessage, n, m)
	l.SleepsPerMessage = weighted(l.SleepsPerMessage, o.SleepsPerMessage, n, m)
	return l
}

// addHistograms adds up the histograms, counts them, and sums them up.
func (r *Report) addHistograms(reports []*Report) error {
	r.Histograms = make(map[string]*Hist)
	want := make(map[string]int64)
	for _, o := range reports {
		for name, h := range o.Histograms {
			if r.Histograms[name] == nil {
				r.Histograms[name] = NewHist()
			}
			if err := r.Histograms[name].Merge(h); err != nil {
				return fmt.Errorf("merge: %s: %w", name, err)
			}
			want[name] += h.Count()
		}
	}
	for name, h := range r.Histograms {
		if h.Count() != want[name] {
			return fmt.Errorf("merge: %s: %d times of %d", name, h.Count(), want[name])
		}
	}
	r.Latency = r.Histograms[LatencyName].Quantiles()
	sum := func(name string, to **Quantiles) {
		if h := r.Histograms[name]; h != nil {
			q := h.Quantiles()
			*to = &q
		}
	}
	sum(ActualName, &r.LatencyActual)
	sum(LatenessName, &r.Lateness)
	sum(ConnectName, &r.Connect)
	r.Classes = slices.Clone(r.Classes)
	for i := range r.Classes {
		c := &r.Classes[i]
		if h := r.Histograms[classPrefix+c.Name]; h != nil {
			c.Messages, c.Latency = h.Count(), h.Quantiles()
		}
	}
	return nil
}
