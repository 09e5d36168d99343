package main

import (
	"fmt"
	"slices"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

const (
	thrift        = 0.6 // of any other server's CPU time beyond the work, per message
	handoffFactor = 5   // times the messages of a plain channel per CPU second
)

// ahead is how many times better than a server base is to be, in p99 and in the rate
// it holds: those that bind messages to a worker whether it is free or not are the
// ones it was built to beat.
func ahead(server string) float64 {
	if server == fifo || server == "netshard" {
		return 8
	}
	return 1
}

// missing lists the servers that were asked for and gave nothing, by part.
func (r *report) missing(asked []string) (list []string) {
	for _, p := range []struct {
		name string
		ran  bool
		has  func(server string) bool
	}{
		{"tail", r.Tail != nil, func(s string) bool { return r.Tail.row(s) != nil }},
		{"slo", r.SLO != nil, func(s string) bool {
			return slices.ContainsFunc(r.SLO.Rows, func(row sloRow) bool { return row.Server == s })
		}},
		{"one", r.One != nil, func(s string) bool { return r.One.row(s) != nil }},
	} {
		for _, s := range asked {
			if p.ran && !p.has(s) {
				list = append(list, p.name+": "+s)
			}
		}
	}
	return list
}

// targets are those of the parts that base took part in.
func (r *report) targets() []rig.Target {
	var list []rig.Target
	ratio := func(part, what string, q *rig.Ratio, rel rig.Relation, want float64) {
		if q != nil {
			list = append(list, rig.Median(part, what, q, rel, want))
		}
	}
	for _, p := range []struct {
		name string
		*tailResult
	}{{"tail", r.Tail}, {"one", r.One}} {
		if p.tailResult == nil || p.row(base) == nil {
			continue
		}
		own := p.row(base)
		list = append(list, rig.Target{Part: p.name, What: "p99 of " + base, Got: own.With.P99, Rel: rig.AtMost, Want: own.Bound, Unit: "us"})
		if p.name == "one" {
			continue
		}
		for _, row := range p.Rows {
			ratio(p.name, "p99 "+base+"/"+row.Server, row.P99Ratio, rig.AtMost, 1/ahead(row.Server))
			if row.Server != fifo {
				ratio(p.name, "CPU time "+base+"/"+row.Server, row.CPURatio, rig.AtMost, thrift)
			}
		}
	}
	if r.SLO != nil {
		for _, own := range r.SLO.Rows {
			for _, other := range r.SLO.Rows {
				if own.Server == base && other.Server != base {
					list = append(list, rig.Target{Part: "slo", What: "rate of " + base + " against " + other.Server, Got: own.Rate, Rel: rig.AtLeast, Want: ahead(other.Server) * max(lowest, other.Rate), Unit: "messages/s"})
				}
			}
		}
	}
	for _, h := range r.Handoff {
		for _, row := range h.Rows {
			if row.Server == "netchan" {
				ratio(fmt.Sprintf("handoff, GOMAXPROCS=%d", h.Procs), "messages per CPU second "+base+"/netchan", row.Ratio, rig.AtLeast, handoffFactor)
			}
		}
	}
	return list
}
