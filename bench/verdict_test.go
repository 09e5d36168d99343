package bench

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestVerdict(t *testing.T) {
	loaded := func(busy, waiting float64) LoopReport { return LoopReport{Busy: busy, Waiting: waiting} }
	server := func(busy, waiting float64) *LoopReport { l := loaded(busy, waiting); return &l }
	for name, c := range map[string]struct {
		rep  Report
		own  own
		want string // in the one reason; none if empty
	}{
		"open, at ease":              {Report{Lateness: &Quantiles{}, Generator: loaded(0.5, 0.1)}, own{sent: 100, late: 1}, ""},
		"open, late":                 {Report{Lateness: &Quantiles{}, Generator: loaded(0.5, 0.1)}, own{sent: 1000, late: 11}, "1.1% of the messages more than 1ms late"},
		"open, busy":                 {Report{Lateness: &Quantiles{}, Generator: loaded(0.96, 0)}, own{sent: 100}, "ran for 96%"},
		"open, waiting":              {Report{Lateness: &Quantiles{}, Generator: loaded(0.5, 0.46)}, own{sent: 100}, "waited for a processor for 46%"},
		"open, both at their limit":  {Report{Lateness: &Quantiles{}, Generator: loaded(0.96, 0), Server: server(1, 0)}, own{}, "ran for 96%"},
		"open, unsent":               {Report{Lateness: &Quantiles{}, Generator: loaded(0.5, 0)}, own{unsent: 7}, "7 messages were due"},
		"spinning":                   {Report{GeneratorSpinMicros: 50, Generator: loaded(0.99, 0.01)}, own{}, ""},
		"spinning, waiting":          {Report{GeneratorSpinMicros: 50, Generator: loaded(0.04, 0.95)}, own{}, "waited for a processor for 95%"},
		"closed, at ease":            {Report{Generator: loaded(0.94, 0)}, own{}, ""},
		"closed, busy":               {Report{Generator: loaded(0.95, 0)}, own{}, "ran for 95%"},
		"closed, server at its own":  {Report{Generator: loaded(0.97, 0), Server: server(0.9, 0.06)}, own{}, ""},
		"closed, server not so busy": {Report{Generator: loaded(0.97, 0), Server: server(0.9, 0.04)}, own{}, "ran for 97%"},
	} {
		v := judge(&c.rep, c.own, time.Millisecond)
		err := v.Err()
		switch {
		case c.want == "" && (!v.Valid || len(v.Reasons) > 0 || err != nil):
			t.Errorf("%s: %+v, %v", name, v, err)
		case c.want != "" && (v.Valid || len(v.Reasons) != 1 || err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %+v, %v, want %q", name, v, err, c.want)
		}
	}
}

// A nanosecond is more than any generator can promise.
func TestRunFailsByItsVerdict(t *testing.T) {
	c := short("")
	c.Rate, c.MaxLateness, c.AnyVerdict = 1000, 1, false
	rep, err := Run(t.Context(), c)
	if err == nil || rep == nil || rep.Verdict.Valid || rep.Errors > 0 || rep.Failure != err.Error() ||
		!strings.HasPrefix(err.Error(), "the generator was the limit, not the server: ") {
		t.Fatalf("%v, %+v", err, rep)
	}
	c.AnyVerdict = true
	rep, err = Run(t.Context(), c)
	if err != nil || rep.Verdict.Valid || rep.Failure != "" {
		t.Errorf("%v, %+v", err, rep)
	}
}

func TestStealTime(t *testing.T) {
	read := func(line string) cpuTime {
		return readCPUTime(fstest.MapFS{"proc/stat": {Data: []byte(line + "\ncpu0 1 2 3\n")}})
	}
	before, after := read("cpu  100 0 100 700 50 0 0 50 0 0"), read("cpu  150 0 150 780 50 0 0 70 30 0")
	if before != (cpuTime{1000, 50}) {
		t.Fatalf("%+v", before)
	}
	if p := stealPercent(before, after); p == nil || *p != 10 {
		t.Errorf("steal %v, want 10", p)
	}
	if stealPercent(before, before) != nil || read("cpu 1 2 3") != (cpuTime{}) || read("") != (cpuTime{}) {
		t.Error("something was read from nothing")
	}
}

// What a run adds to the description of the machine.
func TestReportOfTheMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the files are those of Linux")
	}
	c := short("")
	c.Duration = 200 * time.Millisecond // some ticks
	rep := succeed(t, c)
	e := rep.Env
	if e.Topology == nil || len(e.Limits) < 4 || e.StealPercent == nil {
		t.Errorf("%+v", e)
	}
	if (rep.Generator.Backend == uringName) != (len(e.Features) > 0) {
		t.Errorf("%s, features %v", rep.Generator.Backend, e.Features)
	}
	if rep.Generator.Busy <= 0 || rep.Server.Busy <= 0 {
		t.Errorf("generator busy %v, server %v", rep.Generator.Busy, rep.Server.Busy)
	}
	if _, err := json.Marshal(rep); err != nil {
		t.Error(err)
	}
}

// The busiest thread is the one that ran or wanted to for longest, and a moment says
// nothing.
func TestBusiestThread(t *testing.T) {
	at := time.Now()
	before := cost{at: at, each: []threadTime{{cpu: time.Second}, {cpu: 5 * time.Second, wait: time.Second}}}
	after := cost{at: at.Add(time.Second), each: []threadTime{{cpu: 1500 * time.Millisecond}, {cpu: 5200 * time.Millisecond, wait: 1400 * time.Millisecond}}}
	if busy, waiting := busiest(before, after); busy != 0.2 || waiting != 0.4 {
		t.Errorf("busy %v, waiting %v, want 0.2, 0.4", busy, waiting)
	}
	after.at = at.Add(time.Millisecond)
	if busy, waiting := busiest(before, after); busy != 0 || waiting != 0 {
		t.Errorf("busy %v, waiting %v in a millisecond", busy, waiting)
	}
	if busy, _ := busiest(cost{at: at}, cost{at: at.Add(time.Second), each: after.each}); busy != 0 {
		t.Errorf("busy %v of threads that were not asked before", busy)
	}
}
