package ringtest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// ErrIdle is returned by Run when nothing will ever happen again and the
// condition does not hold: a deadlock of the program under test.
var ErrIdle = errors.New("run: idle before the condition held")

// ErrStuck is returned by Run when things happen without end and the condition
// never holds: a million steps, or ten thousand in which time stood still
// because the program under test spins.
var ErrStuck = errors.New("run: no end of steps")

const (
	maxSteps      = 1_000_000
	maxStepsAtOne = 10_000 // moment
)

// Step runs every turn once, in an order chosen by the seed. A turn is one turn
// of a loop (its Wait returns at once), or anything the test does in between,
// such as moving a Peer. When nothing came of it and no loop has anything due,
// Step moves the time on to the next thing that happens. It returns false if
// there is no such thing: the simulation is idle.
//
// A turn has done nothing if it added nothing to the trace and its loop would
// sleep. A turn that works without leaving a trace, on things outside the
// simulation, must not count on being run again before time moves.
func (s *Sim) Step(turns ...func()) bool {
	s.steps++
	s.order = s.order[:0]
	for i := range turns {
		s.order = append(s.order, i)
	}
	s.rng.Shuffle(len(turns), func(i, j int) { s.order[i], s.order[j] = s.order[j], s.order[i] })
	before := s.seq
	s.stepping = true
	skipped := false // what a turn left out would have done is not known
	for _, i := range s.order {
		if s.hit(SkipTurn) {
			skipped = true
			continue
		}
		turns[i]()
	}
	s.stepping = false
	if s.seq != before || skipped {
		return true
	}
	for _, l := range s.loops {
		if !l.closed && l.waited == s.steps && (!l.asleep || l.ready()) {
			return true
		}
	}
	t := s.next()
	if t == never {
		s.idle = true
		return false
	}
	s.advance(t + s.lag())
	return true
}

// Run steps until done holds. The error is ErrIdle or ErrStuck, with the seed.
func (s *Sim) Run(done func() bool, turns ...func()) error {
	at, since := s.now, 0
	for range maxSteps {
		if done() {
			return nil
		}
		if since++; at != s.now {
			at, since = s.now, 0
		}
		if since > maxStepsAtOne {
			break
		}
		if !s.Step(turns...) && !done() {
			return fmt.Errorf("%w (seed %d)", ErrIdle, s.seed)
		}
	}
	return fmt.Errorf("%w (seed %d)", ErrStuck, s.seed)
}

// SeedEnv is the environment variable with the one seed that Seeds shall run.
const SeedEnv = "KCM_SIM_SEED"

// Seeds calls f with a new simulation for each of n seeds, 0 to n-1, until one
// fails, and then logs its seed and the end of its trace. With SeedEnv set it
// runs that seed alone.
func Seeds(t *testing.T, n int, o Options, f func(t *testing.T, s *Sim)) {
	t.Helper()
	first := uint64(0)
	if v := os.Getenv(SeedEnv); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", SeedEnv, err)
		}
		first, n = seed, 1
	}
	for i := range uint64(n) {
		s := New(first+i, o)
		func() {
			defer func() {
				if t.Failed() {
					t.Logf("run again with %s=%d; %s", SeedEnv, s.seed, s.Dump())
				}
			}()
			f(t, s)
		}()
		if t.Failed() {
			return
		}
	}
}
