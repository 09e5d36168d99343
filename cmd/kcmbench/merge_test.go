package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMergeRefuses what cannot be added up, each with one line, and writes nothing.
func TestMergeRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	status, _, stderr := invoke(t, "run", "-conns", "1", "-duration", "20ms", "-warmup", "0s", "-verdict=false", "-interval", "10ms",
		"-json", file("a.json"), "-hdr", file("a.hlog"))
	if status != 0 {
		t.Fatal(stderr)
	}
	out := file("out")
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{}, 2, "-o"},
		{[]string{file("a.json"), file("a.json")}, 2, "-o"},
		{[]string{"-o", out, file("a.json")}, 2, "at least two"},
		{[]string{"-o", out, "-spread", "-1s", "a", "b"}, 2, "-spread"},
		{[]string{"-o", out, file("a.json"), file("none")}, 1, "no such file"},
		{[]string{"-o", out, file("a.json"), file("a.hlog")}, 1, "apart"},
		{[]string{"-o", out, file("a.json"), file("a.json")}, 1, "a server in its own process"},
	} {
		status, _, stderr := invoke(t, append([]string{"merge"}, c.args...)...)
		if status != c.status || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: exit %d: %s", c.args, status, stderr)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("it wrote a file")
	}
}

func TestParseTime(t *testing.T) {
	for text, want := range map[string]time.Time{
		"@1700000000":               time.Unix(1_700_000_000, 0),
		"@1700000000.25":            time.Unix(1_700_000_000, 250_000_000),
		"2026-01-02T03:04:05Z":      time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02T03:04:05.5Z":    time.Date(2026, 1, 2, 3, 4, 5, 500_000_000, time.UTC),
		"2026-01-02T04:04:05+01:00": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	} {
		if got, err := parseTime(text); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "@", "@x", "@-1", "12:00", "@1e30"} {
		if _, err := parseTime(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
	if s := printTime(time.Time{}); s != "" {
		t.Errorf("%q for no time", s)
	}
}
