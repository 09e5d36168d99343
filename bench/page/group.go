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

// settings of a report. How much was offered comes last, and is left out of what makes a
// line against throughput: the rate, or the depth of a closed loop.
func settings(r *bench.Report) []setting {
	s := []setting{
		{"connections", fmt.Sprint(r.Conns)},
		{"bytes", r.Size.String()},
		{"loop", map[bool]string{true: "open, " + r.Arrival, false: "closed"}[r.Rate > 0]},
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
		{"back end", backends(r)},
		{"generator loops", fmt.Sprint(r.Generator.Loops)},
	}
	s = slices.DeleteFunc(s, func(s setting) bool { return s.Value == "" })
	if r.Server != nil {
		s = append(s, setting{"server loops", fmt.Sprint(r.Server.Loops)},
			setting{"policy", r.Policy}, setting{"workers", fmt.Sprint(r.Workers)})
	} else {
		s = append(s, setting{"server", r.Target})
	}
	if r.Rate > 0 {
		return append(s, setting{"rate", rateText(r.Rate)})
	}
	return append(s, setting{"depth", fmt.Sprint(r.Depth)})
}

// backends says what the loops ran on.
func backends(r *bench.Report) string {
	if r.Server == nil || r.Server.Backend == r.Generator.Backend {
		return r.Generator.Backend
	}
	return r.Server.Backend + ", generator " + r.Generator.Backend
}

// offered is how much load a run offered: the rate, or the depth of a closed loop.
func offered(r *bench.Report) float64 { return cmp.Or(r.Rate, float64(r.Depth)) }

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

// groups puts runs with equal settings together, sorted by load. Labels are
// the settings in which groups differ; without any that is the name of the run.
func groups(runs []Run) []*group {
	var all []*group
	byKey := make(map[string]*group)
	for _, run := range runs {
		s := settings(run.Report)
		key := fmt.Sprint(s, offered(run.Report)) // which s has rounded
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

// inOrder sorts groups that differ in nothing but how much was offered by that, where the first of
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
		return cmp.Or(cmp.Compare(first[place(a)], first[place(b)]), cmp.Compare(offered(a.runs[0].Report), offered(b.runs[0].Report)))
	})
	for i, g := range all {
		g.colour = i
	}
}

// usual are settings that no label has: it is when they are others that they matter.
var usual = []setting{{"workers", "0"}, {"service", "0"}, {"batch", "1"}, {"replies", "in order"}}

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
			if common[s] == len(all) || slices.Contains(usual, s) {
				continue
			}
			switch s.Name {
			case "back end", "server", "policy", "rate", "replies", "loop":
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

// withoutLoad groups groups by all settings but how much was offered.
func withoutLoad(all []*group) []*group {
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
