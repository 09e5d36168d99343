package main

import (
	"fmt"
	"slices"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// target is something base should be, and what it is. A ratio is judged by its
// median; its bounds tell how sure that is.
type target struct {
	Part string     `json:"part"`
	What string     `json:"what"`
	Got  float64    `json:"got"`
	Rel  string     `json:"relation"` // that got should have to want: at most, at least
	Want float64    `json:"want"`
	Unit string     `json:"unit,omitempty"`
	Of   *rig.Ratio `json:"ratio,omitempty"` // that Got is
}

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

const (
	atMost  = "at most"
	atLeast = "at least"
)

func (t target) met() bool {
	if t.Rel == atMost {
		return t.Got <= t.Want
	}
	return t.Got >= t.Want
}

func (t target) String() string {
	verdict := "met"
	if !t.met() {
		verdict = "MISSED"
	}
	got := fmt.Sprintf("%.0f", t.Got)
	want := fmt.Sprintf("%.0f", t.Want)
	if t.Of != nil {
		got, want = t.Of.String(), fmt.Sprintf("%g", t.Want)
	}
	if t.Unit != "" {
		got, want = got+" "+t.Unit, want+" "+t.Unit
	}
	return fmt.Sprintf("%s: %s: %s is %s, wanted %s %s", verdict, t.Part, t.What, got, t.Rel, want)
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
func (r *report) targets() []target {
	var list []target
	ratio := func(part, what string, q *rig.Ratio, rel string, want float64) {
		if q != nil {
			list = append(list, target{part, what, q.Median, rel, want, "", q})
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
		list = append(list, target{p.name, "p99 of " + base, own.With.P99, atMost, own.Bound, "us", nil})
		if p.name == "one" {
			continue
		}
		for _, row := range p.Rows {
			ratio(p.name, "p99 "+base+"/"+row.Server, row.P99Ratio, atMost, 1/ahead(row.Server))
			if row.Server != fifo {
				ratio(p.name, "CPU time "+base+"/"+row.Server, row.CPURatio, atMost, thrift)
			}
		}
	}
	if r.SLO != nil {
		for _, own := range r.SLO.Rows {
			for _, other := range r.SLO.Rows {
				if own.Server == base && other.Server != base {
					list = append(list, target{"slo", "rate of " + base + " against " + other.Server, own.Rate, atLeast, ahead(other.Server) * max(lowest, other.Rate), "messages/s", nil})
				}
			}
		}
	}
	for _, h := range r.Handoff {
		for _, row := range h.Rows {
			if row.Server == "netchan" {
				ratio(fmt.Sprintf("handoff, GOMAXPROCS=%d", h.Procs), "messages per CPU second "+base+"/netchan", row.Ratio, atLeast, handoffFactor)
			}
		}
	}
	return list
}
