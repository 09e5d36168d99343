package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// handoffProcs are the values of GOMAXPROCS that the server's one CPU is shared
// by.
var handoffProcs = []int{1, 2, 4}

const handoffWorkers = 2

// handoffSample is what one server gave in one round.
type handoffSample struct {
	Server    string  `json:"server"`
	Round     int     `json:"round"`
	PerCPU    float64 `json:"messages_per_cpu_second"`
	PerSecond float64 `json:"messages_per_second"`
}

// handoffRow has medians over the rounds, and the ratio of base to the server.
type handoffRow struct {
	Server    string     `json:"server"`
	Runs      int        `json:"runs"`
	PerCPU    float64    `json:"messages_per_cpu_second_median"`
	PerSecond float64    `json:"messages_per_second_median"`
	Ratio     *rig.Ratio `json:"ratio,omitempty"`
}

// handoffResult is one value of GOMAXPROCS.
type handoffResult struct {
	Procs   int             `json:"gomaxprocs"`
	Rows    []handoffRow    `json:"rows"`
	Samples []handoffSample `json:"samples"`
}

// handoffServers are a server that hands messages over, the same without, and two with
// a channel and as many workers: netchan answers in order, one write for each message;
// netpool in any order, and with one write for several when it can.
func handoffServers(ctx context.Context, r *rig.Rig, procs int) ([]rig.Server, error) {
	netpool, err := peer(ctx, r, "netpool", handoffWorkers)
	if err != nil {
		return nil, err
	}
	netchan, err := peer(ctx, r, "netchan", handoffWorkers)
	if err != nil {
		return nil, err
	}
	env := goMaxProcs(procs)
	return []rig.Server{
		{Name: base, Env: env, Argv: kcm(r, "-workers", strconv.Itoa(handoffWorkers), "-policy", "idle")},
		{Name: "kcm-inline", Env: env, Argv: kcm(r, "-policy", "inline")},
		{Name: "netchan", Env: env, Argv: netchan},
		{Name: "netpool", Env: env, Argv: netpool},
	}, nil
}

func measureHandoff(ctx context.Context, r *rig.Rig, rep *report) ([]handoffResult, error) {
	var results []handoffResult
	for _, procs := range handoffProcs {
		servers, err := handoffServers(ctx, r, procs)
		if err != nil {
			return nil, err
		}
		part := fmt.Sprintf("handoff, GOMAXPROCS=%d", procs)
		servers, skipped, err := r.Check(ctx, servers)
		if err != nil {
			return nil, err
		}
		for _, s := range skipped {
			rep.Skipped = append(rep.Skipped, rig.Skip{Server: part + ": " + s.Server, Reason: s.Reason})
		}
		res := handoffResult{Procs: procs}
		failures, err := r.Rounds(ctx, part, servers, func(round int, s rig.Server) error {
			args := append([]string{"-conns", "64", "-depth", "16", "-size", "64"}, r.Times()...)
			if s.Name == "netpool" {
				args = append(args, "-order=false")
			}
			run, err := r.Once(ctx, s, args...)
			if err != nil {
				return err
			}
			res.Samples = append(res.Samples, handoffSample{s.Name, round, 1e9 / run.CPUNanos(), run.PerSecond})
			return nil
		})
		if err != nil {
			return nil, err
		}
		rep.Failures = append(rep.Failures, failures...)
		res.summarize(servers)
		results = append(results, res)
	}
	return results, nil
}

func (res *handoffResult) summarize(servers []rig.Server) {
	perCPU, perSecond := make(map[string]rig.Rounds), make(map[string]rig.Rounds)
	for _, s := range servers {
		perCPU[s.Name], perSecond[s.Name] = make(rig.Rounds), make(rig.Rounds)
	}
	for _, s := range res.Samples {
		perCPU[s.Server][s.Round] = s.PerCPU
		perSecond[s.Server][s.Round] = s.PerSecond
	}
	for _, s := range servers {
		if len(perCPU[s.Name]) == 0 {
			continue
		}
		row := handoffRow{Server: s.Name, Runs: len(perCPU[s.Name]), PerCPU: perCPU[s.Name].Median(), PerSecond: perSecond[s.Name].Median()}
		if s.Name != base {
			row.Ratio = compare("messages per CPU second", perCPU[base], perCPU[s.Name])
		}
		res.Rows = append(res.Rows, row)
	}
}

func (res *handoffResult) markdown() string {
	cells := [][]string{{"server", "messages/CPU second", "messages/s", base + "/server", "runs"}}
	var ratios []rig.Ratio
	for _, r := range res.Rows {
		ratio := "-"
		if r.Ratio != nil {
			ratio = r.Ratio.String()
			ratios = append(ratios, *r.Ratio)
		}
		cells = append(cells, []string{r.Server, fmt.Sprintf("%.0f", r.PerCPU), fmt.Sprintf("%.0f", r.PerSecond), ratio, fmt.Sprint(r.Runs)})
	}
	return rig.Table(cells) + "\n" + rig.Brackets(ratios)
}
