package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// summary is what a test program said with -test.v.
type summary struct {
	passed, failed, skipped int      // tests, without subtests
	reasons                 []string // of the skipped ones
	noise                   []string // all lines but those of tests that passed or were skipped
}

// verdictLine is the line that ends a test: --- PASS: TestName (0.00s). Those of subtests are indented.
var verdictLine = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+)`)

// summarize reads the lines of a test program. What a test said is between its === RUN and the
// verdict, and behind that up to the next test's.
func summarize(lines []string) summary {
	var s summary
	var said []string // since the last verdict, or of the last test
	state := ""       // the verdict that said belongs to
	flush := func() {
		switch state {
		case "SKIP":
			for _, l := range said {
				if _, why, ok := strings.Cut(l, ".go:"); ok {
					_, why, _ = strings.Cut(why, ": ")
					s.reasons = append(s.reasons, why)
				}
			}
		case "PASS":
		default:
			s.noise = append(s.noise, said...)
		}
		said, state = nil, ""
	}
	for _, line := range lines {
		if strings.HasPrefix(line, "=== RUN") && !strings.Contains(line, "/") || line == "PASS" || line == "FAIL" {
			flush()
		}
		if line == "PASS" || line == "FAIL" {
			continue
		}
		said = append(said, line)
		m := verdictLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		state = m[1]
		switch m[1] {
		case "PASS":
			s.passed++
		case "FAIL":
			s.failed++
		case "SKIP":
			s.skipped++
		}
	}
	flush()
	return s
}

// print writes the summary of a package in go test's manner. fault is what the guest said of
// the program, "" if it ended well.
func (s *summary) print(w io.Writer, where, pkg, fault string, verbose bool, lines []string) {
	switch {
	case verbose:
		fmt.Fprintln(w, strings.Join(lines, "\n"))
	case fault != "" || s.failed > 0:
		fmt.Fprintln(w, strings.Join(s.noise, "\n"))
	}
	word := "ok  "
	if fault != "" || s.failed > 0 {
		word = "FAIL"
	}
	fmt.Fprintf(w, "%s  %-22s  %s: %d passed, %d failed, %d skipped", word, pkg, where, s.passed, s.failed, s.skipped)
	if fault != "" {
		fmt.Fprintf(w, "; %s", fault)
	}
	fmt.Fprintln(w)
	for _, r := range s.reasons {
		fmt.Fprintf(w, "        skipped: %s\n", r)
	}
}
