package main

import (
	"math"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

func TestTargets(t *testing.T) {
	worse := &rig.Ratio{Base: base, Median: 1.2, Lo: 1.1, Hi: 1.3}
	better := &rig.Ratio{Base: base, Median: 0.5, Lo: 0.4, Hi: 0.6}
	r := report{
		Tail: &tailResult{Conns: 32, Rows: []tailRow{
			{Server: base, With: figures{P99: 100}, Bound: 150},
			{Server: "netpool", P99Ratio: better, CPURatio: worse},
			{Server: fifo, P99Ratio: better, CPURatio: worse},
		}},
		One: &tailResult{Conns: 1, Rows: []tailRow{{Server: base, With: figures{P99: 200}, Bound: 150}}},
		SLO: &sloResult{Rows: []sloRow{{Server: base, Rate: 2000}, {Server: "netgo", Rate: 3000}, {Server: "netshard"}}},
		Handoff: []handoffResult{{Procs: 2, Rows: []handoffRow{
			{Server: base}, {Server: "kcm-inline", Ratio: better}, {Server: "netchan", Ratio: worse},
		}}},
	}
	want := []string{
		"met: tail: p99 of kcm-idle is 100 us, wanted at most 150 us",
		"met: tail: p99 kcm-idle/netpool is 0.500 [0.400, 0.600], wanted at most 1",
		"MISSED: tail: CPU time kcm-idle/netpool is 1.200 [1.100, 1.300], wanted at most 0.6",
		"MISSED: tail: p99 kcm-idle/kcm-fifo is 0.500 [0.400, 0.600], wanted at most 0.125",
		"MISSED: one: p99 of kcm-idle is 200 us, wanted at most 150 us",
		"MISSED: slo: rate of kcm-idle against netgo is 2000 messages/s, wanted at least 3000 messages/s",
		"MISSED: slo: rate of kcm-idle against netshard is 2000 messages/s, wanted at least 4000 messages/s",
		"MISSED: handoff, GOMAXPROCS=2: messages per CPU second kcm-idle/netchan is 1.200 [1.100, 1.300], wanted at least 5",
	}
	got := r.targets()
	for i, target := range got {
		if i >= len(want) || target.String() != want[i] {
			t.Errorf("target %d: %s", i, target)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d targets, want %d", len(got), len(want))
	}
}

// What quick messages spin is taken off the CPU time, what slow ones sleep is
// not in it.
func TestFigures(t *testing.T) {
	run := &rig.Run{CPU: 3_000_000, Result: rig.Result{
		Measured: 150, Total: 200,
		Classes: []rig.Class{
			{Name: "2ms", Measured: 50},
			{Name: quickName, Measured: 100, Latency: rig.Quantiles{P50: 1, P99: 2, P999: 3}},
		},
	}}
	got, err := figuresOf(run)
	if err != nil {
		t.Fatal(err)
	}
	// 15 us a message, and two of three spin 10 us.
	if want := (figures{1, 2, 3, 15000 - 10000*2.0/3}); got.P50 != 1 || got.P99 != 2 || got.P999 != 3 || math.Abs(got.CPU-want.CPU) > 1 {
		t.Errorf("%+v, want %+v", got, want)
	}
	run.Classes = run.Classes[:1]
	if _, err := figuresOf(run); err == nil {
		t.Error("figures of quick messages, of which there are none")
	}
}
