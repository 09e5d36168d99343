package mux

import (
	"fmt"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// greeting is what a connection has until [Psock.Establish], when Options.Handshake is
// set:
//
//	opens -> greeting: messages go to Handshake -> Establish -> to Handler and sockets
//	                   \ HandshakeTimeout -> ends
//
// Loop's thread.
type greeting struct {
	psock *Psock
	timer ring.Timer
}

// start begins the connection's time. It stands.
func (g *greeting) start() {
	if d := g.psock.mux.opt.HandshakeTimeout; d > 0 {
		g.psock.shard.loop.StartTimer(&g.timer, d, g)
	}
}

// Expire implements [ring.Expirer]: the time is up.
func (g *greeting) Expire(*ring.Timer) {
	if p := g.psock; !p.leaving {
		p.leave(fmt.Errorf("handshake: not done after %v: %w", p.mux.opt.HandshakeTimeout, syscall.ETIMEDOUT), false)
	}
}

// greet is message for a connection that has a greeting. It reports false, without having
// looked at the message, when the connection was established by another goroutine.
func (p *Psock) greet(msg *sgmsg.Message) bool {
	if p.established.Load() {
		p.endGreeting()
		return false
	}
	switch p.mux.opt.Handshake(p, msg) {
	case Drop, Pass:
		p.shard.stats.rxDrops++
	case End:
		p.leave(nil, true)
	}
	return true
}

// Establish ends the handshake (Options.Handshake): the next message goes the ordinary
// way, also one that arrived together with the present one. It may be called anywhere:
// messages that the peer sends because of what is sent after it go the ordinary way too.
// Without a handshake, and when it is over, Establish does nothing.
func (p *Psock) Establish() {
	p.established.Store(true)
	p.onLoop(p.endGreeting)
}

// endGreeting ends the handshake, if there is one. Loop's thread.
func (p *Psock) endGreeting() {
	if g := p.greeting; g != nil {
		p.greeting = nil
		p.shard.loop.StopTimer(&g.timer)
		p.state.CompareAndSwap(uint32(Greeting), uint32(Open))
		if p.side.pooled != nil && !p.leaving {
			p.side.pooled.established()
		}
		p.offer()
	}
}

// fillHandshake completes the options of handshakes.
func (o *Options) fillHandshake() error {
	switch {
	case o.Handshake == nil && o.HandshakeTimeout != 0:
		return fmt.Errorf("mux: option HandshakeTimeout needs Handshake: %w", syscall.EINVAL)
	case o.HandshakeTimeout == 0:
		o.HandshakeTimeout = 10 * time.Second
	}
	return nil
}
