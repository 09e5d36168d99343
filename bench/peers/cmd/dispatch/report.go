package main

import (
	"fmt"
	"strings"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// report is all that is known at the end; -json writes it as it is. A part that
// was not asked for is null.
type report struct {
	rig.Setup
	Workload string          `json:"workload"`
	Procs    int             `json:"gomaxprocs"` // of all parts but Handoff; 0: kcmProcs and peerProcs
	Rate     float64         `json:"rate"`
	LimitUs  float64         `json:"slo_us"`
	Tail     *tailResult     `json:"tail"`
	SLO      *sloResult      `json:"slo"`
	One      *tailResult     `json:"one"`
	Handoff  []handoffResult `json:"handoff"`
	Targets  []rig.Target    `json:"targets"`
	Missing  []string        `json:"not_measured,omitempty"`
	Skipped  []rig.Skip      `json:"skipped,omitempty"`
	Failures []rig.Failure   `json:"failures,omitempty"`
}

func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString(r.Setup.Markdown())
	fmt.Fprintf(&b, "Load: %s.\n", r.Workload)
	if r.Procs > 0 {
		fmt.Fprintf(&b, "Servers run with GOMAXPROCS=%d unless said otherwise.\n", r.Procs)
	} else {
		fmt.Fprintf(&b, "GOMAXPROCS is %d for kcm and %d for the others, the best for each, unless said otherwise.\n", kcmProcs, peerProcs)
	}
	for _, t := range []*tailResult{r.Tail, r.One} {
		if t == nil {
			continue
		}
		plural := "s"
		if t.Conns == 1 {
			plural = ""
		}
		fmt.Fprintf(&b, "\n### Tail: %g messages/s over %d connection%s\n\n%s", r.Rate, t.Conns, plural, t.markdown())
	}
	if r.SLO != nil {
		fmt.Fprintf(&b, "\n### Highest rate with a p99 of %g us\n\n%s", r.LimitUs, r.SLO.markdown(r.LimitUs))
	}
	for _, h := range r.Handoff {
		fmt.Fprintf(&b, "\n### Hand-off: 64 connections, 16 in flight on each, 64 B, %d workers, GOMAXPROCS=%d\n\n%s", handoffWorkers, h.Procs, h.markdown())
	}
	if len(r.Targets)+len(r.Missing) > 0 {
		b.WriteString("\n### Targets\n\n")
		for _, t := range r.Targets {
			fmt.Fprintf(&b, "- %s\n", t)
		}
		for _, m := range r.Missing {
			fmt.Fprintf(&b, "- NOT MEASURED: %s\n", m)
		}
	}
	b.WriteString(rig.Missing(r.Skipped, r.Failures))
	return b.String()
}
