package rig

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options are the flags that every program has.
type Options struct {
	Root     string // directory of module github.com/kcm-go/kcm; empty looks for it
	Kcmbench string // generator and kcm server; empty builds it

	Pairs            int
	Duration, Warmup time.Duration // of one run of the generator

	ServerCPU, GenCPU int // negative chooses

	Markdown, JSON string // files for the report; empty for none
}

// Define defines the flags on f. pairs is the default of -pairs, duration that of -duration.
func (o *Options) Define(f *flag.FlagSet, pairs int, duration time.Duration) {
	f.StringVar(&o.Root, "root", "", "`directory` of module github.com/kcm-go/kcm; found from the working directory if empty")
	f.StringVar(&o.Kcmbench, "kcmbench", "", "`path` of the generator and kcm server; built if empty")
	f.IntVar(&o.Pairs, "pairs", pairs, "rounds per load; each runs every server once")
	f.DurationVar(&o.Duration, "duration", duration, "measured time of a run")
	f.DurationVar(&o.Warmup, "warmup", 500*time.Millisecond, "time of a run before that")
	f.IntVar(&o.ServerCPU, "server-cpu", -1, "CPU of the server; -1 is the first allowed")
	f.IntVar(&o.GenCPU, "generator-cpu", -1, "CPU of the generator; -1 is the second allowed, or the only one")
	f.StringVar(&o.Markdown, "md", "", "write the report to this `file` as Markdown, besides standard output")
	f.StringVar(&o.JSON, "json", "", "write the report with all samples to this `file` as JSON")
}

// Parse parses args with f, which Define was called on, and checks the values.
// What f has reported itself is flag.ErrHelp.
func (o *Options) Parse(f *flag.FlagSet, args []string, stderr io.Writer) error {
	f.SetOutput(stderr)
	if err := f.Parse(args); err != nil {
		return flag.ErrHelp
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.Pairs < 1:
		return fmt.Errorf("-pairs %d: want at least 1", o.Pairs)
	case o.Duration <= 0 || o.Warmup < 0:
		return fmt.Errorf("-duration %v -warmup %v: want some time", o.Duration, o.Warmup)
	}
	return nil
}

// Choose checks that a comma-separated list names some of those there are, each
// once; what says what they are.
func Choose(what string, list, have []string) error {
	for i, name := range list {
		if !slices.Contains(have, name) {
			return fmt.Errorf("%ss: no %s %q, have %s", what, what, name, strings.Join(have, ","))
		}
		if slices.Contains(list[:i], name) {
			return fmt.Errorf("%ss: %s is there twice", what, name)
		}
	}
	return nil
}

// pickCPUs replaces -1 by a CPU and checks that the others are allowed.
func (o *Options) pickCPUs() error {
	cpus, err := AllowedCPUs()
	if err != nil {
		return err
	}
	if len(cpus) == 0 {
		return errors.New("no CPU is allowed here")
	}
	if o.ServerCPU < 0 {
		o.ServerCPU = cpus[0]
	}
	if o.GenCPU < 0 {
		// The first that the server does not use, or else the same.
		o.GenCPU = o.ServerCPU
		if i := slices.IndexFunc(cpus, func(cpu int) bool { return cpu != o.ServerCPU }); i >= 0 {
			o.GenCPU = cpus[i]
		}
	}
	for _, cpu := range []int{o.ServerCPU, o.GenCPU} {
		if !slices.Contains(cpus, cpu) {
			return fmt.Errorf("CPU %d is not allowed here, only %v", cpu, cpus)
		}
	}
	return nil
}
