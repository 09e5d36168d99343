package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/internal/conformance/lab"
)

// errDifferent says that outcomes differ, which has been told.
var errDifferent = errors.New("outcomes differ")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errDifferent):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
}

type options struct {
	kernels []string
	mux     bool
	dir     string
	cache   string
	match   *regexp.Regexp
	update  bool
	count   int
	limit   time.Duration
}

func parseFlags(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	fs := flag.NewFlagSet("conformance", flag.ContinueOnError)
	fs.SetOutput(stderr)
	kernels := fs.String("kernels", "6.1,6.12", "series of the kernels, with commas between them; none if empty")
	fs.BoolVar(&o.mux, "mux", true, "run package mux too")
	fs.StringVar(&o.dir, "scripts", "internal/conformance/testdata", "directory of the scripts")
	fs.StringVar(&o.cache, "cache", "", "directory for kernels; kcm-conformance in the user's cache directory if empty")
	match := fs.String("run", "", "regular expression that names of scripts match")
	fs.BoolVar(&o.update, "update", false, "record the outcomes")
	fs.IntVar(&o.count, "count", 1, "how many times to run")
	fs.DurationVar(&o.limit, "limit", 5*time.Minute, "time limit for one run on one kernel")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.count < 1 {
		return nil, fmt.Errorf("-count is %d, want at least 1", o.count)
	}
	if *kernels != "" {
		o.kernels = strings.Split(*kernels, ",")
	}
	var err error
	if o.match, err = regexp.Compile(*match); err != nil {
		return nil, err
	}
	if o.cache == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		o.cache = filepath.Join(cache, "kcm-conformance")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	all, err := conformance.Load(os.DirFS(o.dir))
	if err != nil {
		return err
	}
	var cases []conformance.Case
	scripts := make(map[string]string)
	for _, c := range all {
		if o.match.MatchString(c.Name) {
			cases = append(cases, c)
			scripts[c.Name] = c.String()
		}
	}
	if cases == nil {
		return fmt.Errorf("no script in %s matches %q", o.dir, o.match)
	}
	different, results, packages, err := runKernels(ctx, o, cases, scripts, stdout, stderr)
	if err != nil {
		return err
	}
	if o.update && results != nil {
		if err := record(o.dir, cases, results); err != nil {
			return err
		}
		if err := recordKernels(filepath.Join(o.dir, "kernels"), packages); err != nil {
			return err
		}
	}
	if o.mux {
		bad, err := runMux(o, cases, stdout)
		if err != nil {
			return err
		}
		different = different || bad > 0
	}
	if different {
		return errDifferent
	}
	return nil
}

// runKernels runs the scripts on the kernels. It returns the last report of each, if there are any, and
// whether outcomes were not the recorded ones or something else was wrong.
func runKernels(ctx context.Context, o *options, cases []conformance.Case, scripts map[string]string, stdout, stderr io.Writer) (
	different bool, results map[string]*lab.Report, packages map[string]string, err error) {
	if o.kernels == nil {
		return false, nil, nil, nil
	}
	logf := func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	guest, err := lab.BuildGuest(ctx, o.cache)
	if err != nil {
		return false, nil, nil, err
	}
	results, packages = make(map[string]*lab.Report), make(map[string]string)
	for _, series := range o.kernels {
		im, err := lab.Prepare(ctx, series, o.cache, logf)
		if err != nil {
			return false, nil, nil, err
		}
		for range o.count {
			runCtx, cancel := context.WithTimeout(ctx, o.limit)
			r, err := im.Run(runCtx, guest, lab.Load{Scripts: scripts})
			cancel()
			if err != nil {
				return false, nil, nil, err
			}
			results[series], packages[series] = r, im.Package
			bad := 0
			if !o.update {
				bad = compare(stdout, "Linux "+series, series, cases, r.Outcomes)
			}
			bad += faults(stdout, series, r)
			different = different || bad > 0
			fmt.Fprintf(stdout, "Linux %s (%s): %d scripts, booted in %.1f s, ran %.1f s, %.1f s in all; %d not as recorded\n",
				series, im.Package, len(cases), r.Boot.Seconds(), r.Ran.Seconds(), r.Elapsed.Seconds(), bad)
		}
	}
	return different, results, packages, nil
}

// compare tells where the outcomes are not the recorded ones, and returns the number of
// scripts.
func compare(w io.Writer, where, engine string, cases []conformance.Case, outcomes map[string][]string) int {
	bad := 0
	for _, c := range cases {
		diffs := conformance.Compare(c.Script, engine, outcomes[c.Name])
		if diffs != nil {
			bad++
		}
		for _, d := range diffs {
			fmt.Fprintf(w, "%s on %s, action %d: %v\n", c.Name, where, d.Step+1, d)
		}
	}
	return bad
}

// faults tells what went wrong besides, and returns the number of scripts.
func faults(w io.Writer, series string, r *lab.Report) int {
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		fmt.Fprintf(w, "%s on Linux %s: %s\n", name, series, r.Faults[name])
	}
	return len(r.Faults)
}

// record writes the outcomes of the last run of each kernel into the scripts.
func record(dir string, cases []conformance.Case, results map[string]*lab.Report) error {
	for _, c := range cases {
		got := make(map[string][]string)
		for series, r := range results {
			got[series] = r.Outcomes[c.Name]
		}
		if err := conformance.Record(c.Script, got); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, c.Name+".txt"), []byte(c.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// recordKernels writes down which packages the outcomes are from: a line for each series. Lines of
// other series stay.
func recordKernels(path string, packages map[string]string) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all := maps.Clone(packages)
	for _, line := range strings.Split(string(text), "\n") {
		series, file, ok := strings.Cut(line, " ")
		if _, known := all[series]; ok && !known {
			all[series] = file
		}
	}
	var b strings.Builder
	for _, series := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s %s\n", series, all[series])
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
