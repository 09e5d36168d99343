package bench

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestProfilesAsText(t *testing.T) {
	for _, text := range []string{"steady", "bursty:10ms,90ms", "ramp:1000", "ramp:0", "step:500,2s", "step:0,0"} {
		if p, err := ParseProfile(text); err != nil || p.String() != text {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "steady:1", "bursty:10ms", "bursty:0,1s", "ramp:-1", "ramp:NaN", "ramp:fast", "step:1", "step:1,-1s", "sine:1"} {
		if p, err := ParseProfile(text); err == nil {
			t.Errorf("%s: %v, want an error", text, p)
		}
	}
}

// profiled returns a workload of 10 s after 2 s at a rate of 1000.
func profiled(t *testing.T, profile string) *Workload {
	t.Helper()
	p, err := ParseProfile(profile)
	if err != nil {
		t.Fatal(err)
	}
	return &Workload{Conns: 4, Rate: 1000, Warmup: 2 * time.Second, Duration: 10 * time.Second, Profile: p, Seed: 1}
}

// How many messages each profile has due is what its rate sums up to.
func TestProfilesAreTheirRate(t *testing.T) {
	for _, c := range []struct {
		profile  string
		from, to float64 // seconds
		want     float64
	}{
		{"steady", 0, 12, 12_000},
		{"bursty:100ms,300ms", 0, 12, 12_000},
		{"bursty:100ms,300ms", 4, 4.1, 400},
		{"bursty:100ms,300ms", 4.1001, 4.3999, 0},
		{"bursty:100ms,300ms", 0, 0.05, 200},
		{"ramp:0", 0, 2, 0},
		{"ramp:0", 2, 12, 5000},
		{"ramp:0", 2, 7, 1250},
		{"ramp:200", 0, 2, 400},
		{"ramp:200", 2, 12, 6000},
		{"ramp:3000", 0, 2, 6000},
		{"ramp:3000", 2, 12, 20_000},
		{"ramp:3000", 11, 12, 1100},
		{"step:100,5s", 0, 7, 700},
		{"step:100,5s", 7, 12, 5000},
		{"step:0,0s", 0, 2, 0},
		{"step:4000,1s", 2, 4, 5000},
	} {
		for _, arrival := range []Arrival{Fixed, Poisson} {
			w := profiled(t, c.profile)
			w.Arrival = arrival
			got := 0.0
			for thread := range 2 {
				last := int64(0)
				for s := NewSchedule(w, thread, 2); s.At < int64(w.Warmup+w.Duration); s.Next() {
					if s.At < last {
						t.Fatalf("%s, %v: a message at %d after one at %d", c.profile, arrival, s.At, last)
					}
					last = s.At
					if at := float64(s.At) / 1e9; at >= c.from && at < c.to {
						got++
					}
				}
			}
			tolerance := 1.0
			if arrival == Poisson {
				tolerance = 4 * math.Sqrt(c.want)
			}
			if math.Abs(got-c.want) > tolerance {
				t.Errorf("%s, %v: %.0f messages from %v s to %v s, want %.0f", c.profile, arrival, got, c.from, c.to, c.want)
			}
			if e := w.expected(time.Duration(c.from*1e9), time.Duration(c.to*1e9)); math.Abs(e-c.want) > 1e-3*(c.want+1) {
				t.Errorf("%s: %v messages are expected from %v s to %v s, want %.0f", c.profile, e, c.from, c.to, c.want)
			}
		}
	}
}

func TestReplay(t *testing.T) {
	v, err := ReadReplay(file(t, "intended_ns,service_ns", "3000,1", "1000,1", "2000,1", "9000,1"))
	if err != nil || !slices.Equal(v.List, []int64{1000, 2000, 3000, 9000}) {
		t.Fatalf("%v, %v", v, err)
	}
	w := &Workload{Conns: 3, Replay: v, Duration: time.Second}
	if !w.Open() {
		t.Error("a schedule is an open loop")
	}
	var got []due
	for thread := range 2 {
		for s := NewSchedule(w, thread, 2); s.At < int64(w.Duration); s.Next() {
			got = append(got, due{s.At, thread + s.Conn*2})
		}
	}
	slices.SortFunc(got, func(a, b due) int { return int(a.at - b.at) })
	if want := []due{{1000, 0}, {2000, 1}, {3000, 2}, {9000, 0}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := w.expected(1500, 9000); n != 2 {
		t.Errorf("%v messages, want 2", n)
	}
	for _, lines := range [][]string{{"t", "-5"}, {"t", "1.5"}, {"t"}} {
		if v, err := ReadReplay(file(t, lines...)); err == nil {
			t.Errorf("%q: %v, want an error", lines, v)
		}
	}
}

// A batch is due at one time, on one connection, and the rate is that of messages.
func TestBatchedSchedule(t *testing.T) {
	w := &Workload{Conns: 2, Rate: 1000, Batch: 5}
	s := NewSchedule(w, 0, 1)
	for k := range int64(100) {
		if at, conn := k/5*5_000_000, int(k/5%2); s.At != at || s.Conn != conn {
			t.Fatalf("message %d is due at %d on %d, want %d, %d", k, s.At, s.Conn, at, conn)
		}
		s.Next()
	}
}
