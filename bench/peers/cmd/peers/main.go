package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "peers: interrupted")
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	root, kcmbench     string
	servers, configs   string
	pairs              int
	duration, warmup   time.Duration
	serverCPU, genCPU  int
	markdown, jsonFile string
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.root, "root", "", "`directory` of module github.com/kcm-go/kcm; found from the working directory if empty")
	f.StringVar(&o.kcmbench, "kcmbench", "", "`path` of the generator and kcm server; built if empty")
	f.StringVar(&o.servers, "servers", strings.Join(serverNames(), ","), "comma-separated servers")
	f.StringVar(&o.configs, "config", defaultConfigs, "comma-separated loads, each CONNSxDEPTHxSIZE")
	f.IntVar(&o.pairs, "pairs", 15, "rounds per load; each runs every server once")
	f.DurationVar(&o.duration, "duration", 2*time.Second, "measured time of a run")
	f.DurationVar(&o.warmup, "warmup", 500*time.Millisecond, "time of a run before that")
	f.IntVar(&o.serverCPU, "server-cpu", -1, "CPU of the server; -1 is the first allowed")
	f.IntVar(&o.genCPU, "generator-cpu", -1, "CPU of the generator; -1 is the second allowed, or the only one")
	f.StringVar(&o.markdown, "md", "", "write the report to this `file` as Markdown, besides standard output")
	f.StringVar(&o.jsonFile, "json", "", "write the report with all samples to this `file` as JSON")
	if err := f.Parse(args); err != nil {
		return o, flag.ErrHelp // f has said what is wrong
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.pairs < 1:
		return o, fmt.Errorf("-pairs %d: want at least 1", o.pairs)
	case o.duration <= 0 || o.warmup < 0:
		return o, fmt.Errorf("-duration %v -warmup %v: want some time", o.duration, o.warmup)
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
	configs, err := parseConfigs(o.configs)
	if err != nil {
		return err
	}
	names, err := parseServers(o.servers)
	if err != nil {
		return err
	}
	if err := o.pickCPUs(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	servers, skipped, err := o.build(ctx, dir, names)
	if err != nil {
		return err
	}

	starter := newStarter()
	defer close(starter.starts)
	r := &runner{
		starter:   starter,
		generator: o.kcmbench,
		serverCPU: o.serverCPU,
		genCPU:    o.genCPU,
		duration:  o.duration,
		warmup:    o.warmup,
		dir:       dir,
		progress:  stderr,
	}
	servers, unable, err := r.check(ctx, servers)
	if err != nil {
		return err
	}
	rep := &report{
		Machine:     machine(),
		ServerCPU:   o.serverCPU,
		GenCPU:      o.genCPU,
		Siblings:    o.serverCPU != o.genCPU && siblings(o.serverCPU, o.genCPU),
		Pairs:       o.pairs,
		DurationSec: o.duration.Seconds(),
		WarmupSec:   o.warmup.Seconds(),
		Skipped:     append(skipped, unable...),
	}
	if len(servers) == 0 {
		return fmt.Errorf("no server works: %s", rep.markdown())
	}
	runs := time.Duration(len(servers) * len(configs) * o.pairs)
	fmt.Fprintf(stderr, "%d runs, about %v\n", runs, (runs * (o.duration + o.warmup + 100*time.Millisecond)).Round(time.Second))
	for _, cfg := range configs {
		samples, failures, err := r.rounds(ctx, cfg, servers, o.pairs)
		if err != nil {
			return err
		}
		rep.Results = append(rep.Results, summarize(cfg, servers, samples))
		rep.Failures = append(rep.Failures, failures...)
	}
	if err := rep.write(stdout, o.markdown, o.jsonFile); err != nil {
		return err
	}
	if n := len(rep.Failures); n > 0 {
		return fmt.Errorf("%d of %d runs failed", n, runs)
	}
	return nil
}

// build makes the servers, and kcmbench unless its path was given.
func (o *options) build(ctx context.Context, dir string, names []string) ([]server, []skip, error) {
	if o.root == "" {
		root, err := findRoot()
		if err != nil {
			return nil, nil, err
		}
		o.root = root
	}
	b := builder{root: o.root, dir: dir}
	if o.kcmbench == "" {
		path, err := b.kcmbench(ctx)
		if err != nil {
			return nil, nil, err
		}
		o.kcmbench = path
	}
	return b.servers(ctx, names, o.kcmbench)
}

// pickCPUs replaces -1 by a CPU and checks that the others are allowed.
func (o *options) pickCPUs() error {
	cpus, err := allowedCPUs()
	if err != nil {
		return err
	}
	if o.serverCPU < 0 {
		o.serverCPU = cpus[0]
	}
	if o.genCPU < 0 {
		// The first that the server does not use, or else the same.
		o.genCPU = o.serverCPU
		if i := slices.IndexFunc(cpus, func(cpu int) bool { return cpu != o.serverCPU }); i >= 0 {
			o.genCPU = cpus[i]
		}
	}
	for _, cpu := range []int{o.serverCPU, o.genCPU} {
		if !slices.Contains(cpus, cpu) {
			return fmt.Errorf("CPU %d is not allowed here, only %v", cpu, cpus)
		}
	}
	return nil
}

// write writes the report to stdout and the named files.
func (r *report) write(stdout io.Writer, markdown, jsonFile string) error {
	text := r.markdown()
	if _, err := io.WriteString(stdout, text); err != nil {
		return err
	}
	if markdown != "" {
		if err := os.WriteFile(markdown, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if jsonFile != "" {
		b, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(jsonFile, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}
