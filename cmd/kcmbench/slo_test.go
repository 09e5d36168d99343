package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/bench/judge"
)

// quick are flags of runs that take next to nothing.
var quick = strings.Fields("-verdict=false -conns 2 -duration 50ms -warmup 5ms -max-message 64KiB")

// readJSON reads a file that was written with -json.
func readJSON[T any](t *testing.T, file string) (v T) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSLOUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "no target: want at least one of -p50"},
		{"-p99 0", "-p99 0s: want a positive time"},
		{"-p99 -1us", "-p99 -1µs: want a positive time"},
		{"-p99 1ms -rate 5", "-rate is what slo looks for"},
		{"-p99 1ms -repeats 4", "repeats 4: want an odd number"},
		{"-p99 1ms -resolution 3", "resolution 3: want 0.0001 to 1"},
		{"-p99 1ms -from 0", "search from 0 within 0 to 1e+09: want positive rates in order"},
		{"-p99 1ms -from 5000 -to 4000", "search from 5000 within 5000 to 4000: want positive rates in order"},
		{"-p99 1ms -replay /dev/null", "-replay"},
		{"-p99 1ms -think 1ms", "-think 1ms: want 0 in an open loop"},
		{"-p99.99 1ms -to 1000 -duration 1s", "-duration 1s: too short for these limits: below 100000/s fewer than 10"},
		{"-p99 1ms -conns 0", "-conns 0: want 1 to"},
		{"-p99 1ms -policy fifo", "-workers 0: want at least 1"},
	} {
		status, stdout, stderr := invoke(t, append([]string{"slo"}, strings.Fields(c.args)...)...)
		if status != 2 || stdout != "" || !strings.HasPrefix(stderr, "kcmbench slo: ") || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: status %d, output %q, error %q, want %q", c.args, status, stdout, stderr, c.want)
		}
	}
}

// Every rate meets a minute: the highest allowed is found.
func TestSLOHeld(t *testing.T) {
	backends(t)
	file := filepath.Join(t.TempDir(), "slo.json")
	status, stdout, stderr := invoke(t, append([]string{"slo", "-p50", "59s", "-p90", "1m", "-from", "2000", "-to", "5000", "-resolution", "0.25",
		"-repeats", "1", "-service", "10us", "-ideal-workers", "3", "-json", file}, quick...)...)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s%s", status, stdout, stderr)
	}
	rep := readJSON[sloReport](t, file)
	if rep.Schema != 1 || len(rep.Targets) != 2 || rep.Targets[1] != (sloTarget{"p90", 6e7}) || rep.Failure != "" ||
		rep.Rate < 4500 || rep.Rate > 5000 || rep.Low != rep.Rate || rep.High != 0 || rep.Limit != judge.Held || len(rep.Trials) != 2 {
		t.Errorf("%+v", rep)
	}
	for i, tr := range rep.Trials {
		figures, ok := tr.Figures.(map[string]any)
		if !ok || figures["rate"] != tr.Rate || figures["seed"] != float64(1+i) {
			t.Errorf("trial %d at %g/s: %v", i, tr.Rate, tr.Figures)
		}
	}
	// Three workers that take 10us each.
	if rep.Ideal == nil || rep.Ideal.Workers != 3 || rep.Ideal.Rate < 300_000 {
		t.Errorf("ideal: %+v", rep.Ideal)
	}
	for _, want := range []string{"p50 at most 59s", "1/1", "no interval", "workers: 3"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

// No rate meets a microsecond: that is said in a line, and the trials are kept.
func TestSLOUnreachable(t *testing.T) {
	backends(t)
	file := filepath.Join(t.TempDir(), "slo.json")
	status, stdout, stderr := invoke(t, append([]string{"slo", "-p50", "1us", "-from", "1000", "-repeats", "1", "-json", file}, quick...)...)
	if status != 1 || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "kcmbench slo: no rate meets the target: at 4") ||
		!strings.Contains(stdout, "none met the target") {
		t.Fatalf("status %d, error %q:\n%s", status, stderr, stdout)
	}
	if rep := readJSON[sloReport](t, file); rep.Rate != 0 || len(rep.Trials) != 2 || !strings.Contains(stderr, rep.Failure) {
		t.Errorf("%+v", rep)
	}
}

// A search that is interrupted reports the trials so far.
func TestSLOInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	status := dispatch(ctx, append([]string{"slo", "-p50", "1m"}, quick...), &out, &errs)
	if status != 130 || errs.String() != "kcmbench slo: interrupted\n" || !strings.Contains(out.String(), "none met the target") {
		t.Errorf("status %d, error %q: %s", status, &errs, &out)
	}
}

func TestFinding(t *testing.T) {
	bounds := []bound{{percentiles[0], 100 * time.Microsecond}, {percentiles[2], time.Millisecond}}
	q := func(p50, p99 float64) *bench.Quantiles { return &bench.Quantiles{P50: p50, P99: p99} }
	for _, c := range []struct {
		what              string
		latency, actual   *bench.Quantiles
		unsent, duplicate int64
		want              judge.Finding
	}{
		{"in time", q(100, 1000), q(90, 900), 0, 0, judge.Held},
		{"p50 over", q(100.1, 1000), q(100.1, 900), 0, 0, judge.Missed},
		{"p99 over", q(100, 1001), q(90, 1001), 0, 0, judge.Missed},
		{"sent late", q(100, 5000), q(90, 900), 0, 0, judge.Behind},
		{"unsent for the server", q(900, 5000), q(500, 2000), 3, 0, judge.Missed},
		{"unsent, few answered", q(90, 900), q(50, 200), 3, 0, judge.Missed},
		{"duplicate", q(90, 900), q(50, 200), 0, 1, judge.Lost},
		{"duplicate and late", q(900, 9000), q(500, 2000), 1, 1, judge.Lost},
	} {
		rep := &bench.Report{Latency: *c.latency, LatencyActual: c.actual, Lateness: q(10, 4100), Unsent: c.unsent, Duplicate: c.duplicate, Errors: c.unsent + c.duplicate}
		rep.Verdict.Valid = true
		if o := finding(rep, bounds, false); o.Finding != c.want || (o.Why == "") != (c.want == judge.Held) || o.Figures != any(rep) {
			t.Errorf("%s: %+v, want %s", c.what, o, c.want)
		}
	}
	anew := &bench.Report{Latency: *q(100, 5000), LatencyActual: q(90, 900), Lateness: q(10, 4100), Churn: "100", Verdict: bench.Verdict{Valid: true}}
	if o := finding(anew, bounds, false); o.Finding != judge.Missed {
		t.Errorf("late for connections made anew: %+v", o)
	}
	rep := &bench.Report{Latency: *q(100, 1000), LatencyActual: q(90, 900), Lateness: q(10, 900), Verdict: bench.Verdict{Reasons: []string{"too slow"}}}
	if o := finding(rep, bounds, false); o.Finding != judge.Behind || o.Why != "too slow" {
		t.Errorf("invalid: %+v", o)
	}
	if o := finding(rep, bounds, true); o.Finding != judge.Held {
		t.Errorf("invalid, and no matter: %+v", o)
	}
}
