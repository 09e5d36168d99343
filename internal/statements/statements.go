package statements

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	stated  = regexp.MustCompile(`(?m)^(?:\| |- \*\*)([A-Z]+\d+)(?: \||\*\*)`)
	proves  = regexp.MustCompile(`(?m)^(?://|#) Proves ([A-Z0-9, ]+)\.`)
	heading = regexp.MustCompile(`(?m)^# (\d+(?:, \d+)*)\. `)
	number  = regexp.MustCompile(`[A-Z]+\d+`)
	digits  = regexp.MustCompile(`\d+`)
)

// Check fails t unless doc states count things and each is named by a file that
// matches a pattern, and no other is. Files in a directory testdata may have headings.
func Check(t *testing.T, doc string, count int, patterns ...string) {
	t.Helper()
	page, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range stated.FindAllStringSubmatch(string(page), -1) {
		if known[m[1]] {
			t.Errorf("%s states %s twice", doc, m[1])
		}
		known[m[1]] = true
	}
	if len(known) != count {
		t.Fatalf("%s states %d things, want %d", doc, len(known), count)
	}
	proved := map[string]bool{}
	each(t, patterns, func(file, text string) {
		for _, n := range named(text, strings.Contains(file, "testdata")) {
			proved[n] = true
			if !known[n] {
				t.Errorf("%s names %s, which %s does not state", file, n, doc)
			}
		}
	})
	for n := range known {
		if !proved[n] {
			t.Errorf("nothing proves %s of %s", n, doc)
		}
	}
}

// named returns the numbers that a text says it proves.
func named(text string, headings bool) (numbers []string) {
	for _, m := range proves.FindAllStringSubmatch(text, -1) {
		numbers = append(numbers, number.FindAllString(m[1], -1)...)
	}
	if headings {
		for _, m := range heading.FindAllStringSubmatch(text, -1) {
			for _, n := range digits.FindAllString(m[1], -1) {
				numbers = append(numbers, "E"+n)
			}
		}
	}
	return numbers
}

// each calls fn with the files that match the patterns, of which none may match nothing.
func each(t *testing.T, patterns []string, fn func(file, text string)) {
	t.Helper()
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", pattern, err, len(files))
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			fn(file, string(text))
		}
	}
}
