package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/bench/judge"
)

const aboutCompare = `kcmbench compare says whether two sides differ, from many runs of each:

  kcmbench compare A.json B.json
  kcmbench compare a1.json,a2.json,... b1.json,b2.json,...
  kcmbench compare -pairs 20 -a "-policy idle" -b "-policy fifo" -workers 4 -rate 20000
  for i in $(seq 10); do kcmbench run -json run.json && cat run.json >> A.json; done

Files have reports of run -json: one, several one after the other, or an array of them.
With -a and -b the runs are done now, in pairs of one each, A first in every other pair;
the flags of run that both have in common come beside. The runs of a pair have the same
seed, the next pair another.

What the words mean:
  run       the unit. Messages of one run share a machine and a moment; however many they
            are, they say nothing of the next run. Fewer than 10 runs of a side are refused
  ratio     B to A: of the medians of the runs; of pairs the median of the ratios within
            pairs, from which what disturbs both runs drops out
  interval  has the true ratio with 95 % confidence (bootstrap)
  p         how likely equal sides are to differ as much: test of Mann and Whitney, and
            of pairs Wilcoxon's signed ranks; adjusted for the number of figures (Holm)
  shown     p is below 0.05 and 1 is outside of the interval. "no difference shown" does
            not say that there is none: see how wide the interval is. Of a difference of
            10 %, between runs that scatter by 5 %, 10 pairs show 7 in 10, 20 nearly all
  CPU       of the loops of the server in the generator's process; not of workers, and
            left out unless all runs have it

A run that failed cannot be compared. In an open loop the throughput is the rate, the same
on both sides. Exit status 1 means that there is no comparison, not that sides differ.

The keys of the JSON that -json writes:
  schema (1), paired, alpha, a and b {flags or files, runs: run's objects}, differ [what
  the sides are unequal in], differences [{figure, runs_a, runs_b, a, b, ratio, low, high,
  p_mann_whitney, p_signed_rank, p_holm, shown}], failure.

Flags:`

// compareReport is the JSON of compare.
type compareReport struct {
	Schema      int                `json:"schema"`
	Paired      bool               `json:"paired"`
	Alpha       float64            `json:"alpha"`
	A           side               `json:"a"`
	B           side               `json:"b"`
	Differ      []string           `json:"differ"`
	Differences []judge.Difference `json:"differences"`
	Failure     string             `json:"failure,omitempty"`
}

// side is one of the two that are compared.
type side struct {
	Name  string          `json:"-"`
	Flags string          `json:"flags,omitempty"`
	Files []string        `json:"files,omitempty"`
	Runs  []*bench.Report `json:"runs"`
}

func runCompare(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	rep := &compareReport{Schema: bench.Schema, Alpha: judge.Alpha, Differ: []string{}, Differences: []judge.Difference{},
		A: side{Name: "A", Runs: []*bench.Report{}}, B: side{Name: "B", Runs: []*bench.Report{}}}
	var file string
	var pairs int
	each := func() (*flag.FlagSet, *bench.Config, func() error) {
		c := new(bench.Config)
		f := flag.NewFlagSet("compare", flag.ContinueOnError)
		f.StringVar(&rep.A.Flags, "a", "", "`flags` of run that only side A has")
		f.StringVar(&rep.B.Flags, "b", "", "`flags` of run that only side B has")
		f.IntVar(&pairs, "pairs", 15, "runs of each side, at least 10; with -a and -b")
		f.StringVar(&file, "json", "", "write all runs and what they show to `file` as JSON too")
		complete := defineConfig(f, c)
		return f, c, complete
	}
	f, _, _ := each()
	files, err := parseFiles(f, args, stdout, aboutCompare)
	if err != nil {
		return err
	}
	given := map[string]bool{}
	f.Visit(func(set *flag.Flag) { given[set.Name] = true })
	if given["a"] || given["b"] {
		rep.Paired = true
		configs := make([]*bench.Config, 2)
		for i, s := range []*side{&rep.A, &rep.B} {
			f, c, complete := each()
			if configs[i], err = c, s.configure(f, args, complete); err != nil {
				return err
			}
		}
		if pairs < judge.MinRuns {
			return &usageError{fmt.Errorf("-pairs %d: want at least %d, for the unit is a run and fewer show nothing", pairs, judge.MinRuns)}
		}
		say := io.Discard
		if isTerminal(stderr) {
			say = stderr
		}
		err = rep.measure(ctx, configs, pairs, say)
	} else {
		if err := compareFiles(files, given); err != nil {
			return err
		}
		for i, s := range []*side{&rep.A, &rep.B} {
			s.Files = strings.Split(files[i], ",")
			if err := s.read(); err != nil {
				return err
			}
		}
	}
	if err == nil {
		err = rep.compare()
	}
	if err != nil {
		rep.Failure = err.Error()
	}
	return write(err, stdout, file, rep, rep.writeText)
}

// configure makes the Config of a side what its flags say besides the common ones. f is
// fresh.
func (s *side) configure(f *flag.FlagSet, args []string, complete func() error) error {
	if err := parse(f, args, io.Discard, ""); err != nil {
		return err
	}
	own := strings.Fields(s.Flags)
	name := strings.ToLower(s.Name)
	for _, word := range own {
		for _, not := range []string{"a", "b", "pairs", "json"} {
			if flagName(word) == not {
				return &usageError{fmt.Errorf("-%s: -%s is no flag of run's that says what is measured", name, not)}
			}
		}
	}
	if err := parse(f, own, io.Discard, ""); err != nil {
		return &usageError{fmt.Errorf("-%s: %v", name, err)} // not flag.ErrHelp
	}
	if err := complete(); err != nil {
		return fmt.Errorf("-%s: %w", name, err)
	}
	return nil
}

// flagName returns the name of the flag that a word is, "" if it is none.
func flagName(word string) string {
	name, ok := strings.CutPrefix(word, "-")
	if !ok {
		return ""
	}
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "-"), "=")
	return name
}

// compareFiles returns a usage error unless two arguments are there and no flag of run.
func compareFiles(files []string, given map[string]bool) error {
	if len(files) != 2 {
		return &usageError{errors.New("want two files of reports, A.json B.json, or flags of two sides, -a and -b")}
	}
	for name := range given {
		if name != "json" {
			return &usageError{fmt.Errorf("-%s is for runs, which -a and -b do; files have them", name)}
		}
	}
	return nil
}

// measure does the runs, in pairs. The error says which failed.
func (r *compareReport) measure(ctx context.Context, configs []*bench.Config, pairs int, say io.Writer) error {
	sides := []*side{&r.A, &r.B}
	for n := range pairs {
		for k := range sides {
			i := (n + k) % 2
			c := *configs[i]
			c.Seed += uint64(n)
			rep, err := once(ctx, c)
			if err != nil {
				return err
			}
			sides[i].Runs = append(sides[i].Runs, rep)
			fmt.Fprintf(say, "pair %d of %d, %s: %.0f/s, p99 %.1f us %s\n", n+1, pairs, sides[i].Name, rep.PerSecond, rep.Latency.P99, rep.Failure)
			if why := unfit(rep); why != "" {
				return fmt.Errorf("pair %d, %s: %s", n+1, sides[i].Name, why)
			}
		}
	}
	return nil
}

// unfit says why a run cannot be compared, "" if it can.
func unfit(rep *bench.Report) string {
	switch {
	case rep.Failure != "":
		return "the run failed: " + rep.Failure
	case rep.Messages == 0 || rep.Latency.P50 == 0:
		return "the run measured nothing"
	}
	return ""
}

// read reads the reports of all files.
func (s *side) read() error {
	for _, name := range s.Files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = s.readFrom(bufio.NewReader(f))
		_ = f.Close() // was only read
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// readFrom reads reports, or arrays of them, one after the other.
func (s *side) readFrom(from io.Reader) error {
	d := json.NewDecoder(from)
	for {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("no JSON: %w", err)
		}
		list := []json.RawMessage{raw}
		if bytes.HasPrefix(raw, []byte("[")) {
			if err := json.Unmarshal(raw, &list); err != nil {
				return err
			}
		}
		for _, one := range list {
			rep := new(bench.Report)
			err := json.Unmarshal(one, rep)
			switch n := len(s.Runs) + 1; {
			case err != nil:
				return fmt.Errorf("report %d of %s: %w", n, s.Name, err)
			case rep.Schema != bench.Schema || rep.Frame == "":
				return fmt.Errorf("report %d of %s: no report of run -json with schema %d", n, s.Name, bench.Schema)
			case unfit(rep) != "":
				return fmt.Errorf("report %d of %s: %s", n, s.Name, unfit(rep))
			}
			s.Runs = append(s.Runs, rep)
		}
	}
}

// traits are what the runs of a side have to be equal in, and sides should be.
var traits = []struct {
	name string
	of   func(*bench.Report) string
}{
	{"conns", func(r *bench.Report) string { return fmt.Sprint(r.Conns) }},
	{"depth", func(r *bench.Report) string { return fmt.Sprint(r.Depth) }},
	{"size", func(r *bench.Report) string { return r.Size.String() }},
	{"rate", func(r *bench.Report) string { return fmt.Sprint(r.Rate) }},
	{"arrival", func(r *bench.Report) string { return r.Arrival }},
	{"service", func(r *bench.Report) string { return r.Service }},
	{"service-mode", func(r *bench.Report) string { return r.ServiceMode }},
	{"order", func(r *bench.Report) string { return fmt.Sprint(r.Order) }},
	{"frame", func(r *bench.Report) string { return r.Frame }},
	{"class", func(r *bench.Report) string { return strings.Join(r.Kinds, "; ") }},
	{"profile", func(r *bench.Report) string { return r.Profile }},
	{"replay", func(r *bench.Report) string { return r.Replay }},
	{"batch", func(r *bench.Report) string { return fmt.Sprint(r.Batch) }},
	{"think", func(r *bench.Report) string { return r.Think }},
	{"churn", func(r *bench.Report) string { return r.Churn }},
	{"warmup_seconds", func(r *bench.Report) string { return fmt.Sprint(r.WarmupSeconds) }},
	{"policy", func(r *bench.Report) string { return r.Policy }},
	{"workers", func(r *bench.Report) string { return fmt.Sprint(r.Workers) }},
	{"server", func(r *bench.Report) string { return onBackend(r.Server) }},
	{"generator", func(r *bench.Report) string { return onBackend(&r.Generator) }},
	{"kernel", func(r *bench.Report) string { return r.Env.Kernel }},
	{"cpu", func(r *bench.Report) string { return r.Env.CPU }},
	{"cpus", func(r *bench.Report) string { return r.Env.CPUs }},
	{"go", func(r *bench.Report) string { return r.Env.Go }},
	{"version", func(r *bench.Report) string { return r.Env.Version }},
}

func onBackend(l *bench.LoopReport) string {
	if l == nil {
		return "elsewhere"
	}
	return fmt.Sprintf("%s with %d loops", l.Backend, l.Loops)
}

// compare fills in Differ and Differences.
func (r *compareReport) compare() error {
	for _, s := range []*side{&r.A, &r.B} {
		if len(s.Runs) < judge.MinRuns {
			return fmt.Errorf("%s has %d runs: %w", s.Name, len(s.Runs), judge.ErrFewRuns)
		}
		for _, t := range traits {
			for i, rep := range s.Runs {
				if one, other := t.of(s.Runs[0]), t.of(rep); one != other {
					return fmt.Errorf("the runs of %s are unequal: %s %q in the first, %q in number %d", s.Name, t.name, one, other, i+1)
				}
			}
		}
	}
	for _, t := range traits {
		if a, b := t.of(r.A.Runs[0]), t.of(r.B.Runs[0]); a != b {
			r.Differ = append(r.Differ, fmt.Sprintf("%s: %s, %s", t.name, known(a), known(b)))
		}
	}
	var figures []judge.Figure
	for _, q := range []struct {
		name string
		of   func(*bench.Report) float64
	}{
		{"p50 us", func(r *bench.Report) float64 { return r.Latency.P50 }},
		{"p99 us", func(r *bench.Report) float64 { return r.Latency.P99 }},
		{"p99.9 us", func(r *bench.Report) float64 { return r.Latency.P999 }},
		{"messages/s", func(r *bench.Report) float64 { return r.PerSecond }},
		{"CPU ns/msg", serverCPU},
	} {
		f := judge.Figure{Name: q.name, A: values(r.A.Runs, q.of), B: values(r.B.Runs, q.of)}
		if slices.Contains(f.A, 0) || slices.Contains(f.B, 0) {
			continue // the CPU time, which not all runs have
		}
		figures = append(figures, f)
	}
	d, err := judge.Compare(figures, r.Paired)
	if err == nil {
		r.Differences = d
	}
	return err
}

// serverCPU is 0 if unknown.
func serverCPU(r *bench.Report) float64 {
	if r.Server == nil {
		return 0
	}
	return r.Server.CPUNanosPerMessage
}

func values(runs []*bench.Report, of func(*bench.Report) float64) (all []float64) {
	for _, r := range runs {
		all = append(all, of(r))
	}
	return all
}

func known(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (r *compareReport) writeText(w io.Writer) error {
	var b strings.Builder
	for _, s := range []*side{&r.A, &r.B} {
		what := strings.Join(s.Files, ", ")
		if r.Paired {
			what = s.Flags
		}
		fmt.Fprintf(&b, "%s: %d runs: %s\n", s.Name, len(s.Runs), known(what))
	}
	for _, d := range r.Differ {
		fmt.Fprintf(&b, "unequal in %s\n", d)
	}
	if len(r.Differences) > 0 {
		fmt.Fprintf(&b, "\n%-11s %12s %12s %8s %18s %10s\n", "median", "A", "B", "B/A", "95 % interval", "p")
	}
	for _, d := range r.Differences {
		says := "no difference shown"
		switch {
		case d.Shown && d.Ratio > 1:
			says = fmt.Sprintf("B is higher by %.1f %%", 100*(d.Ratio-1))
		case d.Shown:
			says = fmt.Sprintf("B is lower by %.1f %%", 100*(1-d.Ratio))
		}
		fmt.Fprintf(&b, "%-11s %12.1f %12.1f %8.3f %18s %10.2g  %s\n", d.Name, d.A, d.B, d.Ratio,
			fmt.Sprintf("%.3f to %.3f", d.Low, d.High), d.PHolm, says)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
