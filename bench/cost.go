package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kcm-go/kcm/ring"
)

// cost is what loops have used so far.
type cost struct {
	cpu      time.Duration // of the loops' threads; what other threads do for them is not in it
	turns    uint64
	syscalls uint64
	sleeps   uint64
	each     []threadTime // the loops', in their order
	at       time.Time    // when they were asked
}

// threadTime is what a thread has had of its processor, and wanted.
type threadTime struct {
	cpu  time.Duration // it ran
	wait time.Duration // it could have run, and others did
}

// costOf asks the loops. One that has ended has no CPU time to tell.
func costOf(loops []*ring.Loop) cost {
	sum := cost{at: time.Now()}
	for _, l := range loops {
		var t threadTime
		_ = l.Do(func() { t = threadTime{threadCPU(), threadWait()} })
		st := l.Stats()
		sum.cpu += t.cpu
		sum.each = append(sum.each, t)
		sum.turns += st.Turns
		sum.syscalls += st.Syscalls
		sum.sleeps += st.Sleeps
	}
	return sum
}

// uringName is the Backend of loops that run on io_uring.
const uringName = "io_uring"

// Placement says where loops run.
type Placement struct {
	Backend string   `json:"backend"` // in force
	Loops   int      `json:"loops"`
	CPUs    []int    `json:"cpus"`            // each loop's, -1 where it is not pinned
	Notes   []string `json:"notes,omitempty"` // what the back end has to do without, and why
}

// place describes loops of one Mux; a note of several is there once.
func place(loops []*ring.Loop) Placement {
	p := Placement{Backend: loops[0].Backend(), Loops: len(loops)}
	for _, l := range loops {
		cpu := -1
		if o := l.Options(); o.Pin {
			cpu = o.CPU
		}
		p.CPUs = append(p.CPUs, cpu)
		for _, n := range l.Notes() {
			if !slices.Contains(p.Notes, n) {
				p.Notes = append(p.Notes, n)
			}
		}
	}
	return p
}

// String is one line, without the notes.
func (p Placement) String() string {
	cpus := make([]string, len(p.CPUs))
	pinned := false
	for i, c := range p.CPUs {
		cpus[i] = "any"
		if c >= 0 {
			cpus[i], pinned = strconv.Itoa(c), true
		}
	}
	s := fmt.Sprintf("%s, loops %d", p.Backend, p.Loops)
	if !pinned {
		return s + ", not pinned"
	}
	return s + ", pinned to CPU " + strings.Join(cpus, ",")
}

// LoopReport says where loops ran and what a message cost them, from shortly before
// the measured time to its end.
type LoopReport struct {
	Placement
	CPUNanosPerMessage float64 `json:"cpu_ns_per_message"`
	SyscallsPerMessage float64 `json:"syscalls_per_message"`
	TurnsPerMessage    float64 `json:"turns_per_message"`
	SleepsPerMessage   float64 `json:"sleeps_per_message"`
	// Busy is the share of the time that the busiest thread ran, Waiting the share that it
	// could have run and others did.
	Busy    float64 `json:"busy"`
	Waiting float64 `json:"waiting"`
}

// demand is the share of the time that the busiest thread ran or wanted to.
func (l *LoopReport) demand() float64 { return l.Busy + l.Waiting }

// busiest returns the shares of the thread that ran or wanted to for longest.
func busiest(before, after cost) (busy, waiting float64) {
	wall := after.at.Sub(before.at)
	if wall < settle { // a run that was ended at once
		return 0, 0
	}
	for i := range min(len(before.each), len(after.each)) {
		cpu := max(after.each[i].cpu-before.each[i].cpu, 0)
		wait := max(after.each[i].wait-before.each[i].wait, 0)
		if b, w := float64(cpu)/float64(wall), float64(wait)/float64(wall); b+w > busy+waiting {
			busy, waiting = b, w
		}
	}
	return busy, waiting
}

func loopReport(loops []*ring.Loop, before, after cost, messages int64) LoopReport {
	n := float64(max(messages, 1))
	busy, waiting := busiest(before, after)
	return LoopReport{
		Busy: busy, Waiting: waiting,
		Placement:          place(loops),
		CPUNanosPerMessage: float64(max(after.cpu-before.cpu, 0)) / n,
		SyscallsPerMessage: float64(after.syscalls-before.syscalls) / n,
		TurnsPerMessage:    float64(after.turns-before.turns) / n,
		SleepsPerMessage:   float64(after.sleeps-before.sleeps) / n,
	}
}

func (l *LoopReport) usage() string {
	return fmt.Sprintf("%.0f ns CPU of its loops, %.3f system calls, %.3f turns, %.3f sleeps per message; busiest %.0f%% busy, %.0f%% waiting for a processor",
		l.CPUNanosPerMessage, l.SyscallsPerMessage, l.TurnsPerMessage, l.SleepsPerMessage, 100*l.Busy, 100*l.Waiting)
}
