//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/internal/rig/rigtest"
)

func TestMain(m *testing.M) { rigtest.Main(m) }

// runFake runs the program with a fake kcmbench and returns its report as JSON
// and as text, and what it started.
func runFake(t *testing.T, fault string, args ...string) (rep report, text string, started []string, err error) {
	t.Helper()
	bin, processes := rigtest.Fake(t, fault)
	file := filepath.Join(t.TempDir(), "out.json")
	var stdout, stderr strings.Builder
	err = run(t.Context(), append([]string{"-kcmbench", bin, "-json", file}, args...), &stdout, &stderr)
	rigtest.CheckGone(t, processes())
	for _, p := range processes() {
		started = append(started, strings.Join(p[1:], " "))
	}
	if b, readErr := os.ReadFile(file); readErr == nil {
		if err := json.Unmarshal(b, &rep); err != nil {
			t.Fatal(err)
		}
	} else if err == nil {
		t.Fatal(readErr)
	}
	if err != nil {
		t.Logf("%s", stderr.String())
	}
	return rep, stdout.String(), started, err
}

func contains(t *testing.T, list []string, want string, n int) {
	t.Helper()
	got := 0
	for _, s := range list {
		if strings.Contains(s, want) {
			got++
		}
	}
	if got != n {
		t.Errorf("%d times %q, want %d, in\n%s", got, want, n, strings.Join(list, "\n"))
	}
}

func TestTail(t *testing.T) {
	rep, text, started, err := runFake(t, "ok", "-parts", "tail,one", "-pairs", "2", "-rate", "3000",
		"-duration", "60ms", "-warmup", "10ms", "-servers", "kcm-idle,kcm-fifo,netshard")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, started, "-workers 4 -policy idle -order=false -work message", 1+2*2*2)
	contains(t, started, "-workers 4 -policy fifo -order=false -work message", 1+2*2*2)
	contains(t, started, "-rate 3000 -arrival poisson -service bimodal:10us,2ms,1% -seed 2 -duration 60ms -warmup 10ms -service-mode auto -order=false", 3*2)
	contains(t, started, "-conns 1 -rate 3000 -arrival poisson -service 10us -seed 1 -duration 60ms -warmup 10ms -service-mode auto -order=false", 3)
	contains(t, started, "ideal -conns 32", 2)
	contains(t, started, "ideal -conns 1 -rate 3000 -arrival poisson -service bimodal:10us,2ms,1% -seed 1 -duration 60ms -warmup 10ms -workers 4 -discipline fcfs", 1)
	for _, part := range []*tailResult{rep.Tail, rep.One} {
		if part == nil || len(part.Samples) != 6 || part.IdealWait != 7 {
			t.Fatalf("part %+v", part)
		}
		for i, server := range []string{"kcm-idle", "kcm-fifo", "netshard"} {
			r := part.Rows[i]
			if r.Server != server || r.Runs != 2 || r.With.P50 < 10 || r.With.P50 > r.With.P99 || r.Without.P99 <= 0 || r.Bound <= allowance*7 {
				t.Errorf("row %+v", r)
			}
			if (r.P99Ratio == nil) != (server == base) {
				t.Errorf("ratio of %s: %+v", server, r.P99Ratio)
			}
		}
		s := part.Samples[0]
		if want := allowance * (s.Without.P99 + 7); s.Bound < want*0.999 || s.Bound > want*1.001 {
			t.Errorf("bound %v, want %v", s.Bound, want)
		}
	}
	for _, want := range []string{
		"### Tail: 3000 messages/s over 32 connections\n", "### Tail: 3000 messages/s over 1 connection\n", "| netshard ",
		": tail: p99 of kcm-idle is ", ": one: p99 of kcm-idle is ", "50.0 % confidence",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestSLO(t *testing.T) {
	// Quick messages take well under a second, so only falling behind ends it.
	rep, text, _, err := runFake(t, "behind", "-parts", "slo", "-slo", "1s", "-trial", "20ms", "-servers", "kcm-idle,kcm-fifo")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rep.SLO.Rows {
		if r.Rate < 10000/precision-1 || r.Rate >= 10000 {
			t.Errorf("%s holds %v, want a little less than 10000", r.Server, r.Rate)
		}
		if !slices.ContainsFunc(r.Trials, func(t trial) bool { return t.Behind && t.Rate >= 10000 }) {
			t.Errorf("%s: no trial fell behind: %+v", r.Server, r.Trials)
		}
	}
	if len(rep.SLO.Rows) != 2 || !strings.Contains(text, "### Highest rate with a p99 of 1e+06 us") {
		t.Errorf("report:\n%s", text)
	}
}

func TestHandoff(t *testing.T) {
	rep, text, started, err := runFake(t, "ok", "-parts", "handoff", "-pairs", "1", "-duration", "30ms", "-warmup", "0s")
	if err != nil {
		t.Fatal(err)
	}
	contains(t, started, "-workers 2 -policy idle", 6)
	contains(t, started, "-policy inline", 6)
	contains(t, started, "-conns 64 -depth 16 -size 64 -duration 30ms -warmup 0s -order=false", 3)
	contains(t, started, "run ", 12)
	if len(rep.Handoff) != 3 {
		t.Fatalf("%+v", rep.Handoff)
	}
	for i, h := range rep.Handoff {
		if h.Procs != handoffProcs[i] || len(h.Rows) != 4 || h.Rows[2].Ratio == nil || h.Rows[0].PerCPU <= 0 || h.Rows[0].PerSecond <= 0 {
			t.Errorf("%+v", h)
		}
	}
	if !strings.Contains(text, "handoff, GOMAXPROCS=4: messages per CPU second kcm-idle/netchan is ") {
		t.Errorf("report:\n%s", text)
	}
}

// Runs that fail are named, left out, and make the program fail at the end.
func TestFailures(t *testing.T) {
	for fault, want := range map[string]string{
		"generator fails":         "no luck",
		"generator counts errors": "3 errors",
	} {
		t.Run(fault, func(t *testing.T) {
			rep, text, _, err := runFake(t, fault, "-parts", "tail,slo", "-pairs", "1", "-duration", "10ms", "-warmup", "0s",
				"-trial", "10ms", "-servers", "kcm-idle")
			if err == nil || !strings.Contains(err.Error(), "2 runs failed") {
				t.Errorf("run = %v, want 2 failed runs", err)
			}
			if !strings.Contains(text, "NOT MEASURED: tail: kcm-idle") || !slices.Equal(rep.Missing, []string{"tail: kcm-idle", "slo: kcm-idle"}) {
				t.Errorf("not measured: %q in\n%s", rep.Missing, text)
			}
			if len(rep.Failures) != 2 || strings.Count(text, want) < 2 {
				t.Errorf("failures %+v, want 2 with %q", rep.Failures, want)
			}
		})
	}
}

func TestFlagErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-parts tail,nosuch", `no part "nosuch", have tail,slo,one,handoff`},
		{"-parts tail,tail", "tail is there twice"},
		{"-servers net", `no server "net", have kcm-idle,kcm-fifo,netgo,netpool,netshard`},
		{"-pairs 0", "-pairs 0"},
		{"-procs -1", "-procs -1: want 0 or more"},
		{"-rate 0", "-rate 0: want some messages"},
		{"-rate NaN", "-rate NaN: want some messages"},
		{"-slo 0s", "-slo 0s"},
		{"-trial -1s", "-trial -1s"},
		{"-server-cpu 100000", "CPU 100000 is not allowed here"},
		{"tail", `unexpected argument "tail"`},
	} {
		err := run(t.Context(), strings.Fields(tt.args), io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error with %q", tt.args, err, tt.want)
		}
	}
	if err := run(t.Context(), []string{"-nosuch"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("an unknown flag: %v", err)
	}
}
