package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/internal/conformance/lab"
)

func TestFlags(t *testing.T) {
	o, err := parseFlags([]string{"-kernels", "6.12", "-run", "send_", "-cache", "x", "-count", "3"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.kernels) != 1 || o.kernels[0] != "6.12" || !o.match.MatchString("send_more") || o.count != 3 {
		t.Errorf("parsed as %+v", o)
	}
	if !o.mux {
		t.Error("package mux is left out")
	}
	if o, err = parseFlags([]string{"-kernels", "", "-mux=false", "-cache", "x"}, io.Discard); err != nil || o.kernels != nil || o.mux {
		t.Errorf("parsed as %+v, %v", o, err)
	}
	for _, args := range [][]string{{"-count", "0"}, {"-run", "("}, {"x"}, {"-nothing"}} {
		if _, err := parseFlags(append(args, "-cache", "x"), io.Discard); err == nil && args[0] != "x" {
			t.Errorf("%q is accepted", args)
		}
	}
	if _, err := parseFlags([]string{"x"}, io.Discard); err == nil {
		t.Error("an argument is accepted")
	}
	if _, err := parseFlags([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestNoScripts(t *testing.T) {
	dir := t.TempDir()
	err := run(context.Background(), []string{"-scripts", dir, "-cache", dir}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "no script") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bad.txt"), []byte("nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err = run(context.Background(), []string{"-scripts", dir, "-cache", dir}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "bad.txt: line 1") {
		t.Errorf("error %v", err)
	}
}

func load(t *testing.T, dir string) []conformance.Case {
	t.Helper()
	cases, err := conformance.Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

func TestCompareAndRecord(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "one.txt")
	if err := os.WriteFile(path, []byte("# One.\n\nopen dgram\n= socket 1\nopen tcp\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	report := func(outcomes ...string) *lab.Report {
		return &lab.Report{Outcomes: map[string][]string{"one": outcomes}, Faults: map[string]string{}}
	}
	results := map[string]*lab.Report{"6.1": report("socket 1", "conn 1"), "6.12": report("socket 1", "conn 2")}
	cases := load(t, dir)
	var out bytes.Buffer
	if n := compare(&out, "Linux 6.1", "6.1", cases, results["6.1"].Outcomes); n != 1 || !strings.Contains(out.String(), "one on Linux 6.1, action 2") {
		t.Errorf("%d differ: %s", n, out.String())
	}
	if err := record(dir, cases, results); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := "# One.\n\nopen dgram\n= socket 1\nopen tcp\n=6.1 conn 1\n=6.12 conn 2\n"; string(text) != want {
		t.Errorf("recorded as\n%s", text)
	}
	cases = load(t, dir)
	for series, r := range results {
		if n := compare(io.Discard, series, series, cases, r.Outcomes); n != 0 {
			t.Errorf("%d differ from what was recorded on %s", n, series)
		}
	}
	out.Reset()
	results["6.1"].Faults["one"] = "exit status 1"
	if n := faults(&out, "6.1", results["6.1"]); n != 1 || out.String() != "one on Linux 6.1: exit status 1\n" {
		t.Errorf("%d faults: %s", n, out.String())
	}
}

func TestRecordKernels(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kernels")
	for _, step := range []struct {
		packages map[string]string
		want     string
	}{
		{map[string]string{"6.12": "b.deb"}, "6.12 b.deb\n"},
		{map[string]string{"6.1": "a.deb"}, "6.1 a.deb\n6.12 b.deb\n"},
		{map[string]string{"6.12": "c.deb"}, "6.1 a.deb\n6.12 c.deb\n"},
	} {
		if err := recordKernels(path, step.packages); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != step.want {
			t.Errorf("%q, %v, want %q", text, err, step.want)
		}
	}
}
