package mux

import (
	"sync"
	"time"

	"github.com/kcm-go/kcm/ring"
)

// Sample is what a Mux and its loops had counted at some time.
type Sample struct {
	Stats Stats
	Loops []LoopSample
}

// LoopSample is one loop of a Sample.
type LoopSample struct {
	Name    string
	Backend string   // io_uring, epoll or sim
	Notes   []string // what it has to do without, and why
	Stats   ring.LoopStats
}

// Sampler takes samples of a Mux for somebody who is not to wait for it, whatever
// happens: a monitor has to get an answer when a loop is stuck in a handler, then above all.
//
// Make one with [NewSampler]. Its methods are safe for concurrent use. At most one
// goroutine of it waits for the loops, however many callers there are.
type Sampler struct {
	m *Mux

	mu      sync.Mutex
	last    Sample
	pending chan struct{} // closed when the sample that is being taken is in last; or nil
}

// NewSampler returns one for m, which it keeps from being collected.
func NewSampler(m *Mux) *Sampler { return &Sampler{m: m} }

// Sample returns a sample. fresh: it was taken now. If the loops have not answered
// within wait it is the last one there was, at first an empty one.
func (s *Sampler) Sample(wait time.Duration) (x Sample, fresh bool) {
	if s.m.onThread() { // who waits here is who would have to answer
		return s.m.sample(), true
	}
	s.mu.Lock()
	done := s.pending
	if done == nil {
		done = make(chan struct{})
		s.pending = done
		go s.take(done)
	}
	s.mu.Unlock()
	limit := time.NewTimer(wait)
	defer limit.Stop()
	select {
	case <-done:
		fresh = true
	case <-limit.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, fresh
}

func (s *Sampler) take(done chan struct{}) {
	x := s.m.sample()
	s.mu.Lock()
	s.last, s.pending = x, nil
	s.mu.Unlock()
	close(done)
}

// sample asks the loops, and waits for them.
func (m *Mux) sample() Sample {
	x := Sample{Stats: m.Stats()}
	for _, l := range m.loops {
		x.Loops = append(x.Loops, LoopSample{Name: l.Options().Name, Backend: l.Backend(), Notes: l.Notes(), Stats: l.Stats()})
	}
	return x
}
