package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench"
)

// madeUp returns reports whose latencies are around us microseconds.
func madeUp(n int, us float64) (all []*bench.Report) {
	for i := range n {
		x := us * (1 + 0.01*float64(i))
		all = append(all, &bench.Report{Schema: bench.Schema, Frame: "len32", Messages: 1, PerSecond: 1000, Conns: 4, Rate: 1000,
			Latency: bench.Quantiles{P50: x, P99: 2 * x, P999: 3 * x}, Server: &bench.LoopReport{CPUNanosPerMessage: 5000 + float64(i%3)}})
	}
	return all
}

// save writes each value to a file, one after the other.
func save(t *testing.T, name string, v ...any) string {
	t.Helper()
	var b bytes.Buffer
	for _, one := range v {
		if err := json.NewEncoder(&b).Encode(one); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func each[T any](all []T) (v []any) {
	for _, one := range all {
		v = append(v, one)
	}
	return v
}

func TestCompareUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "want two files of reports, A.json B.json, or flags of two sides"},
		{[]string{"A.json"}, "want two files"},
		{[]string{"A.json", "B.json", "C.json"}, "want two files"},
		{[]string{"-conns", "3", "A.json", "B.json"}, "-conns is for runs, which -a and -b do"},
		{[]string{"-pairs", "12", "A.json", "B.json"}, "-pairs is for runs"},
		{[]string{"-a", "", "-b", "-depth 2", "extra"}, `unexpected argument "extra"`},
		{[]string{"-pairs", "9", "-b", "-depth 2"}, "-pairs 9: want at least 10"},
		{[]string{"-b", "-depth 0"}, "-b: -depth 0: want 1 to"},
		{[]string{"-a", "-frobnicate"}, "-a: flag provided but not defined: -frobnicate"},
		{[]string{"-a", "-h"}, "-a: flag: help requested"},
		{[]string{"-a", "word"}, `-a: unexpected argument "word"`},
		{[]string{"-b", "-pairs 3"}, "-b: -pairs is no flag of run's"},
		{[]string{"-b", "--json=x"}, "-b: -json is no flag of run's"},
	} {
		status, stdout, stderr := invoke(t, append([]string{"compare"}, c.args...)...)
		if status != 2 || stdout != "" || !strings.HasPrefix(stderr, "kcmbench compare: ") || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: status %d, output %q, error %q, want %q", c.args, status, stdout, stderr, c.want)
		}
	}
}

// Reports come one after the other, in arrays, and in several files.
func TestCompareFiles(t *testing.T) {
	a, b := madeUp(12, 100), madeUp(10, 200)
	for i, r := range b {
		r.Workers = 4
		r.Server.CPUNanosPerMessage = a[i].Server.CPUNanosPerMessage
	}
	file := filepath.Join(t.TempDir(), "out.json")
	status, stdout, stderr := invoke(t, "compare", "-json", file, save(t, "a.json", each(a)...),
		save(t, "b1.json", b[:4])+","+save(t, "b2.json", b[4], b[5:])+","+save(t, "none.json"))
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s", status, stderr)
	}
	rep := readJSON[compareReport](t, file)
	if rep.Schema != 1 || rep.Paired || rep.Alpha != 0.05 || len(rep.A.Runs) != 12 || len(rep.B.Runs) != 10 || len(rep.B.Files) != 3 ||
		fmt.Sprint(rep.Differ) != "[workers: 0, 4]" || len(rep.Differences) != 5 {
		t.Fatalf("%+v", rep)
	}
	for i, want := range []struct {
		name  string
		shown bool
		ratio float64
	}{{"p50 us", true, 2 * 1.045 / 1.055}, {"p99 us", true, 2 * 1.045 / 1.055}, {"p99.9 us", true, 2 * 1.045 / 1.055}, {"messages/s", false, 1}, {"CPU ns/msg", false, 1}} {
		d := rep.Differences[i]
		if d.Name != want.name || d.Shown != want.shown || d.Ratio < want.ratio*0.999 || d.Ratio > want.ratio*1.001 || d.RunsA != 12 || d.RunsB != 10 {
			t.Errorf("%+v, want %+v", d, want)
		}
	}
	for _, want := range []string{"A: 12 runs: ", "unequal in workers: 0, 4\n", "B is higher by 98.1 %\n", "no difference shown\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	// The other way around.
	if _, stdout, _ := invoke(t, "compare", save(t, "b.json", b), save(t, "a.json", a)); !strings.Contains(stdout, "B is lower by 49.5 %\n") {
		t.Errorf("%s", stdout)
	}
	// Without a server in the process there is no CPU time.
	for _, r := range a {
		r.Server = nil
	}
	if status, stdout, _ := invoke(t, "compare", save(t, "a.json", a), save(t, "b.json", b)); status != 0 || strings.Contains(stdout, "CPU ns/msg") {
		t.Errorf("status %d: %s", status, stdout)
	}
}

func TestCompareRefuses(t *testing.T) {
	change := func(what func(*bench.Report)) []*bench.Report {
		runs := madeUp(10, 100)
		what(runs[7])
		return runs
	}
	good := save(t, "good.json", madeUp(10, 100))
	for _, c := range []struct {
		v    any
		want string
	}{
		{madeUp(9, 100), "B has 9 runs: want at least 10 runs of each side"},
		{change(func(r *bench.Report) { r.Failure = "3 messages lost" }), "report 8 of B: the run failed: 3 messages lost"},
		{change(func(r *bench.Report) { r.Messages = 0 }), "report 8 of B: the run measured nothing"},
		{change(func(r *bench.Report) { r.Schema = 2 }), "report 8 of B: no report of run -json with schema 1"},
		{change(func(r *bench.Report) { r.Rate = 7 }), `the runs of B are unequal: rate "1000" in the first, "7" in number 8`},
		{map[string]int{"schema": 1}, "report 1 of B: no report"},
		{"text", "report 1 of B: json: "},
	} {
		status, _, stderr := invoke(t, "compare", good, save(t, "bad.json", c.v))
		if status != 1 || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, c.want) {
			t.Errorf("status %d, %q, want %q", status, stderr, c.want)
		}
	}
	if err := os.WriteFile(good+".cut", []byte(`{"schema": 1,`), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{good + ".cut": "good.json.cut: no JSON: unexpected EOF", good + ".none": "no such file"} {
		if status, _, stderr := invoke(t, "compare", good, file); status != 1 || !strings.Contains(stderr, want) {
			t.Errorf("status %d, %q, want %q", status, stderr, want)
		}
	}
}

// Two live sides run in pairs with the same seed, and take turns in being first.
func TestComparePairs(t *testing.T) {
	backends(t)
	file := filepath.Join(t.TempDir(), "out.json")
	args := slices.Concat([]string{"compare"}, quick, []string{"-duration", "200ms", "-pairs", "10", "-a", "-size 100", "-b", "-size 200 -depth 2", "-seed", "40", "-json", file})
	status, stdout, stderr := invoke(t, args...)
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s%s", status, stdout, stderr)
	}
	rep := readJSON[compareReport](t, file)
	if !rep.Paired || len(rep.A.Runs) != 10 || len(rep.B.Runs) != 10 || fmt.Sprint(rep.Differ) != "[depth: 1, 2 size: 100, 200]" || rep.A.Flags != "-size 100" || len(rep.Differences) < 4 {
		t.Fatalf("%+v", rep)
	}
	for i := range 10 {
		a, b := rep.A.Runs[i], rep.B.Runs[i]
		if a.Seed != 40+uint64(i) || b.Seed != a.Seed || a.Size.Min != 100 || b.Size.Min != 200 || a.Depth != 1 || b.Depth != 2 || a.Conns != 2 || b.Conns != 2 {
			t.Errorf("pair %d: %+v, %+v", i, a, b)
		}
	}
	if !strings.Contains(stdout, "A: 10 runs: -size 100\n") {
		t.Errorf("%s", stdout)
	}

	var order strings.Builder
	r := &compareReport{A: side{Name: "A"}, B: side{Name: "B"}}
	c := bench.Config{Workload: bench.Workload{Conns: 1, Depth: 1, Size: bench.Sizes{Min: 9, Max: 9}, Duration: 100 * time.Millisecond},
		Server: bench.ServerOptions{Listen: "127.0.0.1:0", MaxMessage: 4096}, AnyVerdict: true}
	if err := r.measure(t.Context(), []*bench.Config{&c, &c}, 3, &order); err != nil {
		t.Fatal(err)
	}
	var turns []string
	for line := range strings.Lines(order.String()) {
		turn, _, _ := strings.Cut(line, ":")
		turns = append(turns, turn)
	}
	if got, want := strings.Join(turns, "; "), "pair 1 of 3, A; pair 1 of 3, B; pair 2 of 3, B; pair 2 of 3, A; pair 3 of 3, A; pair 3 of 3, B"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// A run that fails ends the comparison.
	c.Target = "127.0.0.1:1"
	if err := r.measure(t.Context(), []*bench.Config{&c, &c}, 3, &order); err == nil || len(r.A.Runs) != 3 {
		t.Errorf("%v, %d runs", err, len(r.A.Runs))
	}
}

func TestCompareInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	status := dispatch(ctx, append([]string{"compare", "-b", "-depth 2"}, quick...), &out, &errs)
	if status != 130 || errs.String() != "kcmbench compare: interrupted\n" || !strings.Contains(out.String(), "A: 0 runs") {
		t.Errorf("status %d, error %q: %s", status, &errs, &out)
	}
}
