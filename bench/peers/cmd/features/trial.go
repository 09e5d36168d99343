package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// trial is one of c/trials.
type trial struct {
	name    string
	since   string // first mainline Linux with all that is measured
	library string // whether the library has it, and what it has otherwise
}

var trials = []trial{
	{"fixed-files", "5.1", "not built"},
	{"registered-waits", "6.13", "not built: argument"},
	{"incremental-buffers", "6.12", "not built: shared"},
	{"send-bundles", "6.10", "not built: SENDMSG"},
	{"msg-ring", "5.18", "default on: MSG_RING without a ring"},
	{"wait-nr", "6.12", "not built: 1"},
	{"setup", "6.6", "default on: both"},
	{"recv-bundles", "6.10", "not built: 32 KiB"},
	{"send-zc", "6.0", "not built: SEND"},
	{"direct-send", "-", "not built: SEND"},
	{"resize", "6.13", "not built"},
	{"overflow", "5.5", "never meant: CQ of 8192"},
	{"recv-cap", "6.17", "default on: limit 64 KiB"},
}

// trialLimit is how long the rounds of a trial may take in the worst case.
const trialLimit = 15 * time.Minute

func trialNames() []string {
	var names []string
	for _, t := range trials {
		names = append(names, t.name)
	}
	return names
}

func trialOf(name string) (trial, bool) {
	for _, t := range trials {
		if t.name == name {
			return t, true
		}
	}
	return trial{}, false
}

// measureTrials adds the samples of the trials to rep. A C compiler that is missing is
// among the skipped.
func measureTrials(ctx context.Context, r *rig.Rig, rep *report, names []string, each time.Duration) error {
	bin, err := r.Build.Trials(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		rep.Skipped = append(rep.Skipped, rig.Skip{Server: partTrials, Reason: err.Error()})
		return nil
	}
	for _, name := range names {
		fmt.Fprintf(r.Progress, "trial %s\n", name)
		text, err := r.Output(ctx, trialLimit, bin, "-rounds", strconv.Itoa(r.Pairs),
			"-ms", strconv.FormatInt(each.Milliseconds(), 10), "-cpu", strconv.Itoa(r.ServerCPU),
			"-peer-cpu", strconv.Itoa(r.GenCPU), name)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = parseTrial(text, name, rep)
		}
		if err != nil {
			rep.Failures = append(rep.Failures, rig.Failure{Config: partTrials, Server: name, Error: err.Error()})
		}
	}
	return nil
}

// parseTrial adds what the trial of that name has printed to rep, all of it or, with an
// error, nothing.
func parseTrial(text, name string, rep *report) error {
	t, ok := trialOf(name)
	if !ok {
		return fmt.Errorf("no trial %q", name)
	}
	got := &report{}
	base := make(map[[2]string]string) // the first way of each load and figure
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		if len(f) < 4 || f[1] != name {
			return fmt.Errorf("line %q is not of trial %s", line, name)
		}
		switch kind := f[0]; {
		case kind == "sample" && len(f) == 7:
			round, err := strconv.Atoi(f[5])
			if err != nil {
				return fmt.Errorf("line %q: %w", line, err)
			}
			v, err := strconv.ParseFloat(f[6], 64)
			if err != nil || !(v >= 0) || math.IsInf(v, 0) {
				return fmt.Errorf("line %q: no figure", line)
			}
			key := [2]string{f[2], f[4]}
			if base[key] == "" {
				base[key] = f[3]
			}
			got.add(sample{feature: name, since: t.since, library: t.library, Load: f[2], Way: f[3],
				base: base[key] == f[3], Round: round}, f[4], v)
		case kind == "note" && len(f) == 4:
			got.Notes = append(got.Notes, name+", "+f[2]+": "+f[3])
		case kind == "skip" && len(f) == 4:
			// A way may be left out of each load, for one reason.
			if s := (rig.Skip{Server: name + ", " + f[2], Reason: f[3]}); !slices.Contains(got.Skipped, s) {
				got.Skipped = append(got.Skipped, s)
			}
		default:
			return fmt.Errorf("line %q is of no kind there is", line)
		}
	}
	if len(got.Samples)+len(got.Skipped) == 0 {
		return fmt.Errorf("trial %s printed nothing", name)
	}
	rep.Samples = append(rep.Samples, got.Samples...)
	rep.Notes = append(rep.Notes, got.Notes...)
	rep.Skipped = append(rep.Skipped, got.Skipped...)
	return nil
}
