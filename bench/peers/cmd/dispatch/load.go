package main

import (
	"strconv"
	"time"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// The load of all parts but handoff.
const (
	conns   = 32
	workers = 4

	quick     = 10 * time.Microsecond // spun
	quickName = "10us"
	mixed     = "bimodal:" + quickName + ",2ms,1%" // the slow ones are slept
)

// workload says it in words, for reports.
const workload = "messages of 10 us spun, 1 % of them 2 ms slept instead, 4 workers, Poisson arrivals"

// load is the arguments of an open loop. Runs of a round have the same seed and
// so the same messages at the same times.
func load(conns int, rate float64, service string, seed int) []string {
	return []string{
		"-conns", strconv.Itoa(conns),
		"-rate", strconv.FormatFloat(rate, 'f', -1, 64),
		"-arrival", "poisson",
		"-service", service,
		"-seed", strconv.Itoa(seed),
	}
}

// figures are what a run says of quick messages.
type figures struct {
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p99_9_us"`
	CPU  float64 `json:"cpu_ns_per_message"` // of all messages, without what quick ones spin
}

func figuresOf(run *rig.Run) (figures, error) {
	c, err := run.Class(quickName)
	if err != nil {
		return figures{}, err
	}
	spun := float64(quick) * float64(c.Measured) / float64(run.Measured)
	return figures{c.Latency.P50, c.Latency.P99, c.Latency.P999, run.CPUNanos() - spun}, nil
}
