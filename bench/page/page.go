package page

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/kcm-go/kcm/bench"
)

// Page is what a page shows.
type Page struct {
	Title       string // "kcmbench" when empty
	Runs        []Run
	Comparisons []Comparison
	// Target is drawn beside latency against throughput, and its percentile is the one
	// that is drawn; p99 without.
	Target *Target
	// Found are the outcomes of searches for the highest rate that meets the target.
	Found []Found
	// Workers is how many the ideal queue has; 0: as many as the report says.
	Workers int
}

// Lines that the figures have at most; with more they could not be told apart.
const mostLines = 2 * colours

//go:embed page.html
var source string

var layout = template.Must(template.New("page").Parse(source))

// view is what the template gets.
type view struct {
	Title       string
	Faults      []string
	Runs        []row
	Figures     []*figure
	Comparisons []comparison
	Machines    table
	Colours     [colours]struct{}
	Settings    table
}

type row struct {
	Name, Load, Rate, P50, P99, P999, Max, Errors, CPU, Verdict string
	Bad                                                         bool
}

type comparison struct {
	*Comparison
	Figure template.HTML
}

// table is what several columns have in common, and in what they differ.
type table struct {
	Common  []setting
	Differs []string // names
	Rows    []tableRow
}

// tableRow is one of the columns, with its values of Differs.
type tableRow struct {
	Name   string
	Values []string
}

// WriteHTML writes the page. The error is w's, or says that there is nothing to show or
// that the target has an unknown percentile.
func (p *Page) WriteHTML(w io.Writer) error {
	if len(p.Runs) == 0 && len(p.Comparisons) == 0 {
		return errors.New("page: no run and no comparison")
	}
	if p.Target != nil {
		if _, ok := percentile(new(bench.Quantiles), p.Target.Percentile); !ok {
			return fmt.Errorf("page: no percentile %q: want p50, p90, p99, p99_9 or p99_99", p.Target.Percentile)
		}
	}
	v := view{Title: p.Title}
	if v.Title == "" {
		v.Title = "kcmbench"
	}
	for _, run := range p.Runs {
		v.Runs = append(v.Runs, newRow(run))
		if f := fault(run.Report); f != "" {
			v.Faults = append(v.Faults, run.Name+": "+f)
		}
	}
	p.figures(&v)
	for i := range p.Comparisons {
		c := &p.Comparisons[i]
		v.Comparisons = append(v.Comparisons, comparison{c, c.SVG(fmt.Sprintf("comparison-%d", i))})
	}
	v.Machines, v.Settings = machines(p.Runs), settingsTable(p.Runs)
	return layout.Execute(w, &v)
}

func (p *Page) figures(v *view) {
	if len(p.Runs) == 0 {
		return
	}
	all := groups(p.Runs)
	some := all[:min(len(all), mostLines)]
	figures := append([]*figure{percentiles(some)}, overTime(some)...)
	if len(some) < len(all) {
		for _, f := range figures {
			f.Note = strings.TrimSpace(fmt.Sprintf("%s The first %d of %d groups of runs.", f.Note, len(some), len(all)))
		}
	}
	if f := throughput(all, p.Target, p.Found, p.Workers); f != nil {
		figures = slices.Insert(figures, 0, f)
	}
	for _, f := range figures {
		if !f.empty() {
			v.Figures = append(v.Figures, f)
		}
	}
}

// fault says what is wrong with a run, in words, "" if nothing is.
func fault(r *bench.Report) string {
	if r.Failure != "" {
		return r.Failure
	}
	if err := r.Verdict.Err(); err != nil {
		return err.Error()
	}
	return ""
}

func newRow(run Run) row {
	r := run.Report
	o := row{
		Name: run.Name, Load: fmt.Sprintf("closed, depth %d", r.Depth), Rate: count(r.PerSecond) + "/s",
		P50: micros(r.Latency.P50), P99: micros(r.Latency.P99), P999: micros(r.Latency.P999), Max: micros(r.Latency.Max),
		Errors: fmt.Sprint(r.Errors), CPU: "–", Verdict: "valid",
	}
	if r.Rate > 0 {
		o.Load = count(r.Rate) + "/s, " + r.Arrival
	}
	if r.Server != nil {
		o.CPU = micros(r.Server.CPUNanosPerMessage / 1e3)
	}
	if !r.Verdict.Valid {
		o.Verdict = "not valid"
	} else if r.Failure != "" {
		o.Verdict = "failed"
	}
	o.Bad = o.Verdict != "valid"
	return o
}

// machines lists the environments of the runs, each once.
func machines(runs []Run) table {
	var columns []string
	var all [][]setting
	add := func(name string, env *bench.Env) {
		e := environment(env)
		if i := slices.IndexFunc(all, func(o []setting) bool { return slices.Equal(o, e) }); i >= 0 {
			columns[i] += ", " + name
			return
		}
		columns, all = append(columns, name), append(all, e)
	}
	for _, run := range runs {
		if len(run.Report.Parts) == 0 {
			add(run.Name, &run.Report.Env)
		}
		for i := range run.Report.Parts {
			add(run.Name+", "+run.Report.Parts[i].Name, &run.Report.Parts[i].Env)
		}
	}
	return newTable(columns, all)
}

// environment is an Env as lines, without what is not the same in two runs on the same
// machine.
func environment(e *bench.Env) []setting {
	quota := "none"
	if e.Quota > 0 {
		quota = digits(e.Quota) + " CPUs"
	}
	s := []setting{
		{"kernel", e.Kernel}, {"processor", e.CPU}, {"CPUs", e.CPUs}, {"cores", fmt.Sprint(e.Cores)}, {"quota", quota},
		{"governor", e.Governor}, {"mitigations", e.Mitigations}, {"Go", e.Go}, {"GOMAXPROCS", fmt.Sprint(e.GOMAXPROCS)},
		{"GOGC", e.GOGC}, {"kcm", e.Version}, {"io_uring features", strings.Join(e.Features, ", ")},
	}
	for _, l := range e.Limits {
		s = append(s, setting{l.Name, l.Value})
	}
	for i := range s {
		switch {
		case s[i].Value != "":
		case s[i].Name == "GOGC":
			s[i].Value = "default"
		default:
			s[i].Value = "unknown"
		}
	}
	return s
}

// settingsTable has a column for each group of runs.
func settingsTable(runs []Run) table {
	var columns []string
	var all [][]setting
	for _, g := range groups(runs) {
		name := g.label
		if name == "" {
			name = g.runs[0].Name
		}
		columns = append(columns, name)
		all = append(all, append(slices.Clone(g.settings),
			setting{"seconds", digits(g.runs[0].Report.Seconds)}))
	}
	return newTable(columns, all)
}

// newTable puts aside what all lists have in common.
func newTable(names []string, all [][]setting) (t table) {
	for _, name := range names {
		t.Rows = append(t.Rows, tableRow{Name: name})
	}
	var seen []string
	for _, list := range all {
		for _, s := range list {
			if slices.Contains(seen, s.Name) {
				continue
			}
			seen = append(seen, s.Name)
			t.add(s.Name, all)
		}
	}
	if len(t.Differs) == 0 {
		t.Rows = nil
	}
	return t
}

func (t *table) add(name string, all [][]setting) {
	var values []string
	for _, list := range all {
		value := "–"
		if i := slices.IndexFunc(list, func(s setting) bool { return s.Name == name }); i >= 0 {
			value = list[i].Value
		}
		values = append(values, value)
	}
	if len(slices.Compact(slices.Clone(values))) == 1 {
		t.Common = append(t.Common, setting{name, values[0]})
		return
	}
	t.Differs = append(t.Differs, name)
	for i, v := range values {
		t.Rows[i].Values = append(t.Rows[i].Values, v)
	}
}
