//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/internal/rig/rigtest"
	"github.com/kcm-go/kcm/ring"
)

func TestMain(m *testing.M) { rigtest.Main(m) }

// runFake runs the program with a fake kcmbench and returns its report as JSON and as
// text, and what it started.
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
	b, readErr := os.ReadFile(file)
	if readErr != nil {
		t.Fatalf("%v\n%v\n%s", err, readErr, stderr.String())
	}
	if err := json.Unmarshal(b, &rep); err != nil {
		t.Fatal(err)
	}
	return rep, stdout.String(), started, err
}

func TestLibrary(t *testing.T) {
	rep, text, started, err := runFake(t, "ok", "-parts", "library", "-features", "nothing,huge-pages,spin",
		"-configs", "2x3x64,1x1x64", "-pairs", "2", "-duration", "200ms", "-warmup", "0s")
	if err != nil {
		t.Fatal(err)
	}
	count := func(want string) (n int) {
		for _, s := range started {
			if strings.Contains(s, want) {
				n++
			}
		}
		return n
	}
	// A check each, then two rounds of two loads, of which spin is only in the second.
	for want, n := range map[string]int{
		"serve": 4 + 2*(3+4), "-features huge-pages=off": 1 + 2*2, "-spin 50us": 1 + 2,
		"run": 2 * (3 + 4), "-conns 2 -depth 3 -size 64 -duration": 2 * 3,
		"-conns 1 -depth 1 -size 64 -generator-spin 1ms -duration": 2 * 4,
	} {
		if got := count(want); got != n {
			t.Errorf("%d times %q, want %d, in\n%s", got, want, n, strings.Join(started, "\n"))
		}
	}
	var got []string
	for _, r := range rep.Rows {
		got = append(got, fmt.Sprintf("%s %s %s: %s, %s; %s", r.Feature, r.Load, r.Metric, r.Base, r.Way, r.Library))
		if r.BaseAt <= 0 || r.At <= 0 || r.Ratio == nil || r.Ratio.Pairs != 2 || r.Ratio.Lo > r.Ratio.Median || r.Ratio.Hi < r.Ratio.Median {
			t.Errorf("row %+v", r)
		}
	}
	want := []string{
		"nothing 2x3x64 CPU ns/message: as it is, the same; -",
		"huge-pages 2x3x64 CPU ns/message: on, off; default on",
		"nothing 1x1x64 CPU ns/message: as it is, the same; -",
		"nothing 1x1x64 p50 us: as it is, the same; -",
		"huge-pages 1x1x64 CPU ns/message: on, off; default on",
		"huge-pages 1x1x64 p50 us: on, off; default on",
		"spin 1x1x64 CPU ns/message: off, 50us; default off",
		"spin 1x1x64 p50 us: off, 50us; default off",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(text, "other/base") || !strings.Contains(text, "50.0 % confidence") {
		t.Errorf("report\n%s", text)
	}
}

// A feature that cannot be switched is left out with its reason.
func TestLibraryWithout(t *testing.T) {
	rep, text, _, err := runFake(t, "no features", "-parts", "library", "-features", "huge-pages,spin",
		"-configs", "1x1x64", "-pairs", "1", "-duration", "200ms", "-warmup", "0s")
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Skipped) != 1 || rep.Skipped[0].Server != "huge-pages" || !strings.Contains(text, "no such feature") {
		t.Errorf("skipped %+v in\n%s", rep.Skipped, text)
	}
	if len(rep.Rows) != 2 || rep.Rows[0].Feature != "spin" {
		t.Errorf("rows %+v", rep.Rows)
	}
}

func TestLibraryWithoutURing(t *testing.T) {
	rep, text, _, err := runFake(t, "no uring", "-parts", "library", "-configs", "1x1x64", "-pairs", "1")
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Rows) != 0 || !strings.Contains(text, "operation not permitted") {
		t.Errorf("rows %+v in\n%s", rep.Rows, text)
	}
}

func TestLibraryFailure(t *testing.T) {
	rep, text, _, err := runFake(t, "generator counts errors", "-parts", "library", "-features", "huge-pages",
		"-configs", "1x1x64", "-pairs", "1", "-duration", "200ms", "-warmup", "0s")
	if err == nil || !strings.Contains(err.Error(), "2 runs failed") {
		t.Errorf("run = %v, want 2 failed runs", err)
	}
	if len(rep.Failures) != 2 || !strings.Contains(text, "Failed runs") {
		t.Errorf("failures %+v in\n%s", rep.Failures, text)
	}
}

// The switches are those that the library knows, which its errors list.
func TestFeaturesOfTheLibrary(t *testing.T) {
	l, err := ring.New(ring.Options{Features: "nosuch=off"})
	if err == nil {
		t.Fatal("a feature that does not exist is accepted")
	}
	if l != nil {
		t.Error("a loop and an error")
	}
	_, list, found := strings.Cut(err.Error(), " is none of ")
	list, _, _ = strings.Cut(list, ":")
	if !found {
		t.Fatalf("%v: no list", err)
	}
	var have []string
	for _, f := range features {
		if f.args != nil && f.args[0] == "-features" {
			have = append(have, f.name)
		}
	}
	if got := strings.Join(have, ", "); got != list {
		t.Errorf("features %s, the library has %s", got, list)
	}
}

func TestProbed(t *testing.T) {
	probe := []ring.Feature{{Name: "NO_SQARRAY", Since: "6.6", State: "no"}, {Name: "recv limit", Since: "6.17", State: "unknown"}}
	for _, tt := range []struct {
		name, since string
		offered     bool
	}{
		{"no-sqarray", "6.6", false}, {"recv-limit", "6.17", true}, {"spin", "-", true},
	} {
		if since, offered := probed(probe, tt.name); since != tt.since || offered != tt.offered {
			t.Errorf("%s: %s, %v, want %s, %v", tt.name, since, offered, tt.since, tt.offered)
		}
	}
}

func TestFlagErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-parts nosuch", `no part "nosuch", have library,trials`},
		{"-features nosuch", `no feature "nosuch", have nothing,`},
		{"-features spin,spin", "twice"},
		{"-trials nosuch", `no trial "nosuch", have fixed-files,`},
		{"-trial 10us", "at least 1ms"},
		{"-configs 64x1", `config "64x1": want CONNSxDEPTHxSIZE`},
		{"-configs 0x1x64", "at least 1 connection"},
		{"-pairs 0", "-pairs 0"},
		{"-root /nonexistent -kcmbench /nonexistent -parts trials", "/nonexistent"},
	} {
		var stdout strings.Builder
		err := run(t.Context(), strings.Fields(tt.args), &stdout, io.Discard)
		if text := fmt.Sprint(err, stdout.String()); !strings.Contains(text, tt.want) {
			t.Errorf("%s: %s, want %q", tt.args, text, tt.want)
		}
	}
}
