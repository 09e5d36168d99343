package bench

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
)

// What a run records is what Jobs foretells, to the nanosecond, with the classes the
// report has; and Ideal of both is the same.
func TestRecordIsTheLoadForetold(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b ring.Backend) {
		c := short("")
		c.Backend, c.Server.Backend = b, b
		c.Conns, c.Rate, c.Arrival, c.Warmup, c.Duration, c.Record = 7, 3000, Poisson, 20*time.Millisecond, 100*time.Millisecond, true
		c.Service = Service{Shape: Bimodal, Time: 10 * time.Microsecond, Slow: 300 * time.Microsecond, Percent: 10}
		c.Unordered = true
		rep := succeed(t, c)
		file := filepath.Join(t.TempDir(), "trace.csv")
		if err := rep.Trace.WriteCSV(file); err != nil {
			t.Fatal(err)
		}
		traced, err := ReadTrace(file)
		if err != nil {
			t.Fatal(err)
		}
		foretold, err := c.Jobs()
		if err != nil {
			t.Fatal(err)
		}
		warm := 0
		for warm < len(foretold.List) && foretold.List[warm].Arrival < foretold.From {
			warm++
		}
		if warm == 0 || foretold.From != c.Warmup {
			t.Errorf("%d messages of warm-up, to %v", warm, foretold.From)
		}
		want := foretold.List[warm:]
		if traced.Classes[0] != "10us" { // they are in order of appearance
			slices.Reverse(traced.Classes)
			for i := range traced.List {
				traced.List[i].Class = 1 - traced.List[i].Class
			}
		}
		if !slices.Equal(traced.List, want) || !slices.Equal(traced.Classes, foretold.Classes) {
			t.Fatalf("traced %d jobs of classes %v, foretold %d of %v", len(traced.List), traced.Classes, len(want), foretold.Classes)
		}
		if rep.Messages != int64(len(want)) || len(rep.Classes) != 2 {
			t.Fatalf("%d messages reported in %d classes", rep.Messages, len(rep.Classes))
		}
		for i, class := range rep.Classes {
			n := int64(0)
			for _, j := range want {
				if j.Class == i {
					n++
				}
			}
			if class.Messages != n || class.Name != foretold.Classes[i] || n == 0 {
				t.Errorf("class %+v has %d messages", class, n)
			}
			if class.Latency.P50 < class.ServiceMicros {
				t.Errorf("class %+v is quicker than its work", class)
			}
		}
		if rep.Service != "bimodal:10us,300us,10%" || rep.ServiceMode != "auto" || rep.Order {
			t.Errorf("service %s, mode %s, order %v", rep.Service, rep.ServiceMode, rep.Order)
		}
		// Left to itself the measured part is an Ideal load of its own.
		direct := (&Jobs{List: want, Classes: foretold.Classes}).Ideal(2, FCFS, PS)
		if again := traced.Ideal(2, FCFS, PS); !reflect.DeepEqual(again, direct) {
			t.Errorf("%+v, %+v", again, direct)
		}
	})
}

func TestRecordOfAClosedLoop(t *testing.T) {
	t.Parallel()
	c := short("")
	c.Record, c.Threads = true, 2
	rep := succeed(t, c)
	file := filepath.Join(t.TempDir(), "trace.csv")
	if err := rep.Trace.WriteCSV(file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if lines[0] != traceHeader || int64(len(lines)-1) != rep.Messages {
		t.Errorf("%d lines for %d messages, the first is %q", len(lines), rep.Messages, lines[0])
	}
	conns := map[string]bool{}
	for _, l := range lines[1:] {
		f := strings.Split(l, ",")
		if len(f) != 5 || f[1] != "0" || f[2] != "0" || strings.HasPrefix(f[4], "-") {
			t.Fatalf("line %q", l)
		}
		conns[f[3]] = true
	}
	if len(conns) != 2 || !conns["0"] || !conns["1"] {
		t.Errorf("connections %v", conns)
	}
	if err := rep.Trace.WriteCSV(filepath.Join(file, "nowhere")); err == nil {
		t.Error("a trace was written to nowhere")
	}
}

// However many there are, records keep their values, and what is added between two
// calls of ahead takes no memory.
func TestRecorderGrows(t *testing.T) {
	w := good()
	r := newRecorder(&w, 1)
	n := 0
	for range 5 {
		for range recordChunk / 2 {
			r.add(record{number: uint64(n)})
			n++
		}
		r.ahead()
	}
	var all []record
	for _, c := range r.full {
		all = append(all, c...)
	}
	all = append(all, r.current...)
	if len(all) != n || len(r.full) < 2 {
		t.Fatalf("%d records of %d in %d chunks", len(all), n, len(r.full)+1)
	}
	for i, rec := range all {
		if rec.number != uint64(i) {
			t.Fatalf("record %d is %d", i, rec.number)
		}
	}
	w.Rate = 10_000 // the schedule is known: one chunk, whatever ahead does
	r = newRecorder(&w, 1)
	if got := testing.AllocsPerRun(9_000, func() { r.add(record{}) }); got != 0 || len(r.full) != 0 {
		t.Errorf("%v allocations, %d full chunks", got, len(r.full))
	}
}

// A record has an end, and says so.
func TestRecorderIsBounded(t *testing.T) {
	w := good()
	r := newRecorder(&w, w.Conns)
	if r.left != MaxJobs {
		t.Errorf("room for %d records, want %d", r.left, MaxJobs)
	}
	r.left = 3
	for i := range uint64(5) {
		r.add(record{number: i})
	}
	n := len(r.current)
	for _, c := range r.full {
		n += len(c)
	}
	if n != 3 || r.cut != 2 {
		t.Errorf("%d records, %d cut", n, r.cut)
	}
	err := (&run{threads: []*generator{{recorder: r}, {}}}).cut()
	if err == nil || !strings.Contains(err.Error(), "the last 2 messages") {
		t.Errorf("error %v", err)
	}
	c := short("")
	c.Record, c.Rate, c.Duration = true, 1e6, time.Minute
	var o *OptionError
	if err := c.Check(); !errors.As(err, &o) || o.Option != "rate" {
		t.Errorf("recording 60,000,000 messages: %v", err)
	}
}

func TestReadTrace(t *testing.T) {
	j, err := readTrace(strings.NewReader("class,service_ns,more,intended_ns\nb,20,x,7\na,10,y,5\nb,30,z,7\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Jobs{List: []Job{{5, 10, 1}, {7, 20, 0}, {7, 30, 0}}, Classes: []string{"b", "a"}}
	if !reflect.DeepEqual(j, want) {
		t.Errorf("%+v, want %+v", j, want)
	}
	for text, want := range map[string]string{
		"":                                      "line 1: no column intended_ns",
		"intended_ns,class\n":                   "line 1: no column service_ns",
		"intended_ns,service_ns\n1,2\n":         "line 1: no column class",
		traceHeader + "\n1,2,a\n":               "wrong number of fields",
		traceHeader + "\n1,2,a,0,0\n-1,2,a,0,0": "line 3: intended_ns",
		traceHeader + "\n1,x,a,0,0\n":           `service_ns "x": want nanoseconds`,
		traceHeader + "\n" + manyClasses():      "line 66: more than 64 classes",
	} {
		if _, err := readTrace(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	if _, err := ReadTrace("/nonexistent/trace"); err == nil {
		t.Error("no error for a file that is not there")
	}
}

func manyClasses() string {
	var b strings.Builder
	for i := range maxTraceClasses + 1 {
		b.WriteString("1,2," + strings.Repeat("x", i+1) + ",0,0\n")
	}
	return b.String()
}

func TestJobsThatAreNone(t *testing.T) {
	w := good()
	w.Rate, w.Service = 1000, Service{Time: time.Millisecond}
	if j, err := w.Jobs(); err != nil || len(j.List) != 1000 {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Workload){
		"conns":   func(w *Workload) { w.Conns = 0 },
		"rate":    func(w *Workload) { w.Rate = 0 },
		"rate ":   func(w *Workload) { w.Rate = MaxJobs + 1 },
		"service": func(w *Workload) { w.Service = Service{} },
	} {
		w := w
		change(&w)
		_, err := w.Jobs()
		if o, ok := err.(*OptionError); !ok || o.Option != strings.TrimSpace(name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIdealReport(t *testing.T) {
	// Workers 1: waits of 0, 90, 81; utilisation 102 of 102.
	j := &Jobs{
		List:    []Job{{0, 100_000, 0}, {10_000, 1000, 1}, {20_000, 1000, 1}},
		Classes: []string{"100us", "1us"},
		From:    5000,
	}
	rep := j.Ideal(1, FCFS, PS)
	if rep.Messages != 2 || rep.Workers != 1 || rep.Load != 102.0/20 || len(rep.Disciplines) != 2 {
		t.Fatalf("%+v", rep)
	}
	f, p := rep.Disciplines[0], rep.Disciplines[1]
	if f.Discipline != "fcfs" || f.Utilisation != 1 || f.Waiting.Max != 90 || f.Waiting.P50 != 81 || f.Sojourn.Max != 91 || f.Sojourn.Mean != 86.5 {
		t.Errorf("%+v, waiting %+v", f, *f.Waiting)
	}
	if p.Discipline != "ps" || p.Utilisation != 1 || p.Waiting != nil || p.Sojourn.Max != 2 {
		t.Errorf("%+v", p)
	}
	if c := f.Classes; len(c) != 2 || c[0].Messages != 0 || c[0].Sojourn != (Quantiles{}) || c[1].Messages != 2 || *c[1].Waiting != *f.Waiting {
		t.Errorf("%+v", c)
	}
	var b strings.Builder
	if err := rep.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for text, n := range map[string]int{"  100us": 3, "  1us": 3, "waiting": 1, "sojourn": 2, "fcfs        utilisation 1.0000": 1, "load 5.1000 of 1 workers": 1} {
		if strings.Count(b.String(), text) != n {
			t.Errorf("not %d times %q in\n%s", n, text, b.String())
		}
	}
	if empty := (&Jobs{}).Ideal(1, FCFS); empty.Load != 0 || empty.Disciplines[0].Utilisation != 0 {
		t.Errorf("of no jobs: %+v", empty)
	}
}
