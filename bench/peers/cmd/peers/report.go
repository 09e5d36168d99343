package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// report is all that is known at the end; -json writes it as it is.
type report struct {
	rig.Setup
	Results  []result      `json:"results"`
	Skipped  []rig.Skip    `json:"skipped,omitempty"`
	Failures []rig.Failure `json:"failures,omitempty"`
	Targets  []rig.Target  `json:"targets,omitempty"`
	Missing  []string      `json:"not_measured,omitempty"` // targets
}

// skip notes servers that could not take part, each once.
func (r *report) skip(list []rig.Skip) {
	for _, s := range list {
		if !slices.Contains(r.Skipped, s) {
			r.Skipped = append(r.Skipped, s)
		}
	}
}

// result is one load of a section.
type result struct {
	Section string   `json:"part"`
	Config  config   `json:"config"`
	Rows    []row    `json:"rows"`
	Samples []sample `json:"samples"`

	about          string
	bases, metrics []string
}

// row is one server under one load: medians, and ratios of each base to it.
type row struct {
	Server    string      `json:"server"`
	Runs      int         `json:"runs"`
	CPUNanos  float64     `json:"cpu_ns_per_message_median"`
	PerSecond float64     `json:"messages_per_second_median"`
	P50       float64     `json:"p50_us_median"`
	P99       float64     `json:"p99_us_median"`
	Ratios    []rig.Ratio `json:"ratios,omitempty"`
}

// metrics are what servers are compared by.
var metrics = map[string]struct{ value func(*sample) float64 }{
	"cpu":        {func(s *sample) float64 { return s.CPUNanos }},
	"messages/s": {func(s *sample) float64 { return s.PerSecond }},
	"p50":        {func(s *sample) float64 { return s.Latency.P50 }},
	"p99":        {func(s *sample) float64 { return s.Latency.P99 }},
}

// summarize makes the rows of one load, in the order of servers. Servers
// without a sample have no row.
func summarize(p *section, cfg config, servers []rig.Server, samples []sample) result {
	res := result{Section: p.name, Config: cfg, Samples: samples, about: p.about, bases: p.bases, metrics: p.metrics}
	for _, server := range servers {
		cpu := res.of(server.Name, "cpu")
		if len(cpu) == 0 {
			continue
		}
		r := row{
			Server:    server.Name,
			Runs:      len(cpu),
			CPUNanos:  cpu.Median(),
			PerSecond: res.of(server.Name, "messages/s").Median(),
			P50:       res.of(server.Name, "p50").Median(),
			P99:       res.of(server.Name, "p99").Median(),
		}
		for _, base := range p.bases {
			if base == server.Name {
				continue
			}
			for _, m := range p.metrics {
				if q, ok := rig.Compare(base, m, res.of(base, m), res.of(server.Name, m)); ok {
					r.Ratios = append(r.Ratios, q)
				}
			}
		}
		res.Rows = append(res.Rows, r)
	}
	return res
}

// markdown writes the report as text that reads well unrendered too.
func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(r.Setup.Markdown())
	for _, res := range r.Results {
		fmt.Fprintf(&b, "\n### %s: %s\n\n", res.Section, res.Config.title())
		if res.about != "" {
			fmt.Fprintf(&b, "%s\n\n", res.about)
		}
		b.WriteString(res.table())
	}
	if len(r.Targets)+len(r.Missing) > 0 {
		b.WriteString("\n### Targets\n\n")
		for _, t := range r.Targets {
			fmt.Fprintf(&b, "- %s\n", t)
		}
		for _, m := range r.Missing {
			fmt.Fprintf(&b, "- NOT MEASURED: %s\n", m)
		}
	}
	b.WriteString(rig.Missing(r.Skipped, r.Failures))
	return b.String()
}

// table has a column per base and metric, and below it what the brackets mean.
func (res result) table() string {
	head := []string{"server", "CPU ns/message", "messages/s", "p50 us", "p99 us", "runs"}
	for _, base := range res.bases {
		for _, m := range res.metrics {
			if res.has(base) {
				head = append(head, fmt.Sprintf("%s %s/server", m, base))
			}
		}
	}
	cells := [][]string{head}
	var ratios []rig.Ratio
	for _, r := range res.Rows {
		line := []string{r.Server, fmt.Sprintf("%.0f", r.CPUNanos), fmt.Sprintf("%.0f", r.PerSecond), fmt.Sprintf("%.1f", r.P50), fmt.Sprintf("%.1f", r.P99), fmt.Sprint(r.Runs)}
		for _, base := range res.bases {
			for _, m := range res.metrics {
				if !res.has(base) {
					continue
				}
				cell := "-"
				for _, q := range r.Ratios {
					if q.Base == base && q.Metric == m {
						cell = q.String()
						ratios = append(ratios, q)
					}
				}
				line = append(line, cell)
			}
		}
		cells = append(cells, line)
	}
	text := rig.Table(cells)
	if len(ratios) > 0 {
		text += "\n" + rig.Brackets(ratios)
	}
	return text
}

func (res result) has(server string) bool {
	return slices.ContainsFunc(res.Rows, func(r row) bool { return r.Server == server })
}
