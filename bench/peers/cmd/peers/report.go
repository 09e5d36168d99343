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
}

// result is one load.
type result struct {
	Config  config   `json:"config"`
	Rows    []row    `json:"rows"`
	Samples []sample `json:"samples"`
}

// row is one server under one load. Its ratios are of each base to it.
type row struct {
	Server    string      `json:"server"`
	Runs      int         `json:"runs"`
	CPUNanos  float64     `json:"cpu_ns_per_message_median"`
	PerSecond float64     `json:"messages_per_second_median"`
	Ratios    []rig.Ratio `json:"ratios,omitempty"`
}

// metrics are what servers are compared by.
var metrics = []struct {
	name  string
	value func(sample) float64
}{
	{"cpu", func(s sample) float64 { return s.CPUNanos }},
	{"messages/s", func(s sample) float64 { return s.PerSecond }},
}

// summarize makes the rows of one load, in the order of servers. Servers
// without a sample have no row.
func summarize(cfg config, servers []rig.Server, samples []sample) result {
	of := func(server string, value func(sample) float64) rig.Rounds {
		r := make(rig.Rounds)
		for _, s := range samples {
			if s.Server == server {
				r[s.Round] = value(s)
			}
		}
		return r
	}
	res := result{Config: cfg, Samples: samples}
	for _, server := range servers {
		cpu := of(server.Name, metrics[0].value)
		if len(cpu) == 0 {
			continue
		}
		r := row{
			Server:    server.Name,
			Runs:      len(cpu),
			CPUNanos:  cpu.Median(),
			PerSecond: of(server.Name, metrics[1].value).Median(),
		}
		for _, base := range bases {
			if base == server.Name {
				continue
			}
			for _, m := range metrics {
				if q, ok := rig.Compare(base, m.name, of(base, m.value), of(server.Name, m.value)); ok {
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
		fmt.Fprintf(&b, "\n### %s\n\n%s", res.Config.title(), res.table())
	}
	b.WriteString(rig.Missing(r.Skipped, r.Failures))
	return b.String()
}

// table has a column per base and metric, and below it what the brackets mean.
func (res result) table() string {
	head := []string{"server", "CPU ns/message", "messages/s", "runs"}
	for _, base := range bases {
		for _, m := range metrics {
			if res.has(base) {
				head = append(head, fmt.Sprintf("%s %s/server", m.name, base))
			}
		}
	}
	cells := [][]string{head}
	var ratios []rig.Ratio
	for _, r := range res.Rows {
		line := []string{r.Server, fmt.Sprintf("%.0f", r.CPUNanos), fmt.Sprintf("%.0f", r.PerSecond), fmt.Sprint(r.Runs)}
		for _, base := range bases {
			for _, m := range metrics {
				if !res.has(base) {
					continue
				}
				cell := "-"
				for _, q := range r.Ratios {
					if q.Base == base && q.Metric == m.name {
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
