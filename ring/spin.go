package ring

import "time"

// spinner adapts the time a loop looks for work before it sleeps. A spin that
// found work earns budget, one that did not loses some; a loop whose spinning
// never pays soon does next to none, and tries the whole budget again now and
// then in case the load has changed.
type spinner struct {
	limit, budget time.Duration
	misses        int
}

const spinRetry = 1024 // misses between two full tries

func (s *spinner) hit() {
	s.misses = 0
	s.budget = min(s.budget*2+time.Microsecond, s.limit)
}

func (s *spinner) miss() {
	s.misses++
	if s.misses%spinRetry == 0 {
		s.budget = s.limit
		return
	}
	s.budget = max(s.budget/2, min(time.Microsecond, s.limit))
}
