package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

func main() { rig.Main("peers", run) }

// options are the flags.
type options struct {
	rig.Options
	servers, configs string
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	o.Define(f, 15)
	f.StringVar(&o.servers, "servers", strings.Join(serverNames(), ","), "comma-separated servers")
	f.StringVar(&o.configs, "config", defaultConfigs, "comma-separated loads, each CONNSxDEPTHxSIZE")
	return o, o.Parse(f, args, stderr)
}

// run is the program: build, check, measure, report. It returns an error too
// if runs failed, after the report.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	configs, err := parseConfigs(o.configs)
	if err != nil {
		return err
	}
	names := strings.Split(o.servers, ",")
	if err := rig.Choose("server", names, serverNames()); err != nil {
		return err
	}
	r, err := rig.Open(ctx, o.Options, stderr)
	if err != nil {
		return err
	}
	defer r.Close()
	servers, skipped, err := build(ctx, &r.Build, names, r.Kcmbench)
	if err != nil {
		return err
	}
	servers, unable, err := r.Check(ctx, servers)
	if err != nil {
		return err
	}
	rep := &report{Setup: r.Setup(), Skipped: append(skipped, unable...)}
	if len(servers) == 0 {
		return fmt.Errorf("no server works: %s", rep.markdown())
	}
	runs := time.Duration(len(servers) * len(configs) * o.Pairs)
	fmt.Fprintf(stderr, "%d runs, about %v\n", runs, (runs * (o.Duration + o.Warmup + 100*time.Millisecond)).Round(time.Second))
	for _, cfg := range configs {
		samples, failures, err := rounds(ctx, r, cfg, servers)
		if err != nil {
			return err
		}
		rep.Results = append(rep.Results, summarize(cfg, servers, samples))
		rep.Failures = append(rep.Failures, failures...)
	}
	if err := o.Write(stdout, rep.markdown(), rep); err != nil {
		return err
	}
	if n := len(rep.Failures); n > 0 {
		return fmt.Errorf("%d of %d runs failed", n, runs)
	}
	return nil
}

// sample is what one run of one server gave.
type sample struct {
	Server      string  `json:"server"`
	Round       int     `json:"round"`
	CPUNanos    float64 `json:"cpu_ns_per_message"`
	PerSecond   float64 `json:"messages_per_second"`
	Messages    int64   `json:"messages"`    // exchanged while CPU time was counted
	CPUDuration int64   `json:"cpu_time_ns"` // of the server in that time
}

// rounds runs every server once in each round under load cfg.
func rounds(ctx context.Context, r *rig.Rig, cfg config, servers []rig.Server) ([]sample, []rig.Failure, error) {
	var samples []sample
	failures, err := r.Rounds(ctx, cfg.String(), servers, func(round int, s rig.Server) error {
		one, err := r.Once(ctx, s, append(cfg.args(), r.Times()...)...)
		if err != nil {
			return err
		}
		samples = append(samples, sample{
			Server:      s.Name,
			Round:       round,
			CPUNanos:    one.CPUNanos(),
			PerSecond:   one.PerSecond,
			Messages:    one.Messages(),
			CPUDuration: int64(one.CPU),
		})
		return nil
	})
	return samples, failures, err
}
