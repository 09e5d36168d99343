//go:build reference

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench"
)

// read is what testdata/hdrlog.js says of a log.
type read struct {
	BeginMillis float64 `json:"begin_ms"`
	EndMillis   float64 `json:"end_ms"`
	Tags        map[string]struct {
		Intervals   int
		Count       int64
		Percentiles []float64 // 0, 50, 90, 99, 99.9, 99.99, 100
		Hgrm        string
	}
}

// reference has the HdrHistogram project's JavaScript read a log. make reference
// installs it.
func reference(t *testing.T, log string) (r read) {
	t.Helper()
	cmd := exec.Command("node", "testdata/hdrlog.js", log)
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReferenceReadsTheLog makes a run with every histogram there is. The project's own
// code finds in the log the percentiles that the report has, and prints the distribution
// as -hgrm does, to the byte.
func TestReferenceReadsTheLog(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	status, _, stderr := invoke(t, "run", "-conns", "8", "-rate", "5000", "-arrival", "poisson",
		"-duration", "600ms", "-warmup", "100ms", "-interval", "100ms", "-service", "bimodal:10us,200us,10%", "-verdict=false",
		"-json", file("a.json"), "-hdr", file("a.hlog"), "-hgrm", file("a.hgrm"))
	if status != 0 {
		t.Fatal(stderr)
	}
	rep, err := bench.ReadReport(file("a.json"))
	if err != nil {
		t.Fatal(err)
	}
	validate(t, "", file("a.json"))
	r := reference(t, file("a.hlog"))
	if len(r.Tags) != len(rep.Histograms) || len(r.Tags) != 5 {
		t.Fatalf("%d tags, want %d", len(r.Tags), len(rep.Histograms))
	}
	first, last := rep.Series[0], rep.Series[len(rep.Series)-1]
	if r.BeginMillis != float64(first.UnixMillis) {
		t.Errorf("begins at %.3f, want %d", r.BeginMillis, first.UnixMillis)
	}
	if length := (r.EndMillis - r.BeginMillis) / 1e3; length < last.To-0.002 || length > last.To+0.002 {
		t.Errorf("%.3f s long, want %.3f", length, last.To)
	}
	for name, h := range rep.Histograms {
		tag := r.Tags[name]
		q := h.Quantiles()
		if tag.Intervals != len(rep.Series) || tag.Count != h.Count() {
			t.Errorf("%s: %d intervals and %d times, want %d and %d", name, tag.Intervals, tag.Count, len(rep.Series), h.Count())
		}
		for i, want := range []float64{q.P50, q.P90, q.P99, q.P999, q.P9999} {
			if got := min(tag.Percentiles[i+1]/1e3, q.Max); got != want {
				t.Errorf("%s: percentile %d is %v, want %v", name, i, got, want)
			}
		}
		hgrm := file("a.hgrm")
		if name != bench.LatencyName {
			hgrm = file("a." + strings.ReplaceAll(name, ":", "-") + ".hgrm")
		}
		b, err := os.ReadFile(hgrm)
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != tag.Hgrm {
			t.Errorf("%s:\n%s\nthe project's own:\n%s", hgrm, b, tag.Hgrm)
		}
	}
}

// TestReferenceReadsTheMergedLog: in a merged log it finds as many times as the logs had, and
// the percentiles of the merged report.
func TestReferenceReadsTheMergedLog(t *testing.T) {
	dir := t.TempDir()
	s := start(t, "serve", "-listen", "127.0.0.1:0", "-loops", "1")
	line, err := s.out.ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening ")
	if !ok {
		t.Fatalf("the server says %q, %v", line, err)
	}
	at := fmt.Sprintf("@%d", time.Now().Add(4*time.Second).Unix())
	var runs []*child
	var logs, reports []string
	for i := range 2 {
		logs = append(logs, filepath.Join(dir, fmt.Sprint(i, ".hlog")))
		reports = append(reports, filepath.Join(dir, fmt.Sprint(i, ".json")))
		runs = append(runs, start(t, "run", "-target", addr, "-conns", "2", "-rate", "1000", "-seed", fmt.Sprint(i+1), "-duration", "500ms",
			"-warmup", "0s", "-interval", "100ms", "-pin=false", "-verdict=false", "-start-at", at, "-max-clock-error", "0",
			"-hdr", logs[i], "-json", reports[i]))
	}
	for _, c := range runs {
		if err := c.wait(t); err != nil {
			t.Fatalf("%v: %s", err, &c.stderr)
		}
	}
	log, report := filepath.Join(dir, "all.hlog"), filepath.Join(dir, "all.json")
	for out, parts := range map[string][]string{log: logs, report: reports} {
		if status, _, stderr := invoke(t, append([]string{"merge", "-o", out}, parts...)...); status != 0 {
			t.Fatal(stderr)
		}
	}
	rep, err := bench.ReadReport(report)
	if err != nil {
		t.Fatal(err)
	}
	validate(t, "", report)
	r := reference(t, log)
	for name, h := range rep.Histograms {
		tag, q := r.Tags[name], h.Quantiles()
		if tag.Count != h.Count() || tag.Count == 0 {
			t.Errorf("%s: %d times, want %d", name, tag.Count, h.Count())
			continue
		}
		if got := min(tag.Percentiles[2]/1e3, q.Max); got != q.P90 {
			t.Errorf("%s: p90 is %v, want %v", name, got, q.P90)
		}
	}
}

// validate holds a file against a definition of the schema, or the schema itself.
func validate(t *testing.T, definition, file string) {
	t.Helper()
	if b, err := exec.Command("node", "testdata/schema.js", "../../docs/kcmbench-schema.json", definition, file).CombinedOutput(); err != nil {
		t.Errorf("%s does not follow the schema: %v\n%s", filepath.Base(file), err, b)
	}
}

// TestReferenceValidatesEveryCommand holds what each command writes against its definition.
// That it succeeds is not the point: also after a failure the file is complete.
func TestReferenceValidatesEveryCommand(t *testing.T) {
	load := []string{"-conns", "2", "-duration", "100ms", "-warmup", "0s", "-service", "5us"}
	run := []string{"-verdict=false"}
	for name, args := range map[string][]string{
		"sweep":   append(run, "-over", "rate=1000,2000"),
		"compare": append(run, "-pairs", "10", "-a", "-depth 1", "-b", "-depth 2"),
		"slo":     {"-p50", "20s", "-from", "1000", "-to", "1000", "-max-lateness", "20s"},
		"ideal":   {"-rate", "1000"},
	} {
		file := filepath.Join(t.TempDir(), name+".json")
		status, _, stderr := invoke(t, append(append([]string{name, "-json", file}, args...), load...)...)
		if _, err := os.Stat(file); err != nil {
			t.Fatalf("%s: exit %d: %s", name, status, stderr)
		}
		validate(t, name, file)
	}
}
