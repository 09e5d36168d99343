package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/bench/judge"
)

// percentile is one that a report has, by the name of its flag.
type percentile struct {
	name  string
	share float64 // of the messages, that took as long or less
	of    func(*bench.Quantiles) float64
}

var percentiles = []percentile{
	{"p50", 0.5, func(q *bench.Quantiles) float64 { return q.P50 }},
	{"p90", 0.9, func(q *bench.Quantiles) float64 { return q.P90 }},
	{"p99", 0.99, func(q *bench.Quantiles) float64 { return q.P99 }},
	{"p99.9", 0.999, func(q *bench.Quantiles) float64 { return q.P999 }},
	{"p99.99", 0.9999, func(q *bench.Quantiles) float64 { return q.P9999 }},
}

// bound is the most that a percentile may be.
type bound struct {
	percentile
	most time.Duration
}

// over names the first percentile that is over its limit, "" if none is.
func over(limits []bound, q *bench.Quantiles) string {
	for _, l := range limits {
		if us := l.of(q); us > float64(l.most)/1e3 {
			return fmt.Sprintf("%s %.1f us, over %v", l.name, us, l.most)
		}
	}
	return ""
}

// finding holds the report of an open loop against limits. The generator is at fault if
// the verdict says so, unless any verdict will do, and if messages took too long from
// their intended times but not from when they were sent: it was later than the limits
// allow, if not later than the verdict does. Connections that are made anew delay messages
// in the same way, and are the server's.
func finding(rep *bench.Report, limits []bound, anyVerdict bool) judge.Outcome {
	o := judge.Outcome{Figures: rep}
	late := over(limits, &rep.Latency)
	switch {
	case rep.Errors > rep.Unsent:
		o.Finding = judge.Lost
		o.Why = fmt.Sprintf("%d lost, %d corrupt, %d duplicate, %d connections ended", rep.Lost, rep.Corrupt, rep.Duplicate, rep.Broken)
	case !anyVerdict && !rep.Verdict.Valid:
		o.Finding = judge.Behind
		o.Why = strings.Join(rep.Verdict.Reasons, "; ")
	case late == "" && rep.Unsent == 0:
	case rep.Unsent > 0:
		o.Finding = judge.Missed
		o.Why = fmt.Sprintf("%d messages waited for the server until the end", rep.Unsent)
	case rep.Churn == "" && over(limits, rep.LatencyActual) == "":
		o.Finding = judge.Behind
		o.Why = fmt.Sprintf("%s, but not from sending: lateness p99 %.1f us", late, rep.Lateness.P99)
	default:
		o.Finding = judge.Missed
		o.Why = late
	}
	return o
}

// once does a run. That it failed is in its report; the error is that there is no
// report, or that it was interrupted.
func once(ctx context.Context, c bench.Config) (*bench.Report, error) {
	rep, err := bench.Run(ctx, c)
	switch {
	case ctx.Err() != nil:
		return nil, errInterrupted
	case rep == nil:
		return nil, wrongOption(err)
	}
	return rep, nil
}

var errInterrupted = errors.New("interrupted")

// workersOf returns how many messages the server of a run worked on at a time: 1 if that
// is unknown.
func workersOf(rep *bench.Report) int {
	if rep.Server == nil {
		return 1
	}
	if rep.Workers > 0 {
		return rep.Workers
	}
	return rep.Server.Loops
}

// median returns the middle of x, the upper one of two; 0 of none.
func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(x))[len(x)/2]
}

// write writes a report as text and, if a file is named, as JSON. It returns err, or
// else why it could not.
func write(err error, stdout io.Writer, file string, v any, text func(io.Writer) error) error {
	if e := text(stdout); err == nil {
		err = e
	}
	if file != "" {
		if e := writeJSON(file, v); err == nil && e != nil {
			err = fmt.Errorf("-json: %w", e)
		}
	}
	return err
}

func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
