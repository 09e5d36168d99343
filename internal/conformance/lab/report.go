package lab

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Report is what a virtual machine had to say.
type Report struct {
	Release  string              // of the kernel
	Outcomes map[string][]string // by script; the lines a test printed, by its package
	Faults   map[string]string   // those that did not come to their end, or failed, or made the kernel warn
	Boot     time.Duration       // up to the first script, by the guest's clock
	Ran      time.Duration       // all of them, by the guest's clock
	Elapsed  time.Duration       // everything, by the host's
}

// parseReport reads the lines that the guest program's comment lists.
func parseReport(text string) (*Report, error) {
	r := &Report{Outcomes: make(map[string][]string), Faults: make(map[string]string)}
	current, done := "", false
	for i, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		bad := fmt.Errorf("line %d of the report is %q", i+1, line)
		switch word {
		case "guest":
			release, ms, _ := strings.Cut(rest, " ")
			n, err := strconv.Atoi(ms)
			if err != nil {
				return nil, bad
			}
			r.Release, r.Boot = release, time.Duration(n)*time.Millisecond
		case "begin":
			if current != "" || rest == "" {
				return nil, bad
			}
			current = rest
			r.Outcomes[current] = nil
		case "=":
			if current == "" {
				return nil, bad
			}
			r.Outcomes[current] = append(r.Outcomes[current], rest)
		case "end":
			name, why, _ := strings.Cut(rest, " ")
			if name != current || why == "" {
				return nil, bad
			}
			if why != "ok" {
				r.Faults[name] = why
			}
			current = ""
		case "warned":
			r.Faults[rest] = "the kernel printed a warning"
		case "done":
			n, err := strconv.Atoi(rest)
			if err != nil || current != "" {
				return nil, bad
			}
			r.Ran = time.Duration(n)*time.Millisecond - r.Boot
			done = true
		case "fail":
			return nil, fmt.Errorf("the guest says: %s", rest)
		default:
			return nil, bad
		}
	}
	if !done {
		return nil, fmt.Errorf("the report ends early, in %q", current)
	}
	return r, nil
}
