package bench

import "time"

// thinker is a message of a closed loop that is not to be sent before a time.
type thinker struct {
	at   time.Duration
	conn *conn
}

// thinkers is a heap of them, the earliest first.
type thinkers struct{ list []thinker }

func (h *thinkers) push(t thinker) {
	h.list = append(h.list, t)
	i := len(h.list) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h.list[up].at <= h.list[i].at {
			break
		}
		h.list[up], h.list[i] = h.list[i], h.list[up]
		i = up
	}
}

// pop takes the earliest out; there must be one.
func (h *thinkers) pop() thinker {
	first := h.list[0]
	last := len(h.list) - 1
	h.list[0] = h.list[last]
	h.list = h.list[:last]
	for i := 0; ; {
		least := i
		for _, down := range [2]int{2*i + 1, 2*i + 2} {
			if down < last && h.list[down].at < h.list[least].at {
				least = down
			}
		}
		if least == i {
			return first
		}
		h.list[least], h.list[i] = h.list[i], h.list[least]
		i = least
	}
}

// thinkSalt makes think times independent of what else the seed determines.
const thinkSalt = 0x7468696e6b

// think lets c wait before the next message, after the reply to message seq.
func (g *generator) think(c *conn, seq uint64) {
	d, _ := g.w.Think.draw(g.w.Seed^thinkSalt, c.base+seq)
	g.thinkers.push(thinker{c.seen + d, c})
}

// rouse has the messages sent whose time has come, and returns when the next turn is
// needed.
func (g *generator) rouse(now time.Duration) time.Duration {
	for len(g.thinkers.list) > 0 {
		if next := g.thinkers.list[0].at; next > now {
			return min(next, g.end)
		}
		c := g.thinkers.pop().conn
		c.owed++
		if !c.touched {
			g.touch(c)
		}
	}
	return g.end
}
