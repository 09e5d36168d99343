package main

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/kcm-go/kcm/bench/peers/stats"
)

// confidence is what the bounds of a median are asked to have.
const confidence = 0.95

// report is all that is known at the end; -json writes it as it is.
type report struct {
	Machine     string    `json:"machine"`
	ServerCPU   int       `json:"server_cpu"`
	GenCPU      int       `json:"generator_cpu"`
	Siblings    bool      `json:"cpus_are_threads_of_one_core"`
	Pairs       int       `json:"pairs"`
	DurationSec float64   `json:"duration_seconds"`
	WarmupSec   float64   `json:"warmup_seconds"`
	Results     []result  `json:"results"`
	Skipped     []skip    `json:"skipped,omitempty"`
	Failures    []failure `json:"failures,omitempty"`
}

// result is one load.
type result struct {
	Config  config   `json:"config"`
	Rows    []row    `json:"rows"`
	Samples []sample `json:"samples"`
}

// row is one server under one load.
type row struct {
	Server    string  `json:"server"`
	Runs      int     `json:"runs"`
	CPUNanos  float64 `json:"cpu_ns_per_message_median"`
	PerSecond float64 `json:"messages_per_second_median"`
	Ratios    []ratio `json:"ratios,omitempty"`
}

// ratio compares a base server with the server of the row: base/server within
// each round that has both, the median of that, and its bounds.
type ratio struct {
	Base       string  `json:"base"`
	Metric     string  `json:"metric"` // a name in metrics
	Pairs      int     `json:"pairs"`
	Median     float64 `json:"median"`
	Lo         float64 `json:"lo"`
	Hi         float64 `json:"hi"`
	Confidence float64 `json:"confidence"` // that [Lo, Hi] has
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
func summarize(cfg config, servers []server, samples []sample) result {
	byServer := make(map[string][]sample)
	for _, s := range samples {
		byServer[s.Server] = append(byServer[s.Server], s)
	}
	res := result{Config: cfg, Samples: samples}
	for _, server := range servers {
		own := byServer[server.name]
		if len(own) == 0 {
			continue
		}
		r := row{Server: server.name, Runs: len(own)}
		r.CPUNanos = stats.Median(values(own, metrics[0].value))
		r.PerSecond = stats.Median(values(own, metrics[1].value))
		for _, base := range bases {
			if base == server.name {
				continue
			}
			for _, m := range metrics {
				q := paired(byServer[base], own, m.value)
				if len(q) == 0 {
					continue
				}
				lo, hi, got := stats.Bounds(q, confidence)
				r.Ratios = append(r.Ratios, ratio{base, m.name, len(q), stats.Median(q), lo, hi, got})
			}
		}
		res.Rows = append(res.Rows, r)
	}
	return res
}

func values(samples []sample, value func(sample) float64) []float64 {
	v := make([]float64, len(samples))
	for i, s := range samples {
		v[i] = value(s)
	}
	return v
}

// paired returns a/b of every round that both have.
func paired(a, b []sample, value func(sample) float64) []float64 {
	of := make(map[int]float64)
	for _, s := range a {
		of[s.Round] = value(s)
	}
	var q []float64
	for _, s := range b {
		if v, ok := of[s.Round]; ok && value(s) > 0 {
			q = append(q, v/value(s))
		}
	}
	return q
}

// markdown writes the report as text that reads well unrendered too.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s.\n", r.Machine)
	switch {
	case r.ServerCPU == r.GenCPU:
		fmt.Fprintf(&b, "Generator and server share CPU %d: there is one, so messages/s is what both together reach.\n", r.ServerCPU)
	case r.Siblings:
		fmt.Fprintf(&b, "Server on CPU %d, generator on CPU %d, which are threads of one core.\n", r.ServerCPU, r.GenCPU)
	default:
		fmt.Fprintf(&b, "Server on CPU %d, generator on CPU %d.\n", r.ServerCPU, r.GenCPU)
	}
	fmt.Fprintf(&b, "%d rounds, each %gs after %gs of warm-up. Loopback: no network card is measured.\n",
		r.Pairs, r.DurationSec, r.WarmupSec)
	for _, res := range r.Results {
		fmt.Fprintf(&b, "\n### %s\n\n%s", res.Config.title(), res.table())
	}
	if len(r.Skipped) > 0 {
		b.WriteString("\nNot measured:\n\n")
		for _, s := range r.Skipped {
			fmt.Fprintf(&b, "- %s: %s\n", s.Server, oneLine(s.Reason))
		}
	}
	if len(r.Failures) > 0 {
		b.WriteString("\nFailed runs, left out above:\n\n")
		for _, f := range r.Failures {
			fmt.Fprintf(&b, "- %s, round %d, %s: %s\n", f.Config, f.Round+1, f.Server, oneLine(f.Error))
		}
	}
	return b.String()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

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
	least, pairs := math.Inf(1), 0
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
						cell = fmt.Sprintf("%.3f [%.3f, %.3f]", q.Median, q.Lo, q.Hi)
						if q.Confidence < least {
							least, pairs = q.Confidence, q.Pairs
						}
					}
				}
				line = append(line, cell)
			}
		}
		cells = append(cells, line)
	}
	text := aligned(cells)
	if pairs > 0 {
		text += fmt.Sprintf("\nRatios are medians of the ratios within rounds; brackets enclose the true median with %.1f %% confidence or more (%d pairs).\n",
			100*least, pairs)
	}
	if pairs > 0 && least < confidence {
		text += fmt.Sprintf("That is less than %.0f %%: it takes 6 rounds or more.\n", 100*confidence)
	}
	return text
}

func (res result) has(server string) bool {
	for _, r := range res.Rows {
		if r.Server == server {
			return true
		}
	}
	return false
}

// aligned lays cells out as a Markdown table; the first row is the heading and
// all columns but the first are numbers.
func aligned(cells [][]string) string {
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
