package mux

import (
	"fmt"
	"syscall"

	"github.com/kcm-go/kcm/ring"
)

// idleTimer ends a connection that has been idle for Options.IdleTimeout. Nothing is
// noted per message: four times in IdleTimeout it looks at what the connection counts
// anyway.
//
//	looks    |     |     |     |     |     |     |
//	messages   x x   x
//	idle                       1     2     3     4  found: T to 5/4 T after the last
//
// Looks are counted and not the time, as time in which the loop stood still is none for a
// peer to be idle in.
//
// Loop's thread.
type idleTimer struct {
	psock    *Psock
	timer    ring.Timer
	looks    int    // in a row that found it idle
	messages uint64 // received until the look before those
	written  uint64 // bytes sent until then
	busy     bool   // at the last look
}

const idleLooks = 4

// start sets the time of the next look. The connection stands.
func (i *idleTimer) start() {
	i.psock.shard.loop.StartTimer(&i.timer, i.psock.mux.opt.IdleTimeout/idleLooks, i)
}

// Expire implements [ring.Expirer]: it looks whether something has happened.
func (i *idleTimer) Expire(*ring.Timer) {
	p := i.psock
	if p.leaving {
		return
	}
	was := i.busy // and may have been until just now
	i.busy = p.busy()
	switch messages, written := p.parser.Stats().Messages, p.stream.Written(); {
	case messages != i.messages || written != i.written || was || i.busy:
		i.looks, i.messages, i.written = 0, messages, written
	case i.looks+1 == idleLooks:
		p.leave(fmt.Errorf("idle for %v: %w", p.mux.opt.IdleTimeout, syscall.ETIMEDOUT), true)
		return
	default:
		i.looks++
	}
	i.start()
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
