//go:build linux

package muxprom

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/kcm-go/kcm/mux"
)

// dashboard is what the tests look at of dashboard.json.
type dashboard struct {
	Title, UID string
	Templating struct {
		List []struct {
			Name, Type string
			Query      json.RawMessage // a string or an object
			Definition string
		}
	}
	Panels []struct {
		ID          int
		Type, Title string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ RefID, Expr, LegendFormat string }
	}
}

// query is one expression of the dashboard.
type query struct{ where, expr, legend string }

func readDashboard(t *testing.T) (d dashboard, queries []query) {
	t.Helper()
	b, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, x := range p.Targets {
			queries = append(queries, query{p.Title, x.Expr, x.LegendFormat})
		}
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			queries = append(queries, query{"variable " + v.Name, v.Definition, ""})
		}
	}
	if strings.Count(string(b), `"expr"`) != len(queries)-len(d.Templating.List)+1 || len(queries) < 20 {
		t.Fatalf("the test sees %d queries, and not all there are", len(queries))
	}
	return d, queries
}

var (
	metricName  = regexp.MustCompile(`\bkcm_[a-z0-9_]+`)
	selector    = regexp.MustCompile(`kcm_[a-z0-9_]+\{([^}]*)\}`)
	labelOf     = regexp.MustCompile(`([a-z_]+) *=~`)
	grouping    = regexp.MustCompile(`by \(([^)]*)\)`)
	inLegend    = regexp.MustCompile(`\{\{ *([a-z_]+) *\}\}`)
	variable    = regexp.MustCompile(`\$\{?([a-z_]+)\}?`)
	rated       = regexp.MustCompile(`(rate\()?(kcm_[a-z0-9_]+)`)
	scrapeAdds  = []string{"job", "instance", "le"}
	grafanaVars = []string{"__rate_interval"}
)

// labels returns the names of the labels of a family.
func labels(f *dto.MetricFamily) (names []string) {
	for _, l := range f.GetMetric()[0].GetLabel() {
		names = append(names, l.GetName())
	}
	return append(names, scrapeAdds...)
}

// Every metric that the dashboard asks for exists, and has the labels that it is selected
// and grouped by; totals are looked at as rates and nothing else is; variables are defined.
func TestDashboard(t *testing.T) {
	families := gather(t, registry(t, New(newMux(t, mux.Options{Loops: 1}))))
	d, queries := readDashboard(t)
	var vars []string
	for _, v := range d.Templating.List {
		vars = append(vars, v.Name)
	}
	for _, q := range queries {
		names := metricName.FindAllString(q.expr, -1)
		if len(names) == 0 {
			t.Errorf("%s: no metric in %s", q.where, q.expr)
		}
		known := []string(nil) // labels of one of them
		for _, n := range names {
			f := families[strings.TrimSuffix(n, "_bucket")]
			if f == nil || (f.GetType() == dto.MetricType_HISTOGRAM) != strings.HasSuffix(n, "_bucket") {
				t.Errorf("%s: there is no metric %s", q.where, n)
				continue
			}
			known = append(known, labels(f)...)
		}
		for _, m := range selector.FindAllStringSubmatch(q.expr, -1) {
			for _, l := range labelOf.FindAllStringSubmatch(m[1], -1) {
				if !slices.Contains(known, l[1]) {
					t.Errorf("%s: no label %s in %s", q.where, l[1], q.expr)
				}
			}
		}
		groups := scrapeAdds
		for _, m := range grouping.FindAllStringSubmatch(q.expr, -1) {
			groups = strings.Split(strings.ReplaceAll(m[1], " ", ""), ",")
			for _, l := range groups {
				if !slices.Contains(known, l) {
					t.Errorf("%s: no label %s to group by in %s", q.where, l, q.expr)
				}
			}
		}
		for _, m := range inLegend.FindAllStringSubmatch(q.legend, -1) {
			if !slices.Contains(groups, m[1]) {
				t.Errorf("%s: the legend has %s, which is grouped away in %s", q.where, m[1], q.expr)
			}
		}
		for _, m := range variable.FindAllStringSubmatch(q.expr, -1) {
			if !slices.Contains(vars, m[1]) && !slices.Contains(grafanaVars, m[1]) {
				t.Errorf("%s: the variable %s is not defined", q.where, m[1])
			}
		}
		for _, m := range rated.FindAllStringSubmatch(q.expr, -1) {
			total := strings.HasSuffix(m[2], "_total") || strings.HasSuffix(m[2], "_bucket")
			if total != (m[1] != "") {
				t.Errorf("%s: %s, rate: %v", q.where, m[2], m[1] != "")
			}
		}
		for _, pair := range []string{"()", "{}", "[]"} {
			if strings.Count(q.expr, pair[:1]) != strings.Count(q.expr, pair[1:]) {
				t.Errorf("%s: %s are not in pairs in %s", q.where, pair, q.expr)
			}
		}
	}
}

// Panels have their own number, and none lies on another.
func TestDashboardLayout(t *testing.T) {
	d, _ := readDashboard(t)
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" || (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %d %q of type %s has %d queries", p.ID, p.Title, p.Type, len(p.Targets))
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("%q is at %+v", p.Title, g)
		}
		for x := range g.W {
			for y := range g.H {
				at := [2]int{g.X + x, g.Y + y}
				if other := cells[at]; other != "" {
					t.Fatalf("%q lies on %q", p.Title, other)
				}
				cells[at] = p.Title
			}
		}
	}
}
