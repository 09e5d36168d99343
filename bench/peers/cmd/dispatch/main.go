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

func main() { rig.Main("dispatch", run) }

// partNames are the parts of the comparison, in their order.
var partNames = []string{"tail", "slo", "one", "handoff"}

// options are the flags.
type options struct {
	rig.Options
	parts, servers []string
	procs          int
	rate           float64
	limit, trial   time.Duration
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("dispatch", flag.ContinueOnError)
	o.Define(f, 9, 2*time.Second)
	parts := f.String("parts", strings.Join(partNames, ","), "comma-separated parts")
	servers := f.String("servers", strings.Join(serverNames(), ","), "comma-separated servers of all parts but handoff")
	f.IntVar(&o.procs, "procs", 0, fmt.Sprintf("GOMAXPROCS of the servers of all parts but handoff; 0: %d for kcm, %d for the others", kcmProcs, peerProcs))
	f.Float64Var(&o.rate, "rate", 20000, "messages per second of tail and one")
	f.DurationVar(&o.limit, "slo", 500*time.Microsecond, "limit of part slo")
	f.DurationVar(&o.trial, "trial", time.Second, "measured time of a trial of part slo; up to twice that at low rates")
	if err := o.Parse(f, args, stderr); err != nil {
		return o, err
	}
	o.parts, o.servers = strings.Split(*parts, ","), strings.Split(*servers, ",")
	if err := rig.Choose("part", o.parts, partNames); err != nil {
		return o, err
	}
	if err := rig.Choose("server", o.servers, serverNames()); err != nil {
		return o, err
	}
	switch {
	case o.procs < 0:
		return o, fmt.Errorf("-procs %d: want 0 or more", o.procs)
	case !(o.rate > 0):
		return o, fmt.Errorf("-rate %v: want some messages", o.rate)
	case o.limit <= 0 || o.trial <= 0:
		return o, fmt.Errorf("-slo %v -trial %v: want some time", o.limit, o.trial)
	}
	return o, nil
}

// run is the program: build, check, measure, report. It returns an error too
// if runs failed, after the report.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	r, err := rig.Open(ctx, o.Options, stderr)
	if err != nil {
		return err
	}
	defer r.Close()
	rep := &report{Setup: r.Setup(), Workload: workload, Procs: o.procs, Rate: o.rate, LimitUs: micros(o.limit)}
	var servers []rig.Server
	if slices.ContainsFunc(o.parts, func(part string) bool { return part != "handoff" }) {
		if servers, err = build(ctx, r, o.servers, o.procs); err != nil {
			return err
		}
		if servers, rep.Skipped, err = r.Check(ctx, servers); err != nil {
			return err
		}
		if len(servers) == 0 {
			return fmt.Errorf("no server works: %s", rep.markdown())
		}
	}
	for _, part := range partNames {
		if !slices.Contains(o.parts, part) {
			continue
		}
		var err error
		switch part {
		case "tail":
			rep.Tail, err = measureTail(ctx, r, rep, part, conns, o.rate, servers)
		case "slo":
			rep.SLO, err = measureSLO(ctx, r, rep, o.limit, o.trial, servers)
		case "one":
			rep.One, err = measureTail(ctx, r, rep, part, 1, o.rate, servers)
		case "handoff":
			rep.Handoff, err = measureHandoff(ctx, r, rep)
		}
		if err != nil {
			return err
		}
	}
	rep.Targets, rep.Missing = rep.targets(), rep.missing(o.servers)
	if err := o.Write(stdout, rep.markdown(), rep); err != nil {
		return err
	}
	if n := len(rep.Failures); n > 0 {
		return fmt.Errorf("%d runs failed", n)
	}
	return nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
