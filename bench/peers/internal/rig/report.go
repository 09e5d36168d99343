package rig

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// Setup is what every report begins with.
type Setup struct {
	Machine     string  `json:"machine"`
	ServerCPU   int     `json:"server_cpu"`
	GenCPU      int     `json:"generator_cpu"`
	Siblings    bool    `json:"cpus_are_threads_of_one_core"`
	Pairs       int     `json:"pairs"`
	DurationSec float64 `json:"duration_seconds"`
	WarmupSec   float64 `json:"warmup_seconds"`
}

// Setup describes where and how r measures.
func (r *Rig) Setup() Setup {
	return Setup{
		Machine:     Machine(),
		ServerCPU:   r.ServerCPU,
		GenCPU:      r.GenCPU,
		Siblings:    r.ServerCPU != r.GenCPU && siblings(r.ServerCPU, r.GenCPU),
		Pairs:       r.Pairs,
		DurationSec: r.Duration.Seconds(),
		WarmupSec:   r.Warmup.Seconds(),
	}
}

// Markdown says it in sentences.
func (s Setup) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s.\n", s.Machine)
	switch {
	case s.ServerCPU == s.GenCPU:
		fmt.Fprintf(&b, "Generator and server share CPU %d: there is one, so messages/s is what both together reach.\n", s.ServerCPU)
	case s.Siblings:
		fmt.Fprintf(&b, "Server on CPU %d, generator on CPU %d, which are threads of one core.\n", s.ServerCPU, s.GenCPU)
	default:
		fmt.Fprintf(&b, "Server on CPU %d, generator on CPU %d.\n", s.ServerCPU, s.GenCPU)
	}
	fmt.Fprintf(&b, "%d rounds, each %gs after %gs of warm-up. Loopback: no network card is measured.\n",
		s.Pairs, s.DurationSec, s.WarmupSec)
	return b.String()
}

// Missing lists what a report lacks.
func Missing(skipped []Skip, failures []Failure) string {
	var b strings.Builder
	if len(skipped) > 0 {
		b.WriteString("\nNot measured:\n\n")
		for _, s := range skipped {
			fmt.Fprintf(&b, "- %s: %s\n", s.Server, oneLine(s.Reason))
		}
	}
	if len(failures) > 0 {
		b.WriteString("\nFailed runs, left out above:\n\n")
		for _, f := range failures {
			fmt.Fprintf(&b, "- %s, round %d, %s: %s\n", f.Config, f.Round+1, f.Server, oneLine(f.Error))
		}
	}
	return b.String()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Table lays cells out as a Markdown table that reads well unrendered too; the
// first row is the heading and all columns but the first are numbers.
func Table(cells [][]string) string {
	width := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, line := range cells {
		for i, cell := range line {
			if i == 0 {
				fmt.Fprintf(&b, "| %-*s ", width[i], cell)
			} else {
				fmt.Fprintf(&b, "| %*s ", width[i], cell)
			}
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for i := range line {
			if i == 0 {
				fmt.Fprintf(&b, "|%s", strings.Repeat("-", width[i]+2))
			} else {
				fmt.Fprintf(&b, "|%s:", strings.Repeat("-", width[i]+1))
			}
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// Write writes a report: its text to stdout and the Markdown file, and the whole
// of it to the JSON file.
func (o *Options) Write(stdout io.Writer, text string, report any) error {
	if _, err := io.WriteString(stdout, text); err != nil {
		return err
	}
	if o.Markdown != "" {
		if err := os.WriteFile(o.Markdown, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if o.JSON != "" {
		b, err := json.MarshalIndent(report, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.JSON, append(b, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}
