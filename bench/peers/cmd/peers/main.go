package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

func main() { rig.Main("peers", run) }

// options are the flags.
type options struct {
	rig.Options
	servers, configs, only string
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	o.Define(f, 15, 1200*time.Millisecond)
	f.StringVar(&o.only, "only", "", "comma-separated parts of the comparison: "+strings.Join(sectionNames(), ", ")+"; empty: all")
	f.StringVar(&o.servers, "servers", "", "compare these, comma-separated, in place of those of the parts; a name may end in +VARIANT")
	f.StringVar(&o.configs, "config", "", "compare under these loads, comma-separated, each CONNSxDEPTHxSIZE[@RATE], in place of those of the parts")
	return o, o.Parse(f, args, stderr)
}

// sections are what the flags choose. With servers or loads of the user's own there is one.
func (o *options) sections() ([]section, error) {
	if o.only != "" {
		if err := rig.Choose("part", strings.Split(o.only, ","), sectionNames()); err != nil {
			return nil, err
		}
	}
	list := chosen(o.only)
	if o.servers == "" && o.configs == "" {
		return list, nil
	}
	own := list[0]
	own.targets = nil
	if o.servers != "" {
		own.servers = strings.Split(o.servers, ",")
	}
	if o.configs != "" {
		var err error
		if own.loads, err = parseConfigs(o.configs); err != nil {
			return nil, err
		}
		own.share = 0
	}
	return []section{own}, choose(own.servers)
}

// run is the program: build, check, measure, report. It returns an error too
// if runs failed, after the report.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	parts, err := o.sections()
	if err != nil {
		return err
	}
	r, err := rig.Open(ctx, o.Options, stderr)
	if err != nil {
		return err
	}
	defer r.Close()
	rep := &report{Setup: r.Setup()}
	runs := 0
	for _, p := range parts {
		runs += len(p.servers) * len(p.loads) * o.Pairs
	}
	each := o.Duration + o.Warmup + 150*time.Millisecond
	fmt.Fprintf(stderr, "%d runs, about %v\n", runs, (time.Duration(runs) * each).Round(time.Second))
	for _, p := range parts {
		servers, skipped, err := build(ctx, &r.Build, p.servers, r.Kcmbench)
		if err != nil {
			return err
		}
		servers, unable, err := r.Check(ctx, servers)
		if err != nil {
			return err
		}
		rep.skip(append(skipped, unable...))
		if len(servers) == 0 {
			continue
		}
		for _, cfg := range p.loads {
			if p.share > 0 {
				var failures []rig.Failure
				if cfg.Rate, failures = rate(ctx, r, &p, cfg, servers); ctx.Err() != nil {
					return ctx.Err()
				}
				rep.Failures = append(rep.Failures, failures...)
			}
			samples, failures, err := rounds(ctx, r, &p, cfg, servers)
			if err != nil {
				return err
			}
			res := summarize(&p, cfg, servers, samples)
			rep.Results = append(rep.Results, res)
			rep.Failures = append(rep.Failures, failures...)
			targets, missing := res.targets(p.targets)
			rep.Targets = append(rep.Targets, targets...)
			rep.Missing = append(rep.Missing, missing...)
		}
	}
	if len(rep.Results) == 0 {
		return fmt.Errorf("no server works: %s", rep.markdown())
	}
	if err := o.Write(stdout, rep.markdown(), rep); err != nil {
		return err
	}
	if n := len(rep.Failures); n > 0 {
		return fmt.Errorf("%d of %d runs failed", n, runs)
	}
	return nil
}

// rate returns p.share of the messages per second that the slowest server reaches under
// cfg, a closed loop. It is 0, which is a closed loop, if all of them fail.
func rate(ctx context.Context, r *rig.Rig, p *section, cfg config, servers []rig.Server) (share int, failures []rig.Failure) {
	fmt.Fprintf(r.Progress, "%s: what servers reach\n", cfg)
	for _, s := range servers {
		one, err := r.Once(ctx, s, slices.Concat(cfg.args(), r.Times(), p.gen)...)
		if err != nil {
			failures = append(failures, rig.Failure{Config: cfg.String(), Server: s.Name, Error: err.Error()})
			continue
		}
		if n := max(1, int(one.PerSecond*p.share)); share == 0 || n < share {
			share = n
		}
	}
	return share, failures
}

// sample is what one run of one server gave.
type sample struct {
	Server      string        `json:"server"`
	Round       int           `json:"round"`
	CPUNanos    float64       `json:"cpu_ns_per_message"`
	PerSecond   float64       `json:"messages_per_second"`
	Latency     rig.Quantiles `json:"latency_us"`
	Messages    int64         `json:"messages"`    // exchanged while CPU time was counted
	CPUDuration int64         `json:"cpu_time_ns"` // of the server in that time
}

// rounds runs every server of a section once in each round under load cfg.
func rounds(ctx context.Context, r *rig.Rig, p *section, cfg config, servers []rig.Server) ([]sample, []rig.Failure, error) {
	var samples []sample
	failures, err := r.Rounds(ctx, cfg.String(), servers, func(round int, s rig.Server) error {
		one, err := r.Once(ctx, s, slices.Concat(cfg.args(), r.Times(), p.gen)...)
		if err != nil {
			return err
		}
		samples = append(samples, sample{
			Server:      s.Name,
			Round:       round,
			CPUNanos:    one.CPUNanos(),
			PerSecond:   one.PerSecond,
			Latency:     one.Latency,
			Messages:    one.Messages(),
			CPUDuration: int64(one.CPU),
		})
		return nil
	})
	return samples, failures, err
}
