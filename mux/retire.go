package mux

import (
	"context"
	"fmt"
)

// Retire stops accepting and waits until the last connection has ended, or ctx ends, whose
// error it returns then. It ends none: those that are there, and those that were accepted
// until now, are served as before until their peers have finished, and Serve returns
// ErrClosed when the last has come from its listener. It is for a process whose listeners
// another one serves (HandOver); what follows is Shutdown, for those that stay. On a loop's
// thread it returns EDEADLK and does nothing.
func (m *Mux) Retire(ctx context.Context) error {
	if m.onThread() {
		return fmt.Errorf("retire: %w", ErrDeadlock)
	}
	var servers []*server
	m.mu.Lock()
	for s := range m.servers {
		s.retired = true
		s.close()
		servers = append(servers, s)
	}
	m.mu.Unlock()
	for _, s := range servers {
		select {
		case <-s.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, l := range m.loops {
		_ = l.Do(func() {}) // what was accepted last is on its way to its loop; a closed one has none
	}
	return m.awaitIdle(ctx)
}
