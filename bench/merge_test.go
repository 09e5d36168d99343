package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// part is a report as of generator i of several, and its log of two intervals.
func part(i int) (*Report, string) {
	r := &Report{
		Schema: Schema, Seconds: 2, Conns: 4, Rate: 100, Arrival: "poisson", Seed: uint64(i + 1), Service: "0", Target: "a:1",
		Verdict: Verdict{Valid: true}, Histograms: make(map[string]*Hist), BeganUnixMillis: 1_700_000_000_000 + int64(10*i),
		Generator: LoopReport{Placement: Placement{Backend: "epoll", Loops: 1, CPUs: []int{i}}, CPUNanosPerMessage: 1000 * float64(i+1)},
	}
	for _, name := range []string{LatencyName, ActualName, LatenessName} {
		r.Histograms[name] = NewHist()
	}
	var log bytes.Buffer
	w := NewLogWriter(&log)
	for k := range 2 {
		half := Interval{
			Start: time.UnixMilli(r.BeganUnixMillis).Add(time.Duration(k) * time.Second),
			From:  time.Duration(k) * time.Second, To: time.Duration(k+1) * time.Second,
			Latency: NewHist(), Actual: NewHist(), Lateness: NewHist(),
		}
		for n := range 50 * (i + 1) {
			half.Latency.Record(int64(n+1) * 1000 * int64(k+1))
			half.Actual.Record(int64(n) * 10)
			half.Lateness.Record(int64(i))
		}
		for _, h := range half.Histograms() {
			mergeHist(r.Histograms[h.Name], h.Hist)
		}
		if err := w.Write(&half); err != nil {
			panic(err)
		}
	}
	r.Messages = r.Histograms[LatencyName].Count()
	r.MessagesTotal = r.Messages + 5
	r.PerSecond = float64(r.Messages) / 2
	r.Latency = r.Histograms[LatencyName].Quantiles()
	q := r.Histograms[LatenessName].Quantiles()
	r.Lateness = &q
	return r, log.String()
}

// TestMergeReports adds up three generators' reports, and compares with the histogram of
// all their times.
func TestMergeReports(t *testing.T) {
	var reports []*Report
	want := NewHist()
	for i := range 3 {
		r, _ := part(i)
		reports = append(reports, r)
		mergeHist(want, r.Histograms[LatencyName])
	}
	reports[1].Failure, reports[1].Lost, reports[1].Errors = "lost one", 1, 1
	reports[2].Verdict = Verdict{Reasons: []string{"late"}}
	before := asJSON(t, reports)
	sum, err := MergeReports([]string{"a", "b", "c"}, reports, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Messages != 600 || sum.MessagesTotal != 615 || sum.PerSecond != 300 || sum.Conns != 12 || sum.Rate != 300 ||
		sum.Lost != 1 || sum.Errors != 1 || sum.Failure != "b: lost one" || sum.BeganUnixMillis != reports[0].BeganUnixMillis {
		t.Errorf("%+v", sum)
	}
	if sum.Latency != want.Quantiles() || sum.Histograms[LatencyName].Count() != 600 {
		t.Errorf("latency %+v, want %+v", sum.Latency, want.Quantiles())
	}
	// 100 messages of 1000 ns, 200 of 2000, 300 of 3000.
	if g := sum.Generator; g.CPUNanosPerMessage < 2333 || g.CPUNanosPerMessage > 2334 || g.Loops != 3 || !slices.Equal(g.CPUs, []int{0, 1, 2}) {
		t.Errorf("generator %+v", g)
	}
	if sum.Verdict.Valid || !slices.Equal(sum.Verdict.Reasons, []string{"c: late"}) {
		t.Errorf("verdict %+v", sum.Verdict)
	}
	if len(sum.Parts) != 3 || sum.Parts[2].Name != "c" || sum.Parts[2].Messages != 300 || sum.Parts[2].Seed != 3 {
		t.Errorf("parts %+v", sum.Parts)
	}
	if !reflect.DeepEqual(asJSON(t, reports), before) {
		t.Error("the parts were changed")
	}
	s := readSchema(t)
	sum.Parts[0].Generator.Notes = nil
	for _, p := range s.problems(s.root, asJSON(t, sum), "sum") {
		t.Error(p)
	}
}

func TestMergeReportsRefuses(t *testing.T) {
	for want, change := range map[string]func(*Report){
		`b: other workload: depth is 7, and 0 in the first`:          func(r *Report) { r.Depth = 7 },
		`b: other workload: think is "1ms", and absent in the first`: func(r *Report) { r.Think = "1ms" },
		`b: other workload: target is "b:1", and "a:1" in the first`: func(r *Report) { r.Target = "b:1" },
		`b: other workload: schema is 2, and 1 in the first`:         func(r *Report) { r.Schema = 2 },
		`one is an open loop, another a closed one`:                  func(r *Report) { r.Rate = 0 },
		`both have seed 1`:                                       func(r *Report) { r.Seed = 1 },
		`began up to 30ms apart, allowed are 20ms`:               func(r *Report) { r.BeganUnixMillis += 20 },
		`b: it had a server in its own process`:                  func(r *Report) { r.Server = &LoopReport{} },
		`b: 201 messages, and 200 in the histogram of latencies`: func(r *Report) { r.Messages++ },
		`no histogram of latencies`:                              func(r *Report) { r.Histograms = nil },
	} {
		a, _ := part(0)
		b, _ := part(1)
		change(b)
		if _, err := MergeReports([]string{"a", "b"}, []*Report{a, b}, 20*time.Millisecond); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	a, _ := part(0)
	if _, err := MergeReports([]string{"a"}, []*Report{a}, 0); err == nil {
		t.Error("one report was merged")
	}
}

// TestMergeRulesAreComplete: whoever adds a key to Report that runs of one load may differ
// in has to say how it is merged. Those without a rule say what the workload is.
func TestMergeRulesAreComplete(t *testing.T) {
	workload := []string{"schema", "depth", "size", "arrival", "warmup_seconds", "service", "service_mode", "order", "frame",
		"target", "kinds", "profile", "replay", "batch", "think", "churn", "generator_spin_us"}
	var keys []string
	for i := range reflect.TypeFor[Report]().NumField() {
		name, _, _ := strings.Cut(reflect.TypeFor[Report]().Field(i).Tag.Get("json"), ",")
		if name != "-" && !slices.Contains(workload, name) {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	if rules := slices.Sorted(maps.Keys(mergeRules)); !slices.Equal(keys, rules) {
		t.Errorf("keys  %v\nrules %v", keys, rules)
	}
}

// TestMergeLogs merges logs of three generators that began a few milliseconds apart.
func TestMergeLogs(t *testing.T) {
	var logs []NamedLog
	want := NewHist()
	for i := range 3 {
		r, log := part(i)
		logs = append(logs, NamedLog{fmt.Sprint(i), strings.NewReader(log)})
		mergeHist(want, r.Histograms[LatencyName])
	}
	var b bytes.Buffer
	n, err := MergeLogs(&b, logs, 20*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if n != 3*600 {
		t.Errorf("%d times, want %d", n, 3*600)
	}
	lines, err := readLog(&b)
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) != 6 {
		t.Fatalf("%d lines, want 2 intervals of 3 tags", len(lines))
	}
	got := NewHist()
	for i, l := range lines {
		if from := 1_700_000_000 + float64(i/3); l.from < from-0.001 || l.from > from+0.001 || l.length < 1.019 || l.length > 1.021 {
			t.Errorf("line %d from %.3f, %.3f long", i, l.from, l.length)
		}
		if wantName := []string{LatencyName, ActualName, LatenessName}[i%3]; l.name != wantName {
			t.Errorf("line %d is of %s, want %s", i, l.name, wantName)
		}
		if l.name == LatencyName {
			mergeHist(got, l.hist)
		}
	}
	if !got.h.Equals(want.h) {
		t.Errorf("%d times, want %d", got.Count(), want.Count())
	}
}

func TestMergeLogsRefuses(t *testing.T) {
	_, a := part(0)
	_, b := part(1)
	for want, log := range map[string]string{
		"other workload: it has actual, latency, and the first actual, latency, lateness": withoutLines(b, "Tag=lateness"),
		"began up to 10ms apart": b,
		"no histogram":           "",
		"line 1: 2 fields":       "1,2\n",
		"is no number":           strings.Replace(b, "\n0.000,", "\nx,", 1),
		"line 5: histogram":      strings.Replace(b, ",HIST", ",HOST", 1),
		"no time":                "#[StartTime:\n" + b,
	} {
		_, err := MergeLogs(new(bytes.Buffer), []NamedLog{{"a", strings.NewReader(a)}, {"b", strings.NewReader(log)}}, 5*time.Millisecond)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "merge: ") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func withoutLines(log, prefix string) string {
	return strings.Join(slices.DeleteFunc(strings.SplitAfter(log, "\n"), func(l string) bool { return strings.HasPrefix(l, prefix) }), "")
}

// TestReadLogTimes: times of lines are absolute, or relative to the start or a base time.
func TestReadLogTimes(t *testing.T) {
	_, log := part(0)
	body := log[strings.Index(log, "\n0.000"):]
	for head, want := range map[string]float64{
		"": 0,
		"#[StartTime: 1700000000.5 (seconds since epoch), x]":                             1_700_000_000.5,
		"#[StartTime: 7 (seconds since epoch), x]\n#[BaseTime: 20 (seconds since epoch)]": 20,
		"#[StartTime: 100 (seconds since epoch)]":                                         0,
	} {
		lines, err := readLog(strings.NewReader(head + body))
		if err != nil || lines[0].from != want || lines[3].from != want+1 {
			t.Errorf("%q: %v, %v", head, lines, err)
		}
	}
}

// FuzzReadLog: no input makes it panic, and what it reads has times.
func FuzzReadLog(f *testing.F) {
	_, log := part(0)
	f.Add(log)
	f.Add("#[BaseTime: 1]\nTag=a,1,2,3,HISTFAAA\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := readLog(strings.NewReader(text))
		if err == nil && len(lines) == 0 {
			t.Error("neither lines nor an error")
		}
		for _, l := range lines {
			if l.hist.h == nil {
				t.Error("a line without a histogram")
			}
		}
	})
}

// TestReadReportOfMerged: a merged report is read as it was written.
func TestReadReportOfMerged(t *testing.T) {
	a, _ := part(0)
	b, _ := part(1)
	sum, err := MergeReports([]string{"a", "b"}, []*Report{a, b}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	back := new(Report)
	if err := json.Unmarshal(text, back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("%v\n%s\n%s", err, text, again)
	}
}
