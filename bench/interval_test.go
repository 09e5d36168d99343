package bench

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"
)

// TestIntervalsAreTheWhole runs with intervals: they follow each other, and together they
// are the figures of the run.
func TestIntervalsAreTheWhole(t *testing.T) {
	for _, rate := range []float64{0, 5000} {
		c := short("")
		c.Threads, c.Rate, c.Interval, c.Warmup = 2, rate, 10*time.Millisecond, 10*time.Millisecond
		c.Service, c.Mode = mustService(t, "bimodal:1us,20us,10%"), ModeSpin
		sum := make(map[string]*Hist)
		told := 0
		c.OnInterval = func(i *Interval) {
			told++
			for _, h := range i.Histograms() {
				if sum[h.Name] == nil {
					sum[h.Name] = NewHist()
				}
				mergeHist(sum[h.Name], h.Hist)
			}
		}
		rep, err := enough(t, c, 0)
		if err != nil {
			t.Fatal(err)
		}
		if told < len(rep.Series) || len(rep.Series) == 0 {
			t.Fatalf("%d intervals told, %d in the report", told, len(rep.Series))
		}
		if told > len(rep.Series) {
			continue // enough had to run more than once, and sum has all
		}
		n, at := int64(0), 0.0
		for _, p := range rep.Series {
			if p.From > at || p.To < p.From {
				t.Fatalf("an interval from %v to %v after one to %v", p.From, p.To, at)
			}
			at = max(at, p.To)
			n += p.Messages
		}
		if n != rep.Messages {
			t.Errorf("%d messages in intervals, %d in the report", n, rep.Messages)
		}
		want := []string{"class:1us", "class:20us", "latency"}
		if rate > 0 {
			want = append([]string{"actual"}, append(want, "lateness")...)
		}
		var names []string
		for name, h := range rep.Histograms {
			names = append(names, name)
			if !reflect.DeepEqual(sum[name].Quantiles(), h.Quantiles()) || sum[name].Count() != h.Count() {
				t.Errorf("%s: intervals give %+v, the report %+v", name, sum[name].Quantiles(), h.Quantiles())
			}
		}
		if slices.Sort(names); !slices.Equal(names, want) {
			t.Errorf("histograms %v, want %v", names, want)
		}
		if rep.Histograms[LatencyName].Quantiles() != rep.Latency {
			t.Errorf("%+v is not %+v", rep.Histograms[LatencyName].Quantiles(), rep.Latency)
		}
	}
}

func mustService(t *testing.T, text string) Service {
	t.Helper()
	s, err := ParseService(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sliced is a generator that measures nothing, with intervals of a second.
func sliced(w *Workload, filled chan *span) *generator {
	g := &generator{w: w, end: w.Duration}
	g.current = newSpan(w, g)
	g.slice(time.Second, filled)
	g.boundary = g.firstBoundary()
	return g
}

// TestSpansOfThreadsThatStandStill hands spans of two threads to a collector. One of them
// stands still over two boundaries; its span counts where that ends, and nothing is lost.
func TestSpansOfThreadsThatStandStill(t *testing.T) {
	w := &Workload{Duration: 5 * time.Second}
	filled := make(chan *span, 8)
	a, b := sliced(w, filled), sliced(w, filled)
	var got []Point
	c := newCollector(w, 2, func(i *Interval) { got = append(got, i.Point()) })
	take := func() {
		for len(filled) > 0 {
			s := <-filled
			c.take(s)
			s.reset()
			s.owner.spare <- s
		}
	}
	step := func(g *generator, at time.Duration, times int) {
		for range times {
			g.current.latency[0].Record(1000)
		}
		g.inFlight = times
		g.handOver(at)
		take()
	}
	step(a, time.Second, 1)
	step(a, 2*time.Second, 2)
	if len(got) != 0 {
		t.Fatalf("told %+v before the other thread has passed", got)
	}
	step(b, 3100*time.Millisecond, 10)
	step(a, 3*time.Second, 4)
	b.result.lost = 3
	for _, g := range []*generator{a, b} {
		g.endSpan(5 * time.Second)
		c.end(g)
		c.end(g) // once is enough
	}
	type line struct {
		from, to float64
		n        int64
		inFlight int
		errors   int64
	}
	var lines []line
	for _, p := range got {
		lines = append(lines, line{p.From, p.To, p.Messages, p.InFlight, p.Errors})
	}
	want := []line{{0, 1, 1, 1, 0}, {1, 2, 2, 2, 0}, {0, 3.1, 14, 14, 0}, {3, 5, 0, 14, 3}}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got  %v\nwant %v", lines, want)
	}
	if n := c.total.latency[0].Count(); n != 17 {
		t.Errorf("%d times in the whole, want 17", n)
	}
	if !reflect.DeepEqual(c.series, got) {
		t.Errorf("series %v", c.series)
	}
}

// TestSpanGoesOnWithoutASpare has nobody take what a thread hands over.
func TestSpanGoesOnWithoutASpare(t *testing.T) {
	w := &Workload{Duration: time.Minute}
	filled := make(chan *span, 1+spares)
	g := sliced(w, filled)
	for i := range 10 {
		g.current.latency[0].Record(1)
		g.handOver(time.Duration(i+1) * time.Second)
	}
	if len(filled) != spares {
		t.Fatalf("%d spans, want %d", len(filled), spares)
	}
	if n := g.current.latency[0].Count(); n != 10-spares {
		t.Errorf("%d times in the last, want %d", n, 10-spares)
	}
	s := <-filled
	s.reset()
	g.spare <- s
	g.handOver(11 * time.Second)
	if len(filled) != spares || g.current.latency[0].Count() != 0 || g.current.from != 11*time.Second {
		t.Errorf("after a spare came back: %d spans, %d times", len(filled), g.current.latency[0].Count())
	}
}

func TestHandOverAllocatesNothing(t *testing.T) {
	g := sliced(&Workload{Duration: time.Hour}, make(chan *span, 1+spares))
	filled := make(chan *span, 1+spares)
	g.filled = filled
	at := time.Duration(0)
	if n := testing.AllocsPerRun(100, func() {
		at += time.Second
		g.handOver(at)
		s := <-filled
		s.reset()
		g.spare <- s
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTheLastIntervalHasTheReplies: the end of sending is no boundary, the end of a long
// wait for replies is one.
func TestTheLastIntervalHasTheReplies(t *testing.T) {
	g := sliced(&Workload{Duration: 2 * time.Second}, make(chan *span, 1+spares))
	if g.boundary != time.Second {
		t.Errorf("the first boundary is at %v", g.boundary)
	}
	for _, c := range []struct{ at, next time.Duration }{{time.Second, 3 * time.Second}, {3 * time.Second, 4 * time.Second}} {
		g.handOver(c.at)
		if g.boundary != c.next {
			t.Errorf("after %v the next boundary is at %v, want %v", c.at, g.boundary, c.next)
		}
	}
	one := sliced(&Workload{Duration: time.Second}, nil)
	if one.boundary != 2*time.Second {
		t.Errorf("the boundary of a run of one interval is at %v", one.boundary)
	}
}

func TestHistJSON(t *testing.T) {
	h := NewHist()
	for _, ns := range []int64{0, 1, 999, 1_000_000, histHighest, histHighest + 5} {
		h.Record(ns)
	}
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	back := new(Hist)
	if err := json.Unmarshal(b, back); err != nil {
		t.Fatal(err)
	}
	if back.Quantiles() != h.Quantiles() || back.Over() != 1 || back.Count() != 6 || !back.h.Equals(h.h) {
		t.Errorf("%+v, want %+v", back.Quantiles(), h.Quantiles())
	}
	back.Record(1) // it is a whole histogram
	for name, text := range map[string]string{
		"empty":       `{"count":0,"v2":""}`,
		"no base64":   `{"count":0,"v2":"!"}`,
		"other count": `{"count":7,"v2":` + v2Of(t, h) + `}`,
		"no object":   `[]`,
	} {
		if err := json.Unmarshal([]byte(text), new(Hist)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func v2Of(t *testing.T, h *Hist) string {
	t.Helper()
	v2, err := h.h.EncodeV2()
	if err != nil {
		t.Fatal(err)
	}
	return `"` + string(v2) + `"`
}

// TestWritersAreNoCostOfMessages has a function told of intervals allocate.
func TestWritersAreNoCostOfMessages(t *testing.T) {
	var keep [][]byte
	c := short("")
	c.Rate, c.Interval = 1000, 10*time.Millisecond
	c.OnInterval = func(*Interval) {
		for range 100_000 {
			keep = append(keep, make([]byte, 64))
		}
	}
	rep, err := enough(t, c, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := rep.AllocsPerMessage * float64(rep.Messages); n > float64(len(keep))/2 {
		t.Errorf("%.0f allocations of %d are counted", n, len(keep))
	}
}
