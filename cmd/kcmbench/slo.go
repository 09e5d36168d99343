package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/bench/judge"
)

const aboutSLO = `kcmbench slo looks for the highest rate at which a server meets a target of latency:

  kcmbench slo -p99 500us -arrival poisson
  kcmbench slo -p50 100us -p99.9 2ms -target 10.0.0.2:7000 -duration 10s -json slo.json
  kcmbench slo -p99 500us -service bimodal:10us,2ms,1% -workers 4 -order=false

What the words mean:
  trial     one run in an open loop: messages are sent at times fixed beforehand, and
            latency counts from those, so that a server that stops cannot hide it
  held      the trial kept every limit given, lost nothing, and the generator was not
            late by its own fault
  missed    a limit was passed;  lost: a message was lost, changed or duplicated;
  behind    the generator did not keep its schedule, so nothing is known of the server
  rate      the highest rate of which most of the -repeats trials held. A rate of which
            a trial was lost fails.
  interval  from a rate of which all trials held to one of which none did: the rate that
            holds every other time lies between, with the confidence named
  ideal     with -service: what a queue would hold that takes no time but the work
            (kcmbench ideal), on as many workers

From -from the search goes up or down by 4 until a rate holds and a higher one does not,
and then halves what is between down to -resolution: about 50 trials. Each lasts -warmup
and -duration. The limits need messages beyond them to be known at all: rates at which a
trial has fewer than 10 are not tried.

Exit status 1 means that no rate meets the target, or that the generator was the limit
and not the server. The other flags are those of run, but for -rate.

The keys of the JSON that -json writes:
  schema (1), targets [{percentile, limit_us}], rate, low, high (0: none up to -to),
  confidence, limit (what failed above: missed, lost, behind; held: nothing up to -to),
  why, failure, ideal {workers, rate, low, high}, rates [{rate, held, trials}],
  trials [{rate, finding, why, figures}]; figures is the JSON of run.

Flags:`

// sloReport is the JSON of slo.
type sloReport struct {
	Schema  int         `json:"schema"`
	Targets []sloTarget `json:"targets"`
	judge.Result
	Failure string    `json:"failure,omitempty"`
	Ideal   *sloIdeal `json:"ideal,omitempty"`
}

type sloTarget struct {
	Percentile  string  `json:"percentile"`
	LimitMicros float64 `json:"limit_us"`
}

type sloIdeal struct {
	Workers int     `json:"workers"`
	Rate    float64 `json:"rate"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
}

// beyond is how many messages of a trial have to be beyond a percentile.
const beyond = 10

func runSLO(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c bench.Config
	var o judge.Options
	var file string
	f := flag.NewFlagSet("slo", flag.ContinueOnError)
	most := make([]time.Duration, len(percentiles))
	for i, p := range percentiles {
		f.DurationVar(&most[i], p.name, 0, "longest `time` that the percentile may be")
	}
	f.Float64Var(&o.Start, "from", 1000, "first `rate` to try")
	f.Float64Var(&o.Max, "to", 1e9, "highest `rate` to try")
	f.Float64Var(&o.Resolution, "resolution", 0.01, "ratio of neighbouring rates, less 1")
	f.IntVar(&o.Repeats, "repeats", 5, "trials that decide on a rate, an odd number")
	workers := f.Int("ideal-workers", 0, "workers of the ideal queue, with -service; 0: those of the server in this process, or its loops")
	f.StringVar(&file, "json", "", "write all trials to `file` as JSON too")
	complete := defineConfig(f, &c)
	if err := parse(f, args, stdout, aboutSLO); err != nil {
		return err
	}
	limits, err := sloLimits(f, most)
	if err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return &usageError{err}
	}
	c.Rate = o.Start // any: the load is an open loop
	if err := complete(); err != nil {
		return err
	}
	if o.Min, err = leastRate(&o, limits, c.Duration); err != nil {
		return err
	}
	o.Start = max(o.Start, o.Min)
	rep := &sloReport{Schema: bench.Schema}
	for _, l := range limits {
		rep.Targets = append(rep.Targets, sloTarget{l.name, float64(l.most) / 1e3})
	}
	say := io.Discard
	if isTerminal(stderr) {
		say = stderr
	}
	res, err := judge.Search(ctx, o, sloTrial(c, limits, say))
	if res == nil {
		return err
	}
	rep.Result = *res
	if errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	if err == nil && res.Limit == judge.Behind {
		err = fmt.Errorf("the generator was the limit and not the server, which may hold more than %.0f/s: %s", res.Rate, res.Why)
	}
	if err != nil {
		rep.Failure = err.Error()
	}
	if len(res.Trials) > 0 {
		if *workers == 0 {
			*workers = workersOf(res.Trials[0].Figures.(*bench.Report))
		}
		rep.Ideal = idealSLO(ctx, c.Workload, limits, *workers)
	}
	return write(err, stdout, file, rep, rep.writeText)
}

// sloLimits returns those that were given.
func sloLimits(f *flag.FlagSet, most []time.Duration) ([]bound, error) {
	var limits []bound
	var wrong error
	f.Visit(func(set *flag.Flag) {
		i := slices.IndexFunc(percentiles, func(p percentile) bool { return p.name == set.Name })
		switch {
		case set.Name == "rate":
			wrong = &usageError{errors.New("-rate is what slo looks for; -from and -to say where")}
		case set.Name == "replay":
			wrong = &usageError{errors.New("-replay has a rate of its own, and slo looks for one")}
		case i < 0:
		case most[i] <= 0:
			wrong = &usageError{fmt.Errorf("-%s %v: want a positive time", set.Name, most[i])}
		default:
			limits = append(limits, bound{percentiles[i], most[i]})
		}
	})
	if wrong == nil && len(limits) == 0 {
		wrong = &usageError{errors.New("no target: want at least one of -p50, -p90, -p99, -p99.9, -p99.99")}
	}
	return limits, wrong
}

// leastRate returns the rate at which a trial has just enough messages beyond each
// limit.
func leastRate(o *judge.Options, limits []bound, d time.Duration) (float64, error) {
	least := 0.0
	for _, l := range limits {
		least = max(least, math.Ceil(beyond/(1-l.share)/d.Seconds()-1e-6))
	}
	if least > o.Max {
		return 0, &usageError{fmt.Errorf("-duration %v: too short for these limits: below %.0f/s fewer than %d messages of a trial are beyond them", d, least, beyond)}
	}
	return least, nil
}

// sloTrial returns the trial of a rate: a run, with other arrivals each time.
func sloTrial(c bench.Config, limits []bound, say io.Writer) judge.Trial {
	return func(ctx context.Context, rate float64, n int) (judge.Outcome, error) {
		c := c
		c.Rate, c.Seed = rate, c.Seed+uint64(n)
		rep, err := once(ctx, c)
		if err != nil {
			return judge.Outcome{}, err
		}
		o := finding(rep, limits, c.AnyVerdict)
		fmt.Fprintf(say, "trial %d: %.0f/s %s %s\n", n+1, rate, o.Finding, o.Why)
		return o, nil
	}
}

// idealSample is how many messages each trial of an ideal queue has at most.
const idealSample = 200_000

// meanService returns the work of a message, of a sample; 0 if there is none.
func meanService(w bench.Workload) time.Duration {
	w.Rate, w.Warmup, w.Duration, w.Profile = 1000, 0, 10*time.Second, bench.Profile{}
	jobs, err := w.Jobs()
	if err != nil {
		return 0
	}
	var sum time.Duration
	for _, j := range jobs.List {
		sum += j.Service
	}
	return sum / time.Duration(len(jobs.List))
}

// idealSLO is the same search on a queue that is simulated. It is nil if messages are no
// work, or that does not find anything.
func idealSLO(ctx context.Context, w bench.Workload, limits []bound, workers int) *sloIdeal {
	work := meanService(w)
	if work <= 0 {
		return nil
	}
	capacity := float64(workers) / work.Seconds()
	steady := w.Profile == bench.Profile{}
	res, err := judge.Search(ctx, judge.Options{Start: capacity / 2, Min: capacity / 1e4, Max: min(2*capacity, 1e9), Repeats: 3},
		func(_ context.Context, rate float64, n int) (judge.Outcome, error) {
			w := w
			w.Rate, w.Seed = rate, w.Seed+uint64(n)
			if steady { // else shorter is another load
				w.Warmup = min(w.Warmup, time.Duration(idealSample/10/rate*1e9))
				w.Duration = min(w.Duration, time.Duration(idealSample/rate*1e9))
			}
			jobs, err := w.Jobs()
			if err != nil {
				return judge.Outcome{}, err
			}
			sojourn := jobs.Ideal(workers, bench.FCFS).Disciplines[0].Sojourn
			if why := over(limits, &sojourn); why != "" {
				return judge.Outcome{Finding: judge.Missed, Why: why}, nil
			}
			return judge.Outcome{}, nil
		})
	if err != nil {
		return nil
	}
	return &sloIdeal{Workers: workers, Rate: res.Rate, Low: res.Low, High: res.High}
}

func (r *sloReport) writeText(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	for _, t := range r.Targets {
		line("target", "%s at most %v", t.Percentile, time.Duration(t.LimitMicros*1e3))
	}
	fmt.Fprintf(&b, "\n%12s %7s", "messages/s", "held")
	for _, t := range r.Targets {
		fmt.Fprintf(&b, " %11s", t.Percentile+" us")
	}
	b.WriteByte('\n')
	for _, rate := range r.Rates {
		fmt.Fprintf(&b, "%12.0f %7s", rate.Rate, fmt.Sprintf("%d/%d", rate.Held, rate.Trials))
		for _, t := range r.Targets {
			fmt.Fprintf(&b, " %11.1f", median(r.figures(rate.Rate, t.Percentile)))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	switch {
	case r.Rate == 0:
		line("rate", "none met the target")
	case r.Low == 0 && r.High == 0 || r.Confidence == 0:
		line("rate", "%.0f messages/s, no interval", r.Rate)
	case r.Low == 0:
		line("rate", "%.0f messages/s, the true one below %.0f (%.1f %%)", r.Rate, r.High, 100*r.Confidence)
	case r.High == 0:
		line("rate", "%.0f messages/s, the true one above %.0f (%.1f %%)", r.Rate, r.Low, 100*r.Confidence)
	default:
		line("rate", "%.0f messages/s, the true one in %.0f to %.0f (%.1f %%)", r.Rate, r.Low, r.High, 100*r.Confidence)
	}
	if r.Why != "" {
		line("above it", "%s: %s", r.Limit, r.Why)
	}
	if i := r.Ideal; i != nil {
		line("ideal", "%.0f messages/s first come, first served, workers: %d; the rate is %.0f %% of it", i.Rate, i.Workers, 100*r.Rate/i.Rate)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// figures returns a percentile of all trials of a rate.
func (r *sloReport) figures(rate float64, name string) (all []float64) {
	i := slices.IndexFunc(percentiles, func(p percentile) bool { return p.name == name })
	for _, t := range r.Trials {
		if rep, ok := t.Figures.(*bench.Report); ok && t.Rate == rate {
			all = append(all, percentiles[i].of(&rep.Latency))
		}
	}
	return all
}
