package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// tailSample is what one server gave in one round.
type tailSample struct {
	Server  string  `json:"server"`
	Round   int     `json:"round"`
	With    figures `json:"with_slow"`
	Without figures `json:"without_slow"`
	Bound   float64 `json:"bound_us"` // of With.P99
}

// tailRow has medians over the rounds, and the ratios of base to the server.
type tailRow struct {
	Server   string     `json:"server"`
	Runs     int        `json:"runs"`
	With     figures    `json:"with_slow_median"`
	Without  figures    `json:"without_slow_median"`
	Bound    float64    `json:"bound_us_median"`
	P99Ratio *rig.Ratio `json:"p99_ratio,omitempty"`
	CPURatio *rig.Ratio `json:"cpu_ratio,omitempty"`
}

// tailResult is the part tail, or one.
type tailResult struct {
	Conns     int          `json:"conns"`
	IdealWait float64      `json:"ideal_p99_waiting_us_median"`
	Rows      []tailRow    `json:"rows"`
	Samples   []tailSample `json:"samples"`
}

// allowance is how much of what is unavoidable a p99 may be.
const allowance = 1.5

func measureTail(ctx context.Context, r *rig.Rig, rep *report, part string, conns int, rate float64, servers []rig.Server) (*tailResult, error) {
	res := &tailResult{Conns: conns}
	waits := make(rig.Rounds) // ideal p99 of waiting
	failures, err := r.Rounds(ctx, part, servers, func(round int, s rig.Server) error {
		seed := round + 1
		wait, ok := waits[round]
		if !ok {
			args := append(load(conns, rate, mixed, seed), r.Times()...)
			ideal, err := r.Ideal(ctx, append(args, "-workers", strconv.Itoa(workers), "-discipline", "fcfs")...)
			if err != nil {
				return err
			}
			q, err := ideal.Waiting(quickName)
			if err != nil {
				return err
			}
			wait = q.P99
			waits[round] = wait
		}
		one := tailSample{Server: s.Name, Round: round}
		for _, l := range []struct {
			service string
			to      *figures
		}{{mixed, &one.With}, {quickName, &one.Without}} {
			args := append(load(conns, rate, l.service, seed), r.Times()...)
			run, err := r.Once(ctx, s, append(args, "-service-mode", "auto", "-order=false")...)
			if err != nil {
				return fmt.Errorf("-service %s: %w", l.service, err)
			}
			if *l.to, err = figuresOf(&run); err != nil {
				return fmt.Errorf("-service %s: %w", l.service, err)
			}
		}
		one.Bound = allowance * (one.Without.P99 + wait)
		res.Samples = append(res.Samples, one)
		return nil
	})
	if err != nil {
		return nil, err
	}
	rep.Failures = append(rep.Failures, failures...)
	res.IdealWait = waits.Median()
	res.summarize(servers)
	return res, nil
}

// of returns one figure of a server.
func (res *tailResult) of(server string, value func(*tailSample) float64) rig.Rounds {
	rounds := make(rig.Rounds)
	for i := range res.Samples {
		if s := &res.Samples[i]; s.Server == server {
			rounds[s.Round] = value(s)
		}
	}
	return rounds
}

func withP99(s *tailSample) float64 { return s.With.P99 }
func withCPU(s *tailSample) float64 { return s.With.CPU }

// summarize makes the rows, in the order of servers. Servers without a sample
// have no row.
func (res *tailResult) summarize(servers []rig.Server) {
	for _, server := range servers {
		median := func(value func(*tailSample) float64) float64 { return res.of(server.Name, value).Median() }
		n := len(res.of(server.Name, withP99))
		if n == 0 {
			continue
		}
		row := tailRow{Server: server.Name, Runs: n, Bound: median(func(s *tailSample) float64 { return s.Bound })}
		for _, m := range []struct {
			to *figures
			of func(*tailSample) *figures
		}{
			{&row.With, func(s *tailSample) *figures { return &s.With }},
			{&row.Without, func(s *tailSample) *figures { return &s.Without }},
		} {
			*m.to = figures{
				P50:  median(func(s *tailSample) float64 { return m.of(s).P50 }),
				P99:  median(func(s *tailSample) float64 { return m.of(s).P99 }),
				P999: median(func(s *tailSample) float64 { return m.of(s).P999 }),
				CPU:  median(func(s *tailSample) float64 { return m.of(s).CPU }),
			}
		}
		if server.Name != base {
			row.P99Ratio = compare("p99", res.of(base, withP99), res.of(server.Name, withP99))
			row.CPURatio = compare("cpu", res.of(base, withCPU), res.of(server.Name, withCPU))
		}
		res.Rows = append(res.Rows, row)
	}
}

// compare is the ratio of base to another server, nil if there is none.
func compare(metric string, of, other rig.Rounds) *rig.Ratio {
	if q, ok := rig.Compare(base, metric, of, other); ok {
		return &q
	}
	return nil
}

func (res *tailResult) row(server string) *tailRow {
	i := slices.IndexFunc(res.Rows, func(r tailRow) bool { return r.Server == server })
	if i < 0 {
		return nil
	}
	return &res.Rows[i]
}

func (res *tailResult) markdown() string {
	cells := [][]string{{"server", "p50 us", "p99 us", "p99.9 us", "CPU ns/message",
		"p99 us without slow", "CPU without slow", "bound of p99", "p99 " + base + "/server", "cpu " + base + "/server", "runs"}}
	var ratios []rig.Ratio
	show := func(q *rig.Ratio) string {
		if q == nil {
			return "-"
		}
		ratios = append(ratios, *q)
		return q.String()
	}
	for _, r := range res.Rows {
		cells = append(cells, []string{r.Server,
			fmt.Sprintf("%.0f", r.With.P50), fmt.Sprintf("%.0f", r.With.P99), fmt.Sprintf("%.0f", r.With.P999), fmt.Sprintf("%.0f", r.With.CPU),
			fmt.Sprintf("%.0f", r.Without.P99), fmt.Sprintf("%.0f", r.Without.CPU), fmt.Sprintf("%.0f", r.Bound),
			show(r.P99Ratio), show(r.CPURatio), fmt.Sprint(r.Runs)})
	}
	text := rig.Table(cells) + "\n" + rig.Brackets(ratios)
	return text + fmt.Sprintf("Latencies are of quick messages, from the intended time. The bound is %g x (p99 without slow messages + %.1f us, the p99 of waiting in an ideal queue).\n",
		allowance, res.IdealWait)
}
