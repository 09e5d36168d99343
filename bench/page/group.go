package page

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kcm-go/kcm/bench"
)

// Run is a report and the name it goes by.
type Run struct {
	Name   string
	Report *bench.Report
}

// setting is one thing that was set for a run.
type setting struct{ Name, Value string }

// settings of a report. The rate comes last and is left out of what makes a series
// against throughput.
func settings(r *bench.Report) []setting {
	s := []setting{
		{"connections", fmt.Sprint(r.Conns)},
		{"depth", fmt.Sprint(r.Depth)},
		{"bytes", r.Size.String()},
		{"arrival", r.Arrival},
		{"service", r.Service},
		{"service mode", r.ServiceMode},
		{"replies", map[bool]string{true: "in order", false: "in any order"}[r.Order]},
		{"frame", r.Frame},
		{"classes", strings.Join(r.Kinds, "; ")},
		{"profile", r.Profile},
		{"replay", r.Replay},
		{"batch", fmt.Sprint(r.Batch)},
		{"think time", r.Think},
		{"new connections after", r.Churn},
		{"generator", r.Generator.Backend},
		{"generator loops", fmt.Sprint(r.Generator.Loops)},
	}
	s = slices.DeleteFunc(s, func(s setting) bool { return s.Value == "" })
	if r.Server != nil {
		s = append(s, setting{"server", r.Server.Backend}, setting{"server loops", fmt.Sprint(r.Server.Loops)},
			setting{"policy", r.Policy}, setting{"workers", fmt.Sprint(r.Workers)})
	} else {
		s = append(s, setting{"server", r.Target})
	}
	if r.Rate > 0 {
		return append(s, setting{"rate", rateText(r.Rate)})
	}
	return append(s, setting{"rate", "closed loop"})
}

// rateText prints a rate with five digits.
func rateText(rate float64) string {
	if rate >= 1000 {
		return strconv.FormatFloat(rate/1000, 'g', 5, 64) + "k/s"
	}
	return strconv.FormatFloat(rate, 'g', 5, 64) + "/s"
}

// group is runs with the same settings.
type group struct {
	settings []setting
	label    string
	runs     []Run
	colour   int
}

// groups puts runs with equal settings together, sorted by rate. Labels are
// the settings in which groups differ; without any that is the name of the run.
func groups(runs []Run) []*group {
	var all []*group
	byKey := make(map[string]*group)
	for _, run := range runs {
		s := settings(run.Report)
		key := fmt.Sprint(s, run.Report.Rate) // which s has rounded
		g := byKey[key]
		if g == nil {
			g = &group{settings: s, colour: len(all)}
			byKey[key] = g
			all = append(all, g)
		}
		g.runs = append(g.runs, run)
	}
	inOrder(all)
	labels(all)
	for _, g := range all {
		if n := len(g.runs); n > 1 {
			g.label = strings.TrimSpace(fmt.Sprintf("%s (%d runs)", g.label, n))
		}
	}
	return all
}

// inOrder sorts groups that differ in nothing but the rate by that, where the first of
// them is.
func inOrder(all []*group) {
	first := make(map[string]int)
	place := func(g *group) string { return fmt.Sprint(g.settings[:len(g.settings)-1]) }
	for i, g := range all {
		if _, ok := first[place(g)]; !ok {
			first[place(g)] = i
		}
	}
	slices.SortStableFunc(all, func(a, b *group) int {
		return cmp.Or(cmp.Compare(first[place(a)], first[place(b)]), cmp.Compare(a.runs[0].Report.Rate, b.runs[0].Report.Rate))
	})
	for i, g := range all {
		g.colour = i
	}
}

// labels names groups by the settings that not all of them have.
func labels(all []*group) {
	common := make(map[setting]int)
	for _, g := range all {
		for _, s := range g.settings {
			common[s]++
		}
	}
	for _, g := range all {
		var parts []string
		for _, s := range g.settings {
			if common[s] == len(all) || s == (setting{"workers", "0"}) {
				continue // all have it, or the policy says it
			}
			switch s.Name {
			case "server", "policy", "rate", "replies", "arrival":
				parts = append(parts, s.Value)
			default:
				parts = append(parts, s.Name+" "+s.Value)
			}
		}
		g.label = strings.Join(parts, ", ")
		if len(all) == 1 && len(g.runs) == 1 {
			g.label = g.runs[0].Name
		}
	}
}

// histogram returns that of a name over all runs of the group, nil if one has none.
func (g *group) histogram(name string) *bench.Hist {
	sum := bench.NewHist()
	for _, run := range g.runs {
		h := run.Report.Histograms[name]
		if h == nil || sum.Merge(h) != nil {
			return nil
		}
	}
	return sum
}

// withoutRate groups groups by all settings but the rate.
func withoutRate(all []*group) []*group {
	var out []*group
	byKey := make(map[string]*group)
	for _, g := range all {
		s := g.settings[:len(g.settings)-1]
		key := fmt.Sprint(s)
		o := byKey[key]
		if o == nil {
			o = &group{settings: s, colour: len(out)}
			byKey[key] = o
			out = append(out, o)
		}
		o.runs = append(o.runs, g.runs...)
	}
	labels(out)
	return out
}
