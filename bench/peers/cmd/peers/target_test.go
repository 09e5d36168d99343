package main

import (
	"slices"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

func TestTargets(t *testing.T) {
	res := result{Config: config{Conns: 64, Depth: 1, Size: 64}}
	for server, cpu := range map[string][]float64{"a": {1, 2, 3}, "b": {2, 2, 2}, "c": {10, 10, 10}, "d": {5, 5, 5}} {
		for round, v := range cpu {
			res.Samples = append(res.Samples, sample{Server: server, Round: round, CPUNanos: v, Latency: rig.Quantiles{P50: 2 * v}})
		}
	}
	got, missing := res.targets([]target{
		{of: "a", to: "b", metric: "cpu", most: 1},
		{of: "a", to: "b", metric: "cpu", most: 1, bound: true},
		{of: "a", to: "b", metric: "p50", least: 1, bound: true},
		{of: "a", to: "b", load: "64x16x64", metric: "cpu", most: 1},
		{of: "a", to: "nobody", metric: "cpu", most: 1},
		{of: "a", to: "b", than: "c", thanTo: "d", metric: "cpu", most: 0.6},
	})
	var lines []string
	for _, g := range got {
		lines = append(lines, g.String())
	}
	want := []string{
		"met: 64x1x64: cpu a/b is 1.000 [0.500, 1.500], wanted at most 1",
		"MISSED: 64x1x64: cpu a/b is 1.000 [0.500, 1.500], wanted at most 1 with its bounds",
		"MISSED: 64x1x64: p50 a/b is 1.000 [0.500, 1.500], wanted at least 1 with its bounds",
		"met: 64x1x64: cpu a/b (1.00) to c/d (2.00) is 0.500 [0.250, 0.750], wanted at most 0.6",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got\n%q\nwant\n%q", lines, want)
	}
	if want := []string{"64x1x64: cpu a/nobody"}; !slices.Equal(missing, want) {
		t.Errorf("missing %q, want %q", missing, want)
	}
}

// Every target is of servers, loads and metrics that its section has.
func TestSections(t *testing.T) {
	for _, s := range sections() {
		if err := choose(s.servers); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		for _, base := range s.bases {
			if !slices.Contains(s.servers, base) {
				t.Errorf("%s: base %s is not compared", s.name, base)
			}
		}
		for _, g := range s.targets {
			for _, server := range []string{g.of, g.to, g.than, g.thanTo} {
				if server != "" && !slices.Contains(s.servers, server) {
					t.Errorf("%s: target of %s, which is not compared", s.name, server)
				}
			}
			if metrics[g.metric].value == nil || (g.most > 0) == (g.least > 0) || (g.than == "") != (g.thanTo == "") {
				t.Errorf("%s: target %+v", s.name, g)
			}
			if g.load != "" && !slices.ContainsFunc(s.loads, func(c config) bool { return c.String() == g.load }) {
				t.Errorf("%s: no load %s", s.name, g.load)
			}
		}
	}
	if got := chosen("lone,idle"); len(got) != 2 || got[0].name != "lone" || got[1].name != "idle" {
		t.Errorf("lone and idle are %+v", got)
	}
}
