package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench"
)

// files makes the flags of every output in a new directory.
func files(t *testing.T) (file func(name string) string, flags []string) {
	t.Helper()
	dir := t.TempDir()
	file = func(name string) string { return filepath.Join(dir, name) }
	return file, []string{"-json", file("a.json"), "-csv", file("a.csv"), "-series", file("a.ndjson"),
		"-hdr", file("a.hlog"), "-hgrm", file("a.hgrm"), "-record", file("record.csv")}
}

func content(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// series reads the lines of a series.
func series(t *testing.T, file string) (all []bench.Point) {
	t.Helper()
	for line := range strings.Lines(content(t, file)) {
		var p bench.Point
		if err := json.Unmarshal([]byte(line), &p); err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, p)
	}
	return all
}

// check holds the files of a run against each other.
func check(t *testing.T, file func(string) string) *bench.Report {
	t.Helper()
	rep, err := bench.ReadReport(file("a.json"))
	if err != nil {
		t.Fatal(err)
	}
	points := series(t, file("a.ndjson"))
	n := int64(0)
	for _, p := range points {
		n += p.Messages
	}
	if len(points) != len(rep.Series) || n != rep.Messages {
		t.Errorf("%d lines with %d messages in the series, %d with %d in the report", len(points), n, len(rep.Series), rep.Messages)
	}
	log := content(t, file("a.hlog"))
	for name := range rep.Histograms {
		begin := "\nTag=" + name + ","
		if name == bench.LatencyName {
			begin = "\n"
		}
		lines := 0
		for _, line := range strings.SplitAfter(log, "\n") {
			if rest, ok := strings.CutPrefix("\n"+line, begin); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
				lines++
			}
		}
		if lines != len(points) {
			t.Errorf("%d lines of %s in the log, want %d", lines, name, len(points))
		}
		hgrm := "a." + strings.ReplaceAll(name, ":", "-") + ".hgrm"
		if name == bench.LatencyName {
			hgrm = "a.hgrm"
		}
		if s := content(t, file(hgrm)); !strings.Contains(s, "Total count    = "+pad(rep.Histograms[name].Count(), 12)+"]") {
			t.Errorf("%s: %s", hgrm, s)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(content(t, file("a.csv")))).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("CSV: %d lines, %v", len(rows), err)
	}
	for name, want := range map[string]float64{
		"messages": float64(rep.Messages), "latency_us.p99_9": rep.Latency.P999, "env.cores": float64(rep.Env.Cores),
	} {
		i := slices.Index(rows[0], name)
		if i < 0 {
			t.Fatalf("CSV without %s: %v", name, rows[0])
		}
		if got, err := strconv.ParseFloat(rows[1][i], 64); err != nil || got != want {
			t.Errorf("CSV: %s is %v, want %v", name, rows[1][i], want)
		}
	}
	if s := content(t, file("record.csv")); strings.Count(s, "\n") != int(rep.Messages)+1 {
		t.Errorf("%d lines in the record, want %d", strings.Count(s, "\n"), rep.Messages+1)
	}
	return rep
}

func pad(n int64, width int) string {
	s := strconv.FormatInt(n, 10)
	return strings.Repeat(" ", max(0, width-len(s))) + s
}

// TestRunWritesEveryFile has one run write all it can.
func TestRunWritesEveryFile(t *testing.T) {
	file, flags := files(t)
	status, stdout, stderr := invoke(t, append([]string{"run", "-conns", "4", "-rate", "4000", "-duration", "300ms",
		"-warmup", "50ms", "-interval", "50ms", "-service", "bimodal:5us,50us,10%", "-verdict=false"}, flags...)...)
	if status != 0 {
		t.Fatalf("exit %d: %s%s", status, stdout, stderr)
	}
	rep := check(t, file)
	if len(rep.Series) == 0 || len(rep.Histograms) != 5 {
		t.Errorf("%d intervals, %d histograms", len(rep.Series), len(rep.Histograms))
	}
	status, _, stderr = invoke(t, "run", "-duration", "10ms", "-hdr", file("no/such/directory"))
	if status != 1 || !strings.Contains(stderr, "-hdr: open") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit %d: %s", status, stderr)
	}
}

// TestInterruptedRunWritesEveryFile ends a run of a minute when its series has two lines.
func TestInterruptedRunWritesEveryFile(t *testing.T) {
	file, flags := files(t)
	c := start(t, append([]string{"run", "-conns", "2", "-rate", "1000", "-duration", "1m", "-warmup", "0s", "-interval", "50ms", "-verdict=false"}, flags...)...)
	waitFor(t, func() bool {
		b, err := os.ReadFile(file("a.ndjson"))
		return err == nil && strings.Count(string(b), "\n") >= 2
	})
	if _, status := c.end(t, syscall.SIGINT); status == 0 {
		t.Error("exit 0")
	}
	if rep := check(t, file); len(rep.Series) < 2 || rep.Seconds > 50 || !strings.Contains(rep.Failure, "interrupt") && !strings.Contains(rep.Failure, "canceled") {
		t.Errorf("%d intervals, %v s, failure %q", len(rep.Series), rep.Seconds, rep.Failure)
	}
}

// waitFor waits until a condition holds, and fails after half a minute.
func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within half a minute")
		}
	}
}

// TestRunPrintsJSON: -json - prints the report as JSON and nothing else.
func TestRunPrintsJSON(t *testing.T) {
	status, stdout, stderr := invoke(t, "run", "-conns", "1", "-duration", "20ms", "-warmup", "0s", "-verdict=false", "-json", "-")
	var rep bench.Report
	if err := json.Unmarshal([]byte(stdout), &rep); status != 0 || err != nil || rep.Schema != bench.Schema {
		t.Errorf("exit %d, %v: %s%s", status, err, stdout, stderr)
	}
	if _, err := os.Stat("-"); err == nil {
		t.Error("there is a file -")
	}
}
