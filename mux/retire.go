package mux

import (
	"context"
	"fmt"
)

// Retire stops accepting and waits until the last connection that came from Serve has
// ended, or been given away, or ctx ends, whose error it returns then. It ends none: those
// that are there, and those that were accepted until now, are served as before until their
// peers have finished; so are connections of other origin, which it does not wait for. Serve
// returns ErrClosed when the last connection has come from its listener. It is for a process
// whose listeners another one serves (HandOver); what follows is Shutdown, for what is
// left. On a loop's thread it returns EDEADLK and does nothing.
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
	return m.guests.awaitNone(ctx)
}
