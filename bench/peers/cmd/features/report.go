package main

import (
	"fmt"
	"strings"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// sample is one figure of one way in one round.
type sample struct {
	feature, since, library string
	base                    bool // the way others are compared to

	Feature string  `json:"feature"`
	Load    string  `json:"load"`
	Metric  string  `json:"metric"`
	Way     string  `json:"way"`
	Round   int     `json:"round"`
	Value   float64 `json:"value"`
}

// row compares one way with its base by one figure. A base without others has a row of
// its own, with neither Way nor Ratio.
type row struct {
	Feature string     `json:"feature"`
	Since   string     `json:"since"`
	Library string     `json:"in_the_library"`
	Load    string     `json:"load"`
	Metric  string     `json:"metric"`
	Base    string     `json:"base"`
	BaseAt  float64    `json:"base_median"`
	Way     string     `json:"way,omitempty"`
	At      float64    `json:"median,omitempty"`
	Ratio   *rig.Ratio `json:"ratio,omitempty"`
}

// report is all that is known at the end; -json writes it as it is.
type report struct {
	rig.Setup
	TrialSec float64       `json:"trial_seconds"`
	Rows     []row         `json:"rows"`
	Samples  []sample      `json:"samples"`
	Notes    []string      `json:"notes,omitempty"`
	Skipped  []rig.Skip    `json:"skipped,omitempty"`
	Failures []rig.Failure `json:"failures,omitempty"`
}

// add adds a figure; s says of what.
func (r *report) add(s sample, metric string, v float64) {
	s.Feature, s.Metric, s.Value = s.feature, metric, v
	r.Samples = append(r.Samples, s)
}

// summarize makes the rows of the samples, in the order in which ways first appear.
func (r *report) summarize() {
	type key struct{ feature, load, metric string }
	type way struct {
		sample
		rounds rig.Rounds
	}
	var order []key
	groups := make(map[key][]*way)
	for _, s := range r.Samples {
		k := key{s.Feature, s.Load, s.Metric}
		if groups[k] == nil {
			order = append(order, k)
		}
		var w *way
		for _, have := range groups[k] {
			if have.Way == s.Way {
				w = have
			}
		}
		if w == nil {
			w = &way{s, make(rig.Rounds)}
			groups[k] = append(groups[k], w)
		}
		w.rounds[s.Round] = s.Value
	}
	r.Rows = nil
	for _, k := range order {
		var base *way
		for _, w := range groups[k] {
			if w.base {
				base = w
			}
		}
		if base == nil {
			continue // its runs failed, which the report says
		}
		line := row{Feature: k.feature, Since: base.since, Library: base.library, Load: k.load, Metric: k.metric,
			Base: base.Way, BaseAt: base.rounds.Median()}
		if len(groups[k]) == 1 {
			r.Rows = append(r.Rows, line)
			continue
		}
		for _, w := range groups[k] {
			if w == base {
				continue
			}
			other := line
			other.Way, other.At = w.Way, w.rounds.Median()
			if q, ok := rig.Compare(w.Way, k.metric, w.rounds, base.rounds); ok {
				other.Ratio = &q
			}
			r.Rows = append(r.Rows, other)
		}
	}
}

func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(r.Setup.Markdown())
	fmt.Fprintf(&b, "A round of a trial measures each way for %gs.\n\n", r.TrialSec)
	if len(r.Rows) > 0 {
		cells := [][]string{{"feature", "since", "in the library", "load", "figure", "base", "other", "other/base"}}
		var ratios []rig.Ratio
		for _, line := range r.Rows {
			other, ratio := "-", "-"
			if line.Way != "" {
				other = fmt.Sprintf("%s: %s", line.Way, figure(line.At))
			}
			if line.Ratio != nil {
				ratio = line.Ratio.String()
				ratios = append(ratios, *line.Ratio)
			}
			cells = append(cells, []string{line.Feature, line.Since, line.Library, line.Load, line.Metric,
				fmt.Sprintf("%s: %s", line.Base, figure(line.BaseAt)), other, ratio})
		}
		b.WriteString(rig.Table(cells) + "\n" + rig.Brackets(ratios))
	}
	if len(r.Notes) > 0 {
		b.WriteString("\n")
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "- %s\n", n)
		}
	}
	b.WriteString(rig.Missing(r.Skipped, r.Failures))
	return b.String()
}

// figure prints a figure with as many digits as are of use.
func figure(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}
