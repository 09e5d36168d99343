package mux

import (
	"fmt"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring"
)

// idleTimer ends a connection that has been idle for Options.IdleTimeout. Nothing is
// noted per message: four times in IdleTimeout it looks at what the connection counts
// anyway.
//
//	looks    |     |     |     |     |     |     |
//	messages   x x   x
//	idle since             ^...................... found: T to 5/4 T after the last
//
// Loop's thread.
type idleTimer struct {
	psock    *Psock
	timer    ring.Timer
	since    time.Duration // when it was not idle last, or later; by the loop's clock
	messages uint64        // received until then
	written  uint64        // bytes sent until then
	busy     bool          // at the last look
}

// start begins to watch. The connection stands.
func (i *idleTimer) start() {
	i.since = i.psock.shard.loop.Now()
	i.again()
}

// again sets the time of the next look.
func (i *idleTimer) again() {
	i.psock.shard.loop.StartTimer(&i.timer, i.psock.mux.opt.IdleTimeout/4, i)
}

// Expire implements [ring.Expirer]: it looks whether something has happened.
func (i *idleTimer) Expire(*ring.Timer) {
	p := i.psock
	if p.leaving {
		return
	}
	now := p.shard.loop.Now()
	limit := p.mux.opt.IdleTimeout
	was := i.busy // and may have been until just now
	i.busy = p.busy()
	switch messages, written := p.parser.Stats().Messages, p.stream.Written(); {
	case messages != i.messages || written != i.written || was || i.busy:
		i.since, i.messages, i.written = now, messages, written
	case now-i.since >= limit:
		p.leave(fmt.Errorf("idle for %v: %w", limit, syscall.ETIMEDOUT), true)
		return
	}
	i.again()
}

// busy reports that the connection waits for us, or we for it to read: it is not idle
// then. Loop's thread.
func (p *Psock) busy() bool {
	return p.holds > 0 || p.flow.owed.Load() > 0 || p.stream.Queued() > 0 || p.stream.Pushing()
}

// stopIdle ends the watch, if there is one.
func (p *Psock) stopIdle() {
	if p.idle != nil {
		p.shard.loop.StopTimer(&p.idle.timer)
	}
}

// checkIdle checks the option.
func (o *Options) checkIdle() error {
	if o.IdleTimeout < 0 {
		return fmt.Errorf("mux: option IdleTimeout is %v, want a time: %w", o.IdleTimeout, syscall.EINVAL)
	}
	return nil
}
