package statements

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	testNamed   = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]*)`")
	testDefined = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]*)\(`)
)

// CheckTests fails t unless doc states count things, each in a line that names a test or
// fuzz target, and all that it names are functions of test files that match a pattern.
func CheckTests(t *testing.T, doc string, count int, patterns ...string) {
	t.Helper()
	page, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	defined := map[string]bool{}
	each(t, patterns, func(_, text string) {
		for _, m := range testDefined.FindAllStringSubmatch(text, -1) {
			defined[m[1]] = true
		}
	})
	for _, problem := range testsMissing(string(page), count, defined) {
		t.Errorf("%s %s", doc, problem)
	}
}

// testsMissing says what CheckTests has to complain about.
func testsMissing(page string, count int, defined map[string]bool) (problems []string) {
	known := map[string]bool{}
	for line := range strings.Lines(page) {
		tests := testNamed.FindAllStringSubmatch(line, -1)
		for _, m := range tests {
			if !defined[m[1]] {
				problems = append(problems, "names "+m[1]+", which is no test")
			}
		}
		m := stated.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if known[m[1]] {
			problems = append(problems, "states "+m[1]+" twice")
		}
		known[m[1]] = true
		if len(tests) == 0 {
			problems = append(problems, "names no test for "+m[1])
		}
	}
	if len(known) != count {
		problems = append(problems, fmt.Sprintf("states %d things, want %d", len(known), count))
	}
	return problems
}
