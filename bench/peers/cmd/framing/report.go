package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kcm-go/kcm/bench/peers/framing"
	"github.com/kcm-go/kcm/bench/peers/internal/rig"
	"github.com/kcm-go/kcm/bench/peers/stats"
)

// aim is what kcm-batch may take of the time of the best of its peers.
const aim = 0.5

// markdown is the report.
func (m *measurement) markdown(o options) string {
	var b, targets strings.Builder
	fmt.Fprintf(&b, "Machine: %s.\n", rig.Machine())
	fmt.Fprintf(&b, "%d rounds, each way at least %v in a round; CPU time of the thread, one thread.\n", o.rounds, o.time)
	b.WriteString("\nWays:\n\n")
	for _, c := range framing.Contestants() {
		if slices.Contains(o.ways, c.Name) {
			fmt.Fprintf(&b, "- %s: %s\n", c.Name, c.Does)
		}
	}
	var ratios []rig.Ratio
	for _, size := range o.sizes {
		for _, set := range o.sets {
			t := m.table(size, set)
			if len(t.entries) == 0 {
				continue
			}
			text, r := t.markdown()
			fmt.Fprintf(&b, "\n### Messages of %d B, %s\n\n%s", size, set, text)
			targets.WriteString(t.target())
			ratios = append(ratios, r...)
		}
	}
	fmt.Fprintf(&b, "\n%s", rig.Brackets(ratios))
	if targets.Len() > 0 {
		fmt.Fprintf(&b, "\nAsked of kcm-batch: at most %.2f of the time of the best of its peers, and no allocation.\n\n%s", aim, targets.String())
	}
	return b.String()
}

// table is the entries of one size and set.
type table struct {
	size    int
	set     framing.Set
	entries []*entry
}

func (m *measurement) table(size int, set framing.Set) table {
	t := table{size: size, set: set}
	for _, e := range m.entries {
		if e.size == size && e.set == set {
			t.entries = append(t.entries, e)
		}
	}
	return t
}

// base is the first of ours, kcm-batch, nil if none was measured.
func (t table) base() *entry { return t.find(framing.Ours) }

func (t table) find(k framing.Kind) *entry {
	for _, e := range t.entries {
		if e.way.Kind == k {
			return e
		}
	}
	return nil
}

// markdown has a line for each way, and the ratios in it.
func (t table) markdown() (string, []rig.Ratio) {
	cells := [][]string{{"way", "ns/message", "beyond the read", "kcm-batch/way", "B/message", "allocs/1000 messages"}}
	base, read := t.base(), t.find(framing.ReadOnly)
	var ratios []rig.Ratio
	for _, e := range t.entries {
		line := []string{e.way.Name, fmt.Sprintf("%.2f", e.nanos.Median()), "-", "-",
			fmt.Sprintf("%.2f", e.bytes), fmt.Sprintf("%.2f", 1000*e.allocs)}
		if read != nil && e != read {
			line[2] = fmt.Sprintf("%.2f", beyond(e, read))
		}
		if base != nil && e != base && e != read {
			if r, ok := rig.Compare(base.way.Name, "cpu", base.nanos, e.nanos); ok {
				line[3] = r.String()
				ratios = append(ratios, r)
			}
		}
		cells = append(cells, line)
	}
	return rig.Table(cells), ratios
}

// beyond is the median of the differences within rounds.
func beyond(e, read *entry) float64 {
	var d []float64
	for round, v := range e.nanos {
		if r, ok := read.nanos[round]; ok {
			d = append(d, v-r)
		}
	}
	return stats.Median(d)
}

// target says whether kcm-batch does what is asked of it; nothing without peers.
func (t table) target() string {
	base := t.base()
	var best *entry
	for _, e := range t.entries {
		if e.way.Kind == framing.Peer && (best == nil || e.nanos.Median() < best.nanos.Median()) {
			best = e
		}
	}
	if base == nil || best == nil {
		return ""
	}
	r, ok := rig.Compare(base.way.Name, "cpu", base.nanos, best.nanos)
	if !ok {
		return ""
	}
	return fmt.Sprintf("- %d B, %s: %s of %s: %s; %.2f allocations per 1000 messages: %s\n", t.size, t.set,
		r, best.way.Name, verdict(r.Median <= aim), 1000*base.allocs, verdict(base.allocs == 0))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "MISSED"
}
