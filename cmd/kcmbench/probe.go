package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/kcm-go/kcm/affinity"
	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/ring"
)

const aboutProbe = `kcmbench probe says what this machine offers: the kernel, what io_uring can do here,
found by trying, and why not if it cannot, limits, and the processors.

  kcmbench probe
  kcmbench probe -json

Flags:`

// probe is what runProbe prints, as text or JSON.
type probe struct {
	Env      bench.Env          `json:"env"`
	Backend  string             `json:"backend"`         // that "auto" takes
	Notes    []string           `json:"notes,omitempty"` // what it has to do without, and why
	Features []ring.Feature     `json:"io_uring"`
	Limits   []bench.Limit      `json:"limits"`
	Topology *affinity.Topology `json:"topology,omitempty"`
	Plan     affinity.Plan      `json:"plan"` // of as many loops as mux starts by default
}

func runProbe(_ context.Context, args []string, stdout, _ io.Writer) error {
	f := flag.NewFlagSet("probe", flag.ContinueOnError)
	asJSON := f.Bool("json", false, "write JSON")
	if err := parse(f, args, stdout, aboutProbe); err != nil {
		return err
	}
	p, err := readProbe()
	if err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(p)
	}
	return p.writeText(stdout)
}

func readProbe() (*probe, error) {
	top, err := affinity.Discover()
	if err != nil {
		return nil, fmt.Errorf("processors: %w", err)
	}
	env := bench.ReadEnv(top)
	p := &probe{
		Env:      env,
		Features: ring.Probe(),
		Limits:   env.Limits,
		Topology: top,
		Plan: top.Plan(affinity.Request{
			Loops: top.DefaultLoops(runtime.GOMAXPROCS(0)),
			Off:   affinity.OffByEnv(),
		}),
	}
	l, err := ring.New(ring.Options{})
	if err == nil {
		err = l.Start()
	}
	if err != nil {
		p.Backend, p.Notes = "none", []string{err.Error()}
		return p, nil
	}
	p.Backend, p.Notes = l.Backend(), l.Notes()
	return p, l.Close()
}

func (p *probe) writeText(w io.Writer) error {
	var b strings.Builder
	line := func(name, value string) {
		if value == "" {
			value = "unknown"
		}
		fmt.Fprintf(&b, "%-12s %s\n", name, value)
	}
	line("kernel", p.Env.Kernel)
	line("mitigations", p.Env.Mitigations)
	line("governor", p.Env.Governor)
	line("program", p.Env.Version+", "+p.Env.Go)
	line("back end", p.Backend)
	for _, n := range p.Notes {
		line("note", n)
	}
	b.WriteString("\nio_uring              since    here\n")
	for _, f := range p.Features {
		state := f.State
		if f.Why != "" {
			state += ": " + f.Why
		}
		need := ""
		if f.Need && f.State != "yes" {
			need = " (required)"
		}
		fmt.Fprintf(&b, "%-21s %-8s %s%s\n", f.Name, f.Since, state, need)
	}
	b.WriteString("\nlimits\n")
	for _, l := range p.Limits {
		fmt.Fprintf(&b, "%-31s %s\n", l.Name, l.Value)
	}
	fmt.Fprintf(&b, "\nprocessors\n%s\nplan of loops\n%s", p.Topology, p.Plan)
	_, err := io.WriteString(w, b.String())
	return err
}
