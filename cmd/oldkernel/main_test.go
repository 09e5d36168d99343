package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func TestFlags(t *testing.T) {
	o, err := parseFlags([]string{"-kernels", "6.12", "-packages", "ring,mux", "-run", "TestX", "-cache", "x"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(o.kernels, []string{"6.12"}) || !reflect.DeepEqual(o.packages, []string{"ring", "mux"}) || o.match != "TestX" || o.cache != "x" {
		t.Errorf("parsed as %+v", o)
	}
	if _, err := parseFlags([]string{"x"}, io.Discard); err == nil {
		t.Error("an argument is accepted")
	}
	if _, err := parseFlags([]string{"-h"}, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

const output = `=== RUN   TestA
    a_test.go:5: all is well
--- PASS: TestA (0.00s)
=== RUN   TestB
=== RUN   TestB/one
    b_test.go:7: got 1, want 2
--- FAIL: TestB (0.10s)
    --- FAIL: TestB/one (0.10s)
=== RUN   TestC
    c_test.go:9: this kernel has none
--- SKIP: TestC (0.00s)
=== RUN   TestD
=== PAUSE TestD
--- PASS: TestD (0.00s)
FAIL`

func TestSummarize(t *testing.T) {
	s := summarize(strings.Split(output, "\n"))
	want := summary{
		passed: 2, failed: 1, skipped: 1,
		reasons: []string{"this kernel has none"},
		noise: []string{"=== RUN   TestB", "=== RUN   TestB/one", "    b_test.go:7: got 1, want 2",
			"--- FAIL: TestB (0.10s)", "    --- FAIL: TestB/one (0.10s)"},
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("\n got %+v\nwant %+v", s, want)
	}
}

// What is said by a program that ends in the middle of a test is not lost.
func TestSummarizeCrash(t *testing.T) {
	s := summarize([]string{"=== RUN   TestA", "panic: no", "goroutine 1:"})
	if s.passed+s.failed+s.skipped != 0 || len(s.noise) != 3 {
		t.Errorf("%+v", s)
	}
	var b bytes.Buffer
	s.print(&b, "Linux 6.1", "ring", "exit status 2", false, nil)
	if !strings.Contains(b.String(), "panic: no") || !strings.Contains(b.String(), "FAIL  ring") || !strings.Contains(b.String(), "; exit status 2") {
		t.Errorf("printed %q", b.String())
	}
}

func TestPrint(t *testing.T) {
	s := summarize([]string{"=== RUN   TestC", "    c_test.go:9: none here", "--- SKIP: TestC (0.00s)", "PASS"})
	var b bytes.Buffer
	s.print(&b, "Linux 6.1", "mux", "", false, nil)
	if got, want := b.String(), "ok    mux                     Linux 6.1: 0 passed, 0 failed, 1 skipped\n        skipped: none here\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// A test that is left out must be there: else its line has outlived it.
func TestLeftOut(t *testing.T) {
	for _, l := range leftOut {
		if !strings.Contains(","+packages+",", ","+l.pkg+",") || l.why == "" {
			t.Errorf("%+v", l)
		}
		files, err := filepath.Glob(filepath.Join("../..", l.pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || strings.Contains(string(text), "func "+l.test+"(t *testing.T)")
		}
		if !found {
			t.Errorf("%s has no %s", l.pkg, l.test)
		}
		if re := regexp.MustCompile(skipPattern(l.pkg)); !re.MatchString(l.test) || re.MatchString(l.test+"Else") {
			t.Errorf("%s is left out by %q", l.test, re)
		}
	}
	if p := skipPattern("no/such"); p != "" {
		t.Errorf("of another package %q is left out", p)
	}
}

func TestOnly(t *testing.T) {
	root := fstest.MapFS{"ring/a.go": {}, "ring/b/c.go": {}, ".git/x": {}, "go.mod": {}}
	var got []string
	err := fs.WalkDir(only{root, []string{"ring"}}, ".", func(name string, d fs.DirEntry, err error) error {
		got = append(got, name)
		return err
	})
	if want := []string{".", "ring", "ring/a.go", "ring/b", "ring/b/c.go"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}
