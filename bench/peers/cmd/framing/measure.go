package main

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/kcm-go/kcm/bench/peers/framing"
	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// warmChunks are cut before the clock starts, so that a run finds its memory in the
// caches and not that of the run before. allocChunks are cut to count allocations.
const (
	warmChunks  = 8
	allocChunks = 256
	allocCounts = 5
)

// entry is one contestant with one size of messages in one set.
type entry struct {
	way    framing.Contestant
	size   int
	set    framing.Set
	trial  *framing.Trial
	chunks int // of a run

	nanos         rig.Rounds // per message
	allocs, bytes float64    // per message
}

// measurement is all of them, those of one table next to each other.
type measurement struct{ entries []*entry }

func openAll(o options) (*measurement, error) {
	m := &measurement{}
	for _, size := range o.sizes {
		for _, set := range o.sets {
			for _, c := range framing.Contestants() {
				if !c.Runs(set) || !slices.Contains(o.ways, c.Name) {
					continue
				}
				t, err := framing.Open(c, size, set)
				if err != nil {
					return nil, errors.Join(err, m.close())
				}
				m.entries = append(m.entries, &entry{way: c, size: size, set: set, trial: t, nanos: rig.Rounds{}})
			}
		}
	}
	return m, nil
}

// measure runs every entry once in each round, each for the time d to 2d, and checks
// what was delivered.
func (m *measurement) measure(ctx context.Context, rounds int, d time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, e := range m.entries {
		if err := errors.Join(e.countAllocs(), e.calibrate(d)); err != nil {
			return err
		}
	}
	for round := range rounds {
		for i := range m.entries {
			if err := ctx.Err(); err != nil {
				return err
			}
			e := m.entries[(i+round)%len(m.entries)]
			nanos, err := e.once(e.chunks)
			if err != nil {
				return err
			}
			e.nanos[round] = nanos
		}
	}
	for _, e := range m.entries {
		if err := e.trial.Check(); err != nil {
			return err
		}
	}
	return nil
}

// once cuts so many chunks and returns the time on CPU per message.
func (e *entry) once(chunks int) (nanos float64, err error) {
	if err := e.trial.Run(warmChunks); err != nil {
		return 0, err
	}
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	if err := e.trial.Run(chunks); err != nil {
		return 0, err
	}
	after, err := cpuTime()
	return float64(after-before) / float64(chunks*e.trial.PerChunk), err
}

// calibrate finds how many chunks take at least the time d.
func (e *entry) calibrate(d time.Duration) error {
	for e.chunks = 1; ; e.chunks *= 2 {
		nanos, err := e.once(e.chunks)
		if err != nil || nanos*float64(e.chunks*e.trial.PerChunk) >= float64(d) {
			return err
		}
	}
}

// countAllocs takes the least of some counts, for the runtime and the idle loops of
// engines allocate now and then.
func (e *entry) countAllocs() error {
	messages := float64(allocChunks * e.trial.PerChunk)
	e.allocs, e.bytes = math.Inf(1), math.Inf(1)
	for range allocCounts {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := e.trial.Run(allocChunks); err != nil {
			return err
		}
		runtime.ReadMemStats(&after)
		e.allocs = min(e.allocs, float64(after.Mallocs-before.Mallocs)/messages)
		e.bytes = min(e.bytes, float64(after.TotalAlloc-before.TotalAlloc)/messages)
	}
	return nil
}

func (m *measurement) close() error {
	var errs []error
	for _, e := range m.entries {
		errs = append(errs, e.trial.Close())
	}
	return errors.Join(errs...)
}
