package affinity

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// EnvVar is the environment variable by which the user of a program turns
// pinning off: KCM_AFFINITY=off. Other values mean nothing.
const EnvVar = "KCM_AFFINITY"

// OffByEnv reports whether the environment says KCM_AFFINITY=off. Planning does
// not look by itself; a program that honours the variable sets Request.Off.
func OffByEnv() bool { return os.Getenv(EnvVar) == "off" }

// Request asks for a plan.
type Request struct {
	// Loops is the number of slots wanted. Zero or less gives an empty plan;
	// see DefaultLoops for a good number.
	Loops int

	// Off plans slots without CPUs, so that the scheduler places the loops.
	Off bool
}

// Plan assigns loops to CPUs.
type Plan struct {
	Slots []Slot   `json:"slots"`           // one per loop asked for
	Notes []string `json:"notes,omitempty"` // sentences for the reader, such as a quota that will throttle
}

// Slot is the place of one loop.
type Slot struct {
	CPU    int  `json:"cpu"`    // for Pin; NoCPU: not to be pinned
	Core   int  `json:"core"`   // Core.ID, or NoCPU
	Node   int  `json:"node"`   // NUMA node for the loop's memory, or NoCPU
	Kind   Kind `json:"kind"`   // of the core
	Thread int  `json:"thread"` // 0 for the first allowed thread of its core, 1 for its sibling, ...
	Round  int  `json:"round"`  // 0 if the CPU is the slot's own; n if n slots before it have the same CPU
}

// DefaultLoops returns how many loops to run for a value of GOMAXPROCS: at most
// one per physical core; at most as many as the quota can keep busy; and one
// less than gomaxprocs if that is above 1, because a spinning loop occupies a P
// and the collector and the program's own goroutines need one too. It is never
// below 1.
func (t *Topology) DefaultLoops(gomaxprocs int) int {
	loops := min(t.Physical, gomaxprocs-1)
	if t.Quota > 0 {
		loops = min(loops, int(math.Ceil(t.Quota)))
	}
	return max(1, loops)
}

// Plan places the loops asked for. It is deterministic and changes nothing.
//
// CPUs are used up in this order:
//
//  1. the first allowed thread of every core, then the second of every core that
//     has one, and so on: a loop shares a core only when all cores have a loop;
//  2. within that, performance cores before efficiency cores;
//  3. within that, socket by socket, the one with most allowed cores first, and in
//     it NUMA node by NUMA node, likewise; so loops stay near each other for as
//     long as a node has room;
//  4. within that, the faster core (cpu_capacity), then the lower number.
//
// More loops than CPUs start again from the front, with Round counting up.
func (t *Topology) Plan(req Request) Plan {
	loops := max(0, req.Loops)
	plan := Plan{Slots: make([]Slot, loops)}
	order := t.order()
	switch {
	case req.Off:
		plan.note("affinity is off: the scheduler places the loops")
	case len(order) == 0:
		plan.note("no CPU is known: the scheduler places the loops")
	}
	for i := range plan.Slots {
		if req.Off || len(order) == 0 {
			plan.Slots[i] = Slot{CPU: NoCPU, Core: NoCPU, Node: NoCPU}
			continue
		}
		plan.Slots[i] = order[i%len(order)]
		plan.Slots[i].Round = i / len(order)
	}
	plan.noteSharing(len(order))
	t.noteQuota(&plan)
	return plan
}

// order lists the allowed CPUs as slots, best first.
func (t *Topology) order() []Slot {
	type place struct{ socket, node int }
	inSocket, inNode := map[int]int{}, map[place]int{}
	for _, c := range t.Cores {
		inSocket[c.Socket]++
		inNode[place{c.Socket, c.Node}]++
	}
	cores := slices.Clone(t.Cores)
	slices.SortFunc(cores, func(a, b Core) int {
		return cmp.Or(
			cmp.Compare(a.Kind, b.Kind), // Performance < Efficiency; Uniform stands alone
			cmp.Compare(inSocket[b.Socket], inSocket[a.Socket]),
			cmp.Compare(a.Socket, b.Socket),
			cmp.Compare(inNode[place{b.Socket, b.Node}], inNode[place{a.Socket, a.Node}]),
			cmp.Compare(a.Node, b.Node),
			cmp.Compare(b.Capacity, a.Capacity),
			cmp.Compare(a.ID, b.ID),
		)
	})
	var order []Slot
	for thread, more := 0, true; more; thread++ {
		more = false
		for _, c := range cores {
			if thread < len(c.CPUs) {
				order = append(order, Slot{CPU: c.CPUs[thread], Core: c.ID, Node: c.Node, Kind: c.Kind, Thread: thread})
				more = true
			}
		}
	}
	return order
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

// noteSharing says what the slots share that they had better not.
func (p *Plan) noteSharing(cpus int) {
	if i := p.first(func(s Slot) bool { return s.Kind == Efficiency }); i >= 0 {
		p.note("slot %d is the first on an efficiency core", i)
	}
	if i := p.first(func(s Slot) bool { return s.Thread > 0 }); i >= 0 {
		p.note("slot %d is the first to share a core with an earlier slot", i)
	}
	if i := p.first(func(s Slot) bool { return s.Round > 0 }); i >= 0 {
		p.note("%d loops on %d CPUs: from slot %d on, slots share the CPU of an earlier one", len(p.Slots), cpus, i)
	}
	nodes := distinct(p.Slots, func(s Slot) int { return s.Node })
	if len(nodes) > 1 {
		p.note("the slots span NUMA nodes %s", NewCPUSet(nodes...))
	}
}

func (p *Plan) first(match func(Slot) bool) int { return slices.IndexFunc(p.Slots, match) }

// noteQuota warns of a quota below the CPU count: the kernel stops the whole
// process for the rest of a period, typically 100 ms, once the quota is used up.
// Pinned or not makes no difference to that.
func (t *Topology) noteQuota(plan *Plan) {
	if t.Quota <= 0 || t.Quota >= float64(t.Allowed.Count()) {
		return
	}
	plan.note("the cgroup quota of %.2f CPUs is below the %d allowed CPUs", t.Quota, t.Allowed.Count())
	if loops := len(plan.Slots); float64(loops) > t.Quota {
		plan.note("the quota throttles the process when all %d loops are busy", loops)
	}
}

// String describes the plan in lines of text, one per slot and note.
func (p Plan) String() string {
	var b strings.Builder
	for i, s := range p.Slots {
		if s.CPU == NoCPU {
			fmt.Fprintf(&b, "slot %-3d  not pinned\n", i)
			continue
		}
		fmt.Fprintf(&b, "slot %-3d  CPU %d, core %d, node %d, %s", i, s.CPU, s.Core, s.Node, s.Kind)
		if s.Round > 0 {
			fmt.Fprintf(&b, ", round %d", s.Round)
		}
		b.WriteByte('\n')
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "note      %s\n", note)
	}
	return b.String()
}
