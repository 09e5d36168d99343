package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// Rates that are looked at, messages per second, and how close the answer is.
const (
	lowest    = 500
	highest   = 128_000
	precision = 1.05 // the next higher rate that was tried is at most this factor away
	edge      = 1.5  // closer than that, three trials decide instead of one
)

// sloRow is what one server holds.
type sloRow struct {
	Server string  `json:"server"`
	Rate   float64 `json:"messages_per_second"` // 0: not even the lowest
	Trials []trial `json:"trials"`
}

// trial is one run of a search.
type trial struct {
	Rate     float64 `json:"messages_per_second"`
	P99      float64 `json:"p99_us"`                // of quick messages; 0 if it fell behind
	Lateness float64 `json:"generator_p99_us"`      // what of that is the generator's
	Behind   bool    `json:"fell_behind,omitempty"` // messages were not answered in time
}

type sloResult struct {
	Rows []sloRow `json:"rows"`
}

func measureSLO(ctx context.Context, r *rig.Rig, rep *report, limit, least time.Duration, servers []rig.Server) (*sloResult, error) {
	res := new(sloResult)
	for _, s := range servers {
		row := sloRow{Server: s.Name}
		rate, err := search(func(rate float64) (bool, error) {
			t, err := try(ctx, r, s, rate, least, len(row.Trials)+1)
			if err != nil {
				return false, err
			}
			row.Trials = append(row.Trials, t)
			return !t.Behind && t.P99 <= micros(limit), nil
		})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(r.Progress, "slo: %s: %v\n", s.Name, err)
			rep.Failures = append(rep.Failures, rig.Failure{Config: "slo", Server: s.Name, Error: err.Error()})
			continue
		}
		fmt.Fprintf(r.Progress, "slo: %s: %.0f messages/s after %d trials\n", s.Name, rate, len(row.Trials))
		row.Rate = rate
		res.Rows = append(res.Rows, row)
	}
	return res, nil
}

// try runs one trial.
func try(ctx context.Context, r *rig.Rig, s rig.Server, rate float64, least time.Duration, seed int) (trial, error) {
	// A p99 should rest on some thousand messages.
	duration := min(max(least, time.Duration(4000/rate*float64(time.Second))), 2*least)
	args := append(load(conns, rate, mixed, seed), "-service-mode", "auto", "-order=false",
		"-duration", duration.String(), "-warmup", (least / 5).String())
	run, err := r.Once(ctx, s, args...)
	var behind *rig.BehindError
	if errors.As(err, &behind) {
		return trial{Rate: rate, Behind: true}, nil
	}
	if err != nil {
		return trial{}, fmt.Errorf("%.0f messages/s: %w", rate, err)
	}
	f, err := figuresOf(&run)
	if err != nil {
		return trial{}, err
	}
	t := trial{Rate: rate, P99: f.P99}
	if run.Lateness != nil {
		t.Lateness = run.Lateness.P99
	}
	return t, nil
}

// search returns the highest rate for which holds says so, 0 if that is below
// the lowest. It halves the interval, on a scale of ratios; near the edge, and at
// the highest, the majority of three trials counts. The answer itself is tried
// again, and lowered in growing steps until it holds, for a trial far from the
// edge may have been wrong.
func search(holds func(rate float64) (bool, error)) (float64, error) {
	majority := func(rate float64) (bool, error) {
		yes, no := 0, 0
		for yes < 2 && no < 2 {
			ok, err := holds(rate)
			if err != nil {
				return false, err
			}
			if ok {
				yes++
			} else {
				no++
			}
		}
		return yes == 2, nil
	}
	if ok, err := majority(highest); err != nil || ok {
		return highest, err
	}
	lo, hi := float64(lowest), float64(highest)
	for hi/lo > precision {
		try := holds
		if hi/lo < edge {
			try = majority
		}
		rate := math.Round(math.Sqrt(lo * hi))
		ok, err := try(rate)
		if err != nil {
			return 0, err
		}
		if ok {
			lo = rate
		} else {
			hi = rate
		}
	}
	for step := precision; ; step *= step {
		ok, err := majority(lo)
		switch {
		case err != nil:
			return 0, err
		case ok:
			return lo, nil
		case lo == lowest:
			return 0, nil
		}
		lo = max(lowest, math.Round(lo/step))
	}
}

func (res *sloResult) markdown(limit float64) string {
	cells := [][]string{{"server", "messages/s", "trials", "generator's part of p99, us"}}
	for _, r := range res.Rows {
		rate := fmt.Sprintf("%.0f", r.Rate)
		switch r.Rate {
		case 0:
			rate = fmt.Sprintf("under %d", lowest)
		case highest:
			rate = fmt.Sprintf("%d or more", highest)
		}
		late := make(rig.Rounds)
		for i, t := range r.Trials {
			if t.Rate == r.Rate && !t.Behind {
				late[i] = t.Lateness
			}
		}
		part := "-"
		if len(late) > 0 {
			part = fmt.Sprintf("%.0f", late.Median())
		}
		cells = append(cells, []string{r.Server, rate, fmt.Sprint(len(r.Trials)), part})
	}
	return rig.Table(cells) + fmt.Sprintf("\nThe highest rate at which the p99 of quick messages is at most %g us, found by bisection to %.0f %%.\n",
		limit, 100*(precision-1))
}
