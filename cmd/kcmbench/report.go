package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/bench/judge"
	"github.com/kcm-go/kcm/bench/page"
)

const aboutReport = `kcmbench report FILE... -o PAGE.html makes a page of files that run, sweep, slo or compare
wrote with -json: percentile curves, latency over time, latency against throughput,
comparison, settings, machine. The page is one
file that needs no network; light and dark follow the reader's choice, and it prints.

Runs with equal settings share a curve. Runs that differ in their rate make latency against
throughput, beside the target that -target gives and, for messages with service times, what
an ideal queue would make of the same load. A FILE is named by its name, or NAME=FILE.

  kcmbench report -o a.html a.json
  kcmbench report -o b.html -target p99=500us inline=a.json workers=b.json

Flags:`

func runReport(_ context.Context, args []string, stdout, _ io.Writer) error {
	var p page.Page
	var out string
	f := flag.NewFlagSet("report", flag.ContinueOnError)
	f.StringVar(&out, "o", "", "write the page to `file`")
	f.StringVar(&p.Title, "title", "", "heading of the page")
	f.Var(text[*page.Target]{&p.Target, parseTarget, printTarget}, "target", "latency to be met, such as `p99=500us`; p50, p90, p99, p99_9 or p99_99")
	f.IntVar(&p.Workers, "workers", 0, "workers of the ideal queue; 0: as many as the server had")
	files, err := parseFiles(f, args, stdout, aboutReport)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return &usageError{fmt.Errorf("want the name of at least one file that run -json wrote")}
	}
	if out == "" {
		return &usageError{fmt.Errorf("-o: want a file to write the page to")}
	}
	for _, file := range files {
		if err := readInto(&p, file); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if err := p.WriteHTML(&b); err != nil {
		return err
	}
	if err := os.WriteFile(out, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	return nil
}

// parseFiles parses flags and the files among them, before, between or after.
func parseFiles(f *flag.FlagSet, args []string, stdout io.Writer, about string) (files []string, err error) {
	for {
		if err := parseFirst(f, args, stdout, about); err != nil {
			return nil, err
		}
		if f.NArg() == 0 {
			return files, nil
		}
		files, args = append(files, f.Arg(0)), f.Args()[1:]
	}
}

func parseTarget(s string) (*page.Target, error) {
	name, latency, ok := strings.Cut(s, "=")
	d, err := time.ParseDuration(latency)
	if !ok || err != nil || d <= 0 {
		return nil, fmt.Errorf("want a percentile and a time, such as p99=500us")
	}
	return &page.Target{Percentile: percentileKey(name), Latency: d}, nil
}

func printTarget(t *page.Target) string {
	if t == nil {
		return ""
	}
	return t.Percentile + "=" + t.Latency.String()
}

// result is what any command may have written with -json, as far as a page shows it.
type result struct {
	Rows []struct { // of sweep
		Flags  map[string]string `json:"flags"`
		Report *bench.Report     `json:"report"`
	} `json:"rows"`

	Targets []sloTarget `json:"targets"` // of slo
	Low     float64     `json:"low"`
	High    float64     `json:"high"`
	Trials  []struct {
		Figures *bench.Report `json:"figures"`
	} `json:"trials"`

	Paired      bool               `json:"paired"` // of compare
	A           side               `json:"a"`
	B           side               `json:"b"`
	Differences []judge.Difference `json:"differences"`
}

// readInto adds what a file has to the page.
func readInto(p *page.Page, file string) error {
	name, path, named := strings.Cut(file, "=")
	if !named {
		name, path = strings.TrimSuffix(filepath.Base(file), ".json"), file
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(b, &keys); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if keys["messages"] != nil {
		r, err := bench.ReadReport(path)
		if err != nil {
			return err
		}
		p.Runs = append(p.Runs, page.Run{Name: name, Report: r})
		return nil
	}
	var r result
	switch {
	case string(keys["schema"]) != fmt.Sprint(bench.Schema):
		return fmt.Errorf("%s: schema %s, want %d", path, keys["schema"], bench.Schema)
	case keys["rows"] == nil && keys["trials"] == nil && keys["differences"] == nil:
		return fmt.Errorf("%s: no result of run, sweep, slo or compare", path)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r.addTo(p, name)
	return nil
}

// addTo adds the runs of a result to the page, and what it says of them.
func (r *result) addTo(p *page.Page, name string) {
	add := func(run string, rep *bench.Report) {
		if rep != nil && rep.Histograms[bench.LatencyName] != nil { // else it did not begin
			p.Runs = append(p.Runs, page.Run{Name: run, Report: rep})
		}
	}
	for _, row := range r.Rows {
		var flags []string
		for _, k := range slices.Sorted(maps.Keys(row.Flags)) {
			flags = append(flags, k+"="+row.Flags[k])
		}
		add(name+": "+strings.Join(flags, " "), row.Report)
	}
	for i, t := range r.Trials {
		add(fmt.Sprintf("%s: trial %d", name, i+1), t.Figures)
	}
	if len(r.Targets) > 0 && p.Target == nil {
		t := r.Targets[0]
		p.Target = &page.Target{Percentile: percentileKey(t.Percentile), Latency: time.Duration(t.LimitMicros * 1e3)}
	}
	if len(r.Targets) > 0 {
		p.Found = append(p.Found, page.Found{Low: r.Low, High: r.High})
	}
	if r.Differences == nil {
		return
	}
	for _, s := range []*side{&r.A, &r.B} {
		for i, rep := range s.Runs {
			add(fmt.Sprintf("%s: %s %d", name, map[bool]string{true: "A", false: "B"}[s == &r.A], i+1), rep)
		}
	}
	p.Comparisons = append(p.Comparisons, page.Comparison{
		A: r.A.describe(), B: r.B.describe(), Paired: r.Paired, Differences: r.Differences,
	})
}

// percentileKey is the key of the JSON of a percentile as it is spoken, p99.9.
func percentileKey(name string) string { return strings.ReplaceAll(name, ".", "_") }

// describe says where the runs of a side are from.
func (s *side) describe() string {
	if len(s.Files) > 0 {
		return strings.Join(s.Files, ", ")
	}
	return cmp.Or(s.Flags, "the common flags")
}
