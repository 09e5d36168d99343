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

func main() { rig.Main("features", run) }

const (
	partLibrary = "library"
	partTrials  = "trials"
)

// options are the flags.
type options struct {
	rig.Options
	parts, features, trials []string
	configs                 []config
	trial                   time.Duration
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("features", flag.ContinueOnError)
	o.Define(f, 9, 2*time.Second)
	parts := f.String("parts", partLibrary+","+partTrials, "comma-separated parts")
	features := f.String("features", strings.Join(featureNames(), ","), "comma-separated features of part library")
	trials := f.String("trials", strings.Join(trialNames(), ","), "comma-separated trials of part trials")
	configs := f.String("configs", defaultConfigs, "comma-separated loads of part library, each CONNSxDEPTHxSIZE; with 1x1 there is the latency too")
	f.DurationVar(&o.trial, "trial", 100*time.Millisecond, "measured time of each way in a round of a trial")
	if err := o.Parse(f, args, stderr); err != nil {
		return o, err
	}
	o.parts, o.features, o.trials = strings.Split(*parts, ","), strings.Split(*features, ","), strings.Split(*trials, ",")
	if err := rig.Choose("part", o.parts, []string{partLibrary, partTrials}); err != nil {
		return o, err
	}
	if err := rig.Choose("feature", o.features, featureNames()); err != nil {
		return o, err
	}
	if err := rig.Choose("trial", o.trials, trialNames()); err != nil {
		return o, err
	}
	if o.trial < time.Millisecond {
		return o, fmt.Errorf("-trial %v: want at least 1ms", o.trial)
	}
	var err error
	o.configs, err = parseConfigs(*configs)
	return o, err
}

// run is the program: build, measure, report. It returns an error too if runs failed,
// after the report.
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
	rep := &report{Setup: r.Setup(), TrialSec: o.trial.Seconds()}
	if slices.Contains(o.parts, partLibrary) {
		if err := measureLibrary(ctx, r, rep, o.features, o.configs); err != nil {
			return err
		}
	}
	if slices.Contains(o.parts, partTrials) {
		if err := measureTrials(ctx, r, rep, o.trials, o.trial); err != nil {
			return err
		}
	}
	rep.summarize()
	if err := o.Write(stdout, rep.markdown(), rep); err != nil {
		return err
	}
	if n := len(rep.Failures); n > 0 {
		return fmt.Errorf("%d runs failed", n)
	}
	return nil
}
