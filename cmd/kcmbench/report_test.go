package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReport makes pages of what each command writes.
func TestReport(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	load := []string{"-conns", "2", "-duration", "20ms", "-warmup", "0s", "-verdict=false", "-service", "5us"}
	do := func(args ...string) {
		t.Helper()
		if status, _, stderr := invoke(t, append(args, load...)...); status != 0 {
			t.Fatalf("%s: exit %d: %s", args, status, stderr)
		}
	}
	do("run", "-json", file("run.json"), "-interval", "10ms")
	do("sweep", "-json", file("sweep.json"), "-over", "rate=2000,4000")
	do("compare", "-json", file("compare.json"), "-pairs", "10", "-a", "-depth 1", "-b", "-depth 2")
	do("slo", "-json", file("slo.json"), "-p50", "20s", "-from", "1000", "-to", "1000", "-max-lateness", "20s")

	for _, c := range []struct {
		file string
		want []string
	}{
		{"run.json", []string{`id="percentiles"`, `id="rate"`, "<th>run</th>"}},
		{"sweep.json", []string{`id="throughput"`, "sweep: rate=2000", ": ideal"}},
		{"compare.json", []string{"Comparison", "A: -depth 1", "compare: B 10", "(10 runs)"}},
		{"slo.json", []string{"slo: trial 1"}},
		{"name=run.json", []string{"<th>name</th>"}},
	} {
		name, path, ok := strings.Cut(c.file, "=")
		arg := file(name)
		if ok {
			arg = name + "=" + file(path)
		}
		status, stdout, stderr := invoke(t, "report", arg, "-o", file("page.html"), "-title", "of "+c.file)
		if status != 0 || stdout != "" {
			t.Fatalf("%s: exit %d: %s%s", c.file, status, stdout, stderr)
		}
		page := content(t, file("page.html"))
		for _, want := range append(c.want, "<h1>of "+c.file) {
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %q", c.file, want)
			}
		}
	}
	status, _, stderr := invoke(t, "report", file("run.json"), file("slo.json"), "-target", "p99.9=2ms", "-o", file("page.html"))
	if status != 0 {
		t.Errorf("exit %d: %s", status, stderr)
	}
}

// TestReportRefuses what is no result, each with one line.
func TestReportRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	out := filepath.Join(dir, "out.html")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{}, 2, "at least one file"},
		{[]string{"x.json"}, 2, "-o"},
		{[]string{"-o", out, "-target", "p99", "x"}, 2, "-target"},
		{[]string{"-o", out, "-x", "x"}, 2, "-x"},
		{[]string{"-o", out, filepath.Join(dir, "none")}, 1, "no such file"},
		{[]string{"-o", out, file("text", "hello")}, 1, "invalid character"},
		{[]string{"-o", out, file("other", `{"schema":1}`)}, 1, "no result of"},
		{[]string{"-o", out, file("newer", `{"schema":2,"messages":1}`)}, 1, "schema 2, want 1"},
		{[]string{"-o", out, file("older", `{"schema":1,"messages":1}`)}, 1, "older"},
		{[]string{"-o", out, file("rows", `{"schema":3,"rows":[]}`)}, 1, "schema 3, want 1"},
		{[]string{"-o", out, file("empty", `{"schema":1,"rows":[]}`)}, 1, "no run"},
	} {
		status, _, stderr := invoke(t, append([]string{"report"}, c.args...)...)
		if status != c.status || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit %d: %s", c.args, status, stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("it wrote a page of nothing")
	}
}
