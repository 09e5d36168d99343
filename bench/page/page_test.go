package page

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/bench/judge"
)

// sample is a report as of a run at a rate, whose latencies are scale times 1 to 1000 µs.
func sample(rate float64, workers int, scale int64) *bench.Report {
	h, late := bench.NewHist(), bench.NewHist()
	for i := range int64(1000) {
		h.Record(scale * (i + 1) * 1000)
		late.Record(i * 10)
	}
	r := &bench.Report{
		Schema: bench.Schema, Messages: h.Count(), Seconds: 2, PerSecond: rate,
		Latency: h.Quantiles(), Conns: 4, Depth: 1, Size: bench.Sizes{Min: 64, Max: 64}, Rate: rate, Arrival: "poisson",
		Service: "bimodal:10us,1ms,5%", ServiceMode: "auto", Frame: "len32", Target: "127.0.0.1:1",
		Server: &bench.LoopReport{Placement: bench.Placement{Backend: "epoll", Loops: 1}}, Policy: "idle", Workers: workers,
		Generator:  bench.LoopReport{Placement: bench.Placement{Backend: "epoll", Loops: 1}},
		Histograms: map[string]*bench.Hist{bench.LatencyName: h, bench.LatenessName: late},
		Verdict:    bench.Verdict{Valid: true},
	}
	for i := range 4 {
		r.Series = append(r.Series, bench.Point{
			From: float64(i) / 2, To: float64(i+1) / 2, Messages: 250, PerSecond: 500, Latency: h.Quantiles(),
		})
	}
	return r
}

// full is a page with everything on it.
func full() *Page {
	p := &Page{Title: "a <b> & \"c\"", Target: &Target{"p99", 2 * time.Millisecond}}
	for _, workers := range []int{1, 4} {
		for i, rate := range []float64{1000, 2000, 4000} {
			p.Runs = append(p.Runs, Run{fmt.Sprintf("<w%d-%g>", workers, rate), sample(rate, workers, int64(i+1))})
		}
	}
	p.Runs[0].Report.Failure = "something <went> wrong"
	p.Runs[1].Report.Verdict = bench.Verdict{Reasons: []string{"it was late"}}
	p.Found = []Found{{Low: 1500, High: 1700}}
	p.Comparisons = []Comparison{{A: "inline", B: "<four>", Paired: true, Differences: []judge.Difference{
		{Name: "p99", RunsA: 10, RunsB: 10, A: 100, B: 80, Ratio: 0.8, Low: 0.7, High: 0.9, PHolm: 0.001, Shown: true},
		{Name: "rate", RunsA: 10, RunsB: 10, A: 100, B: 101, Ratio: 1.01, Low: 0.95, High: 1.07, PHolm: 0.5},
	}}}
	return p
}

func write(t *testing.T, p *Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var svg = regexp.MustCompile(`(?s)<svg viewBox="0 0 480.*?</svg>`)

// TestPageIsWhole looks for every part, for well-formed drawings, and for anything that
// would be loaded or run.
func TestPageIsWhole(t *testing.T) {
	s := write(t, full())
	for _, id := range []string{"percentiles", "time", "rate", "throughput"} {
		if !strings.Contains(s, `<figure id="`+id+`">`) {
			t.Errorf("no figure %s", id)
		}
	}
	drawings := svg.FindAllString(s, -1)
	if len(drawings) != 5 {
		t.Fatalf("%d drawings, want 5", len(drawings))
	}
	for _, d := range drawings {
		if err := wellFormed(d); err != nil {
			t.Errorf("%v in %s", err, d)
		}
		if strings.Contains(d, "NaN") || strings.Contains(d, "Inf") {
			t.Errorf("no number: %s", d)
		}
	}
	for _, want := range []string{
		"a &lt;b&gt; &amp;", "&lt;w1-1000&gt;", "something &lt;went&gt; wrong", "&lt;four&gt;", "no difference shown",
		"B has 20 % less", "target: p99 2 ms", "workers 1: ideal", "the generator was the limit, not the server: it was late",
		"prefers-color-scheme: dark", "@media print", "width=device-width", "Machine and program",
	} {
		if !strings.Contains(s, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, not := range []string{"<script", "src=", "href=", "url(", "@import", "http:", "https:", "<b>", "<went>"} {
		if strings.Contains(s, not) {
			t.Errorf("it has %q", not)
		}
	}
}

func wellFormed(s string) error {
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// TestPageOfOddRuns has runs with nothing in them, with one message, and with more groups
// than can be told apart.
func TestPageOfOddRuns(t *testing.T) {
	empty := sample(1000, 1, 1)
	empty.Histograms = map[string]*bench.Hist{bench.LatencyName: bench.NewHist()}
	empty.Latency, empty.Series, empty.PerSecond = bench.Quantiles{}, nil, 0
	s := write(t, &Page{Runs: []Run{{"empty", empty}}})
	if n := len(svg.FindAllString(s, -1)); n != 0 {
		t.Errorf("%d drawings of nothing", n)
	}

	one := sample(0, 1, 1)
	h := bench.NewHist()
	h.Record(5000)
	one.Histograms = map[string]*bench.Hist{bench.LatencyName: h}
	one.Latency, one.Series = h.Quantiles(), one.Series[:1]
	one.Series[0].Messages = 0
	s = write(t, &Page{Runs: []Run{{"one", one}}})
	for _, d := range svg.FindAllString(s, -1) {
		if strings.Contains(d, "NaN") || strings.Contains(d, "Inf") {
			t.Errorf("no number: %s", d)
		}
	}

	var many []Run
	for i := range mostLines + 3 {
		many = append(many, Run{fmt.Sprint(i), sample(float64(1000+i), 1, 1)})
	}
	s = write(t, &Page{Runs: many})
	if want := fmt.Sprintf("The first %d of %d groups of runs.", mostLines, len(many)); !strings.Contains(s, want) {
		t.Errorf("no %q", want)
	}

	for _, p := range []*Page{{}, {Runs: many, Target: &Target{"p42", 1}}} {
		if err := p.WriteHTML(io.Discard); err == nil {
			t.Error("no error")
		}
	}
}

// TestCurveIsTheDistribution holds points of the percentile curve against the times.
func TestCurveIsTheDistribution(t *testing.T) {
	points := curve(sample(1, 1, 1).Histograms[bench.LatencyName]) // 1 to 1000 µs
	last := points[len(points)-1]
	if last.x != 1000 || math.Abs(last.y-1000) > 1 {
		t.Errorf("ends at %+v, want 1000, 1000", last)
	}
	for _, p := range points {
		if want := 1000 * (1 - 1/p.x); p.x < 900 && math.Abs(p.y-want) > 2 {
			t.Errorf("%.1f µs at 1/%.1f, want %.1f", p.y, p.x, want)
		}
	}
}

// TestGroups: runs with equal settings come together, their histograms add up, and the
// label says in what groups differ.
func TestGroups(t *testing.T) {
	runs := []Run{{"a", sample(2000, 1, 1)}, {"b", sample(1000, 1, 1)}, {"c", sample(2000, 1, 2)}, {"d", sample(1000, 4, 1)}}
	var labels []string
	for _, g := range groups(runs) {
		labels = append(labels, g.label)
	}
	if want := []string{"workers 1, 1k/s", "workers 1, 2k/s (2 runs)", "workers 4, 1k/s"}; !slices.Equal(labels, want) {
		t.Errorf("%q, want %q", labels, want)
	}
	both := groups(runs)[1].histogram(bench.LatencyName)
	if q := both.Quantiles(); both.Count() != 2000 || math.Abs(q.Max-2000) > 0 {
		t.Errorf("%d times up to %v", both.Count(), q.Max)
	}
	if g := groups(runs[:1]); g[0].label != "a" {
		t.Errorf("a single run is called %q", g[0].label)
	}
	if f := throughput(groups(runs[:1]), nil, nil, 0); f != nil {
		t.Error("one rate makes a curve")
	}
}

func TestPlaces(t *testing.T) {
	l := scale{1, 1000, true, nil, nil}
	if v := l.at(10); math.Abs(v-1./3) > 1e-9 {
		t.Errorf("10 is at %v of 1 to 1000", v)
	}
	for _, c := range []struct{ got, want string }{
		{micros(0), "0"}, {micros(0.5), "500 ns"}, {micros(12.345), "12.3 µs"}, {micros(999.7), "1 ms"}, {micros(1.5e6), "1.5 s"},
		{count(999), "999"}, {count(12000), "12k"}, {count(2.5e6), "2.5M"},
		{nines(1), "0"}, {nines(10), "90%"}, {nines(100), "99%"}, {nines(1e5), "99.999%"},
		{digits(0.01234), "0.0123"}, {digits(100), "100"}, {digits(1200), "1200"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
	if got := fmt.Sprint(niceMarks(0, 10.5)); got != "[0 2 4 6 8 10]" {
		t.Errorf("marks %s", got)
	}
	if got := fmt.Sprint(decades(15, 600)); got != "[20 50 100 200 500]" {
		t.Errorf("marks %s", got)
	}
}

// TestThinKeepsPeaks: of many points the highest stays.
func TestThinKeepsPeaks(t *testing.T) {
	points := make([]point, 10_007)
	for i := range points {
		points[i] = point{x: float64(i), y: 1}
	}
	points[7777].y = 9
	short := thin(points)
	if len(short) != most || !slices.ContainsFunc(short, func(p point) bool { return p.y == 9 }) {
		t.Errorf("%d points", len(short))
	}
}

// TestIdealOfAReport compares with the simulation of the same load.
func TestIdealOfAReport(t *testing.T) {
	r := sample(2000, 4, 1)
	got, ok := ideal(r, "p99", 0)
	w := bench.Workload{Conns: 4, Depth: 1, Size: r.Size, Rate: 2000, Arrival: bench.Poisson, Duration: 2 * time.Second, Unordered: true}
	w.Service, _ = bench.ParseService(r.Service)
	jobs, err := w.Jobs()
	if err != nil {
		t.Fatal(err)
	}
	if want := jobs.Ideal(4, bench.FCFS).Disciplines[0].Sojourn.P99; !ok || got != want {
		t.Errorf("%v, %v, want %v", got, ok, want)
	}
	r.Service = "0"
	if _, ok := ideal(r, "p99", 0); ok {
		t.Error("messages without work have an ideal")
	}
}

// TestMachinesOfMergedReports: each generator's machine is on the page, equal ones once.
func TestMachinesOfMergedReports(t *testing.T) {
	r := sample(1000, 1, 1)
	for _, kernel := range []string{"one", "two", "one"} {
		r.Parts = append(r.Parts, bench.Part{Name: "of " + kernel, Env: bench.Env{Kernel: kernel}})
	}
	m := machines([]Run{{"all", r}})
	if len(m.Rows) != 2 || m.Rows[0].Name != "all, of one, all, of one" || !slices.Equal(m.Differs, []string{"kernel"}) {
		t.Errorf("%+v", m)
	}
}

// TestClosedLoopsByDepth: against throughput, runs of a closed loop differ in their depth.
func TestClosedLoopsByDepth(t *testing.T) {
	var runs []Run
	for _, depth := range []int{4, 1, 2} {
		r := sample(0, 1, 1)
		r.Depth, r.PerSecond = depth, 1000*float64(depth)
		runs = append(runs, Run{fmt.Sprint(depth), r})
	}
	all := groups(runs)
	if all[0].label != "depth 1" || all[2].label != "depth 4" {
		t.Errorf("%q, %q, %q", all[0].label, all[1].label, all[2].label)
	}
	f := throughput(all, nil, nil, 0)
	if f == nil || len(f.lines) != 2 || len(f.lines[0].points) != 3 || f.lines[0].points[2].x != 4000 {
		t.Errorf("%+v", f)
	}
}
