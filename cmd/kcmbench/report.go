package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/bench/page"
)

const aboutReport = `kcmbench report FILE... -o PAGE.html makes a page of files that run -json wrote: percentile
curves, latency over time, latency against throughput, settings, machine. The page is one
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
	return writeFile(out, p.WriteHTML)
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
	return &page.Target{Percentile: strings.ReplaceAll(name, ".", "_"), Latency: d}, nil
}

func printTarget(t *page.Target) string {
	if t == nil {
		return ""
	}
	return t.Percentile + "=" + t.Latency.String()
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
	var kind struct {
		Differences []page.Difference `json:"differences"`
		A           string            `json:"a"`
		B           string            `json:"b"`
		Paired      bool              `json:"paired"`
	}
	if err := json.Unmarshal(b, &kind); err == nil && kind.Differences != nil {
		p.Comparisons = append(p.Comparisons, page.Comparison{A: kind.A, B: kind.B, Paired: kind.Paired, Differences: kind.Differences})
		return nil
	}
	r, err := bench.ReadReport(path)
	if err != nil {
		return err
	}
	p.Runs = append(p.Runs, page.Run{Name: name, Report: r})
	return nil
}
