package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench"
)

func TestSweepUsage(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "want -over FLAG=V1,V2,..."},
		{"-over rate", "want FLAG=V1,V2,..."},
		{"-over rate=", "want FLAG=V1,V2,..."},
		{"-over rate=1,,2", "want FLAG=V1,V2,..."},
		{"-over rate=1 -over -rate=2", "-rate is there twice"},
		{"-over speed=1,2", "-over speed: no flag of run's"},
		{"-over json=a,b", "-over json: no flag of run's"},
		{"-over over=a", "-over over: no flag of run's"},
		{"-over rate=1,2 -rate 3", "-rate is given, and varied by -over"},
		{"-over rate=1,two", `-over: invalid value "two" for flag -rate: `},
		{"-over conns=1,0", "-conns 0: want 1 to"},
		{"-over policy=inline,fifo", "-workers 0: want at least 1 with the policy fifo"},
		{"-over rate=1,2 -record x", "-record"},
		{"-over rate=1" + strings.Repeat(",1", 10_000), "want at most 10000 runs"},
	} {
		status, stdout, stderr := invoke(t, append([]string{"sweep"}, strings.Fields(c.args)...)...)
		if status != 2 || stdout != "" || !strings.HasPrefix(stderr, "kcmbench sweep: ") || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%.60s: status %d, output %q, error %q, want %q", c.args, status, stdout, stderr, c.want)
		}
	}
}

// Each combination is run, with the ideal of an open loop with work beside it.
func TestSweep(t *testing.T) {
	backends(t)
	file := filepath.Join(t.TempDir(), "sweep.json")
	status, stdout, stderr := invoke(t, append([]string{"sweep", "-over", "size=13,1KiB", "-over", "-service=10us;bimodal:10us,20us,50%", "-rate", "1000", "-json", file}, quick...)...)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s%s", status, stdout, stderr)
	}
	rep := readJSON[sweepReport](t, file)
	want := [][2]string{{"13", "10us"}, {"13", "bimodal:10us,20us,50%"}, {"1KiB", "10us"}, {"1KiB", "bimodal:10us,20us,50%"}}
	if len(rep.Rows) != len(want) || rep.Schema != 1 || len(rep.Over) != 2 || len(rep.Knees) != 0 {
		t.Fatalf("%+v", rep)
	}
	for i, row := range rep.Rows {
		size := map[string]int{"13": 13, "1KiB": 1024}[want[i][0]]
		if row.Flags["size"] != want[i][0] || row.Flags["service"] != want[i][1] || row.Failure != "" || row.Report.Size.Min != size || row.Report.Service != want[i][1] {
			t.Errorf("row %d: %+v", i, row)
		}
		if row.Ideal == nil || row.Ideal.P50 < 10 || row.Ideal.P99 > 40 || row.IdealWorkers != row.Report.Server.Loops {
			t.Errorf("row %d: ideal of %d workers %+v", i, row.IdealWorkers, row.Ideal)
		}
		if line := fmt.Sprintf("%-4s %-21s", want[i][0], want[i][1]); !strings.Contains(stdout, "\n"+line) {
			t.Errorf("no %q in\n%s", line, stdout)
		}
	}
	// In a closed loop there is no ideal.
	status, stdout, stderr = invoke(t, append([]string{"sweep", "-over", "depth=1,2"}, quick...)...)
	if status != 0 || stderr != "" || strings.Contains(stdout, "ideal") || !strings.HasPrefix(stdout, "depth   messages/s") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
}

func TestSweepInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	status := dispatch(ctx, append([]string{"sweep", "-over", "depth=1,2"}, quick...), &out, &errs)
	if status != 130 || errs.String() != "kcmbench sweep: interrupted\n" || !strings.HasPrefix(out.String(), "depth") {
		t.Errorf("status %d, error %q: %s", status, &errs, &out)
	}
}

// Knees are looked for along the rate, for each combination of the other flags, in the
// order of the rates.
func TestSweepKnees(t *testing.T) {
	rep := &sweepReport{Over: axes{{"rate", []string{"95e3", "10e3", "30e3", "50e3", "70e3", "80e3", "90e3"}}, {"policy", []string{"idle", "fifo", "none"}}}}
	for _, v := range rep.Over.combinations() {
		rate, _ := number(v[0])
		p99 := map[string]float64{"idle": 1 / (100 - rate/1e3), "fifo": max(1, 1+(rate-50e3)), "none": 5}[v[1]]
		rep.Rows = append(rep.Rows, sweepRow{
			Flags:  map[string]string{"rate": v[0], "policy": v[1]},
			Report: &bench.Report{Rate: rate, PerSecond: rate, Latency: bench.Quantiles{P99: p99}},
		})
	}
	rep.findKnees()
	// 1 - sqrt((1-0.1)(1-0.95)) = 0.788 of the capacity; the other at its corner.
	want := []knee{
		{map[string]string{"policy": "idle"}, "rate", "latency_us.p99", "80e3"},
		{map[string]string{"policy": "fifo"}, "rate", "latency_us.p99", "50e3"},
	}
	if !slices.EqualFunc(rep.Knees, want, func(a, b knee) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("%v, want %v", rep.Knees, want)
	}
	var b bytes.Buffer
	if err := rep.writeText(&b); err != nil || strings.Count(b.String(), "  knee\n") != 2 || !strings.Contains(b.String(), "knee of latency_us.p99: -rate 80e3, -policy idle\n") {
		t.Errorf("%v:\n%s", err, &b)
	}

	// In a closed loop throughput bends.
	rep = &sweepReport{Over: axes{{"size", []string{"1KiB", "2KiB", "3KiB", "4KiB", "5KiB"}}}}
	for i, v := range rep.Over[0].Values {
		rep.Rows = append(rep.Rows, sweepRow{Flags: map[string]string{"size": v}, Report: &bench.Report{PerSecond: float64(min(i, 2))}})
	}
	rep.findKnees()
	if len(rep.Knees) != 1 || rep.Knees[0].At != "3KiB" || rep.Knees[0].Of != "messages_per_second" {
		t.Errorf("%v", rep.Knees)
	}
	// Four points are too few.
	rep.Rows, rep.Knees = rep.Rows[:4], nil
	if rep.findKnees(); len(rep.Knees) != 0 {
		t.Errorf("%v", rep.Knees)
	}
}
