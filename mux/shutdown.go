package mux

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Shutdown ends the Mux in an orderly way: it stops accepting and dialling, waits until the
// calls of its Client have ended, delivers no more messages, waits until those with the
// workers have been handled, sends what is queued (what sockets have queued while no
// connection can take it is discarded), closes every connection, and then does what Close
// does. Workers may reply and send on sockets until they are done. When ctx ends first the
// rest is closed at once and ctx.Err is returned. On a loop's thread it returns EDEADLK and
// does nothing.
func (m *Mux) Shutdown(ctx context.Context) error {
	if m.onThread() {
		return fmt.Errorf("shutdown: %w", ErrDeadlock)
	}
	m.stopServing(shuttingDown)
	err := m.finish(ctx)
	m.each(func(p *Psock) { p.leave(nil, true) })
	if err == nil {
		err = m.awaitIdle(ctx)
	}
	if e := m.Close(); err == nil {
		err = e
	}
	return err
}

// finish is what Shutdown does before connections are closed.
func (m *Mux) finish(ctx context.Context) error {
	if cl := m.client.Load(); cl != nil {
		cl.stop()
		if err := m.tx.drain(ctx, cl.sockets...); err != nil {
			return err
		}
		cl.abandonQueued() // no connection takes them
		if err := cl.drain(ctx); err != nil {
			return err
		}
	}
	if err := m.finishWork(ctx); err != nil {
		return err
	}
	return m.tx.drain(ctx)
}

// workPoll is how often finishWork looks.
const workPoll = time.Millisecond

// finishWork lets connections deliver nothing more, and waits until the workers have handled
// what they were passed. Connections that sockets do not send on end with their own work.
func (m *Mux) finishWork(ctx context.Context) error {
	tick := time.NewTicker(workPoll)
	defer tick.Stop()
	for {
		owed := int64(0)
		for _, sh := range m.shards {
			sh.ask(func() {
				for _, p := range sh.psocks {
					switch {
					case p.leaving:
					case p.sending == nil:
						p.leave(nil, true)
					default: // workers may send on it
						p.parser.Stop()
					}
					owed += p.flow.owed.Load()
				}
			})
		}
		if owed == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Close ends the Mux at once: every connection is closed, what is queued goes to
// OnLost, and the Mux's own loops are stopped. Messages that wait for a reader are
// dropped; readers get ErrClosed. When it returns no callback runs on a loop any
// more; a Work function that is running ends on its own, see Workers.Wait. On a loop's thread it returns EDEADLK and does nothing. Closing twice
// is legal.
func (m *Mux) Close() error {
	if m.onThread() && !m.loops[0].ByHand() {
		return fmt.Errorf("close: %w", ErrDeadlock)
	}
	m.stopServing(closed)
	m.tx.close()
	m.each(func(p *Psock) { p.leave(ErrClosed, false) })
	m.steer.close()
	if cl := m.client.Load(); cl != nil {
		_ = cl.Close() // reports nothing
	}
	if m.own {
		m.closeLoops()
		return nil
	}
	if m.onThread() { // driven by hand: the caller's turns do the rest
		return nil
	}
	return m.awaitIdle(context.Background())
}

func (m *Mux) closeLoops() {
	if !m.own {
		return
	}
	for _, l := range m.loops {
		_ = l.Close() // reports only EDEADLK, excluded by the callers
	}
}

func (m *Mux) stopServing(st muxState) {
	m.mu.Lock()
	m.state = max(m.state, st)
	for s := range m.servers {
		s.close()
	}
	pools := slices.Collect(maps.Keys(m.pools))
	for _, c := range pools {
		c.stop()
	}
	clear(m.pools)
	m.mu.Unlock()
	for _, c := range pools {
		c.each((*poolConn).cease)
	}
}

// each runs fn for every connection on its loop.
func (m *Mux) each(fn func(*Psock)) {
	for _, sh := range m.shards {
		all := func() {
			for _, p := range sh.psocks {
				fn(p)
			}
		}
		if sh.loop.OnThread() {
			all()
		} else {
			sh.loop.Post(all)
		}
	}
}

// awaitIdle waits until the last connection has ended.
func (m *Mux) awaitIdle(ctx context.Context) error {
	for {
		m.mu.Lock()
		n := m.open
		m.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-m.idle:
			select {
			case m.idle <- struct{}{}: // for the next who waits
			default:
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
