package bench

import (
	"fmt"
	"math"
	"time"

	"github.com/kcm-go/kcm/mux"
)

// first is the part of its life that connection number of all has in the beginning, so
// that not all end together.
func (w *Workload) first(number int) float64 { return float64(number+1) / float64(w.Conns) }

// firstLife is how many messages connection number sends before it ends first, 0: any
// number.
func (w *Workload) firstLife(number int) int {
	return int(math.Ceil(float64(w.Churn.Messages) * w.first(number)))
}

// firstTime is how long connection number lives at first.
func (w *Workload) firstTime(number int) time.Duration {
	return time.Duration(float64(w.Churn.Time) * w.first(number))
}

// assign makes p the connection of c.
func (g *generator) assign(c *conn, p *mux.Psock) {
	for p.Index() >= len(g.owners) {
		g.owners = append(g.owners, nil)
	}
	g.owners[p.Index()] = c
	c.psock = p
}

// owner returns whose connection p is, nil if it is nobody's any more, or not yet.
func (g *generator) owner(p *mux.Psock) *conn {
	if p.Index() < len(g.owners) {
		if c := g.owners[p.Index()]; c != nil && c.psock == p {
			return c
		}
	}
	return nil
}

// allowed returns how many messages may be sent on c's connection, and lets it leave if
// there will be no more.
func (g *generator) allowed(c *conn, now time.Duration) int {
	if g.w.Churn.Time > 0 && now >= c.ends {
		c.leaving = true
	}
	switch {
	case !c.stands || c.leaving:
		return 0
	case c.life > 0:
		return c.life - c.sentOn
	}
	return math.MaxInt
}

// renew ends c's connection, if it has nothing more to send or to receive, and makes it
// anew.
func (g *generator) renew(c *conn, now time.Duration) {
	if c.life > 0 && c.sentOn >= c.life {
		c.leaving = true
	}
	if !c.leaving || !c.stands || c.head != c.next || g.exhausted && g.waiting == 0 {
		return
	}
	old := c.psock
	c.psock, c.stands = nil, false
	old.Close()
	g.connect(c, now)
}

// connect makes c a connection, which stands when opened is called.
func (g *generator) connect(c *conn, now time.Duration) {
	p, err := g.mux.Connect(g.target)
	if err != nil {
		g.finish(fmt.Errorf("connection %d: %w", c.base>>seqBits, err))
		return
	}
	c.began = now
	g.assign(c, p)
}

// opened is the Mux's OnOpen.
func (g *generator) opened(p *mux.Psock) {
	c := g.owner(p)
	if g.ended || c == nil {
		return
	}
	now, began := g.loop.Now(), c.began
	c.connection = connection{stands: true, life: g.w.Churn.Messages, ends: now + g.w.Churn.Time, stood: now}
	if g.connects != nil && began >= g.from {
		g.connects.Record(int64(now - began))
	}
	if !c.touched { // what waits is sent at the end of the turn
		g.touch(c)
		c.seen = now
	}
}
