package main

import (
	"fmt"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// target is what the ratio of one server to another, by a metric, should be. With than it is
// the quotient of two such ratios: how much more something costs one server than another.
type target struct {
	of, to       string
	than, thanTo string
	load         string // of this load only; all of the section if empty
	metric       string
	most, least  float64 // one of the two is wanted
	bound        bool    // of the bound of the median, not of the median
}

// of returns a metric of a server, by round.
func (res *result) of(server, metric string) rig.Rounds {
	r := make(rig.Rounds)
	for i := range res.Samples {
		if s := &res.Samples[i]; s.Server == server {
			r[s.Round] = metrics[metric].value(s)
		}
	}
	return r
}

// quotient divides a by b within each round that has both.
func quotient(a, b rig.Rounds) rig.Rounds {
	q := make(rig.Rounds)
	for round, v := range a {
		if w, ok := b[round]; ok && w > 0 {
			q[round] = v / w
		}
	}
	return q
}

// targets are those of the result's load; missing are those it lacks a server for.
func (res *result) targets(list []target) (found []rig.Target, missing []string) {
	for _, t := range list {
		if t.load != "" && t.load != res.Config.String() {
			continue
		}
		a, b, what := res.of(t.of, t.metric), res.of(t.to, t.metric), fmt.Sprintf("%s %s/%s", t.metric, t.of, t.to)
		if t.than != "" {
			a, b = quotient(a, b), quotient(res.of(t.than, t.metric), res.of(t.thanTo, t.metric))
			what += fmt.Sprintf(" (%.2f) to %s/%s (%.2f)", a.Median(), t.than, t.thanTo, b.Median())
		}
		q, ok := rig.Compare(t.of, t.metric, a, b)
		if !ok {
			missing = append(missing, fmt.Sprintf("%s: %s", res.Config, what))
			continue
		}
		rel, want, make := rig.AtMost, t.most, rig.Median
		if t.least > 0 {
			rel, want = rig.AtLeast, t.least
		}
		if t.bound {
			make = rig.Bound
		}
		found = append(found, make(res.Config.String(), what, &q, rel, want))
	}
	return found, missing
}
