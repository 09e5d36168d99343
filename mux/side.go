package mux

import (
	"time"

	"github.com/kcm-go/kcm/ring"
)

// side is the part of a connection that most connections do not need: it is made when
// something in it is set for the first time, and stays. Until then the connection has
// noSide, so that reading needs no question. Loop's thread.
type side struct {
	given  uint64     // SO_COOKIE of a socket of AttachFD, else 0
	opened chan error // Dial waits on it
	pooled *poolConn  // whose connection it is

	resumed time.Duration   // since when there are no holds, by the clock of timers; 0: always
	retry   ring.Timer      // of a parser that got no memory
	waiter  ring.Waiter     // for our own out queue
	debtors []*Psock        // producers that wait for our out queue
	waiting []chan struct{} // SendWait, likewise

	cause   error
	broken  error  // of the connection, which leaves when what was received is delivered
	dropped int    // bytes of an incomplete message
	later   func() // runs when no message that was passed is left
}

// noSide stands for one in which nothing is set. It is never written to.
var noSide side

// ownSide returns the connection's side, for writing.
func (p *Psock) ownSide() *side {
	if p.side == &noSide {
		p.side = new(side)
	}
	return p.side
}

// because notes why p ends.
func (p *Psock) because(cause error) {
	p.ownSide().cause = cause
	p.err.Store(&cause)
}

// drops notes how many bytes of an incomplete message are lost with p.
func (p *Psock) drops(n int) {
	if n != p.side.dropped {
		p.ownSide().dropped = n
	}
}

// blank reports whether nothing is set, as far as anything would use it.
func (x *side) blank() bool {
	return x.given == 0 && x.opened == nil && x.pooled == nil && x.resumed == 0 && !x.retry.Armed() &&
		x.waiter.Wake == nil && x.debtors == nil && x.waiting == nil &&
		x.cause == nil && x.broken == nil && x.dropped == 0 && x.later == nil
}
