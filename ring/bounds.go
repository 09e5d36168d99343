package ring

import "github.com/kcm-go/kcm/sgmsg"

// KeepBoundaries makes the stream remember where each message it is given ends, for
// Unsent. Call it on the loop's thread before anything is sent and before other
// goroutines know the stream. It costs 8 bytes for each message that waits.
func (s *Stream) KeepBoundaries() { s.bounded = true }

// Unsent calls fn for each message the kernel did not accept as a whole, but for one with a
// ticket, in the order of the stream, with its bytes that were not accepted. They are lent for the call
// unless fn moves them. It works inside Handler.Closed, after KeepBoundaries.
func (s *Stream) Unsent(fn func(part *sgmsg.Message)) {
	at, off := s.written, 0
	for _, end := range s.side.bounds.pending(at) {
		n := int(end - at)
		at = end
		var part sgmsg.Message
		if s.ticketed && s.box.Load().ticket.end == end {
			off += n
			continue // its sender knows
		}
		if s.out.Clone(&part, off, n) == nil { // the bounds are inside
			fn(&part)
			part.Reset()
		}
		off += n
	}
}

// bounds remembers where in the stream the messages of the out queue end. Positions
// count the bytes that the loop writes: what a guest has written never was in the
// queue, and neither moves nor needs an entry.
type bounds struct {
	ends []uint64 // ascending
	head int      // those before were accepted
}

// pending returns the ends of the messages that are not wholly written.
func (g *bounds) pending(written uint64) []uint64 {
	for g.head < len(g.ends) && g.ends[g.head] <= written {
		g.head++
	}
	return g.ends[g.head:]
}

// add enters the end of a message just queued.
func (g *bounds) add(end, written uint64) {
	switch rest := g.pending(written); {
	case len(rest) == 0:
		g.ends, g.head = g.ends[:0], 0
	case g.head >= 64 && g.head*2 >= len(g.ends):
		g.ends = g.ends[:copy(g.ends, rest)]
		g.head = 0
	}
	if n := len(g.ends); n > g.head && g.ends[n-1] == end {
		return // it was empty
	}
	g.ends = append(g.ends, end)
}

// insert enters messages of the given lengths behind the queued bytes.
func (g *bounds) insert(lengths []int, written uint64, queued int) {
	end := written + uint64(queued)
	for _, n := range lengths {
		end += uint64(n)
		g.add(end, written)
	}
}

// putFront enters a message of n bytes in front of all others.
func (g *bounds) putFront(n int, written uint64) {
	rest := g.pending(written)
	old := len(rest)
	g.ends = append(g.ends[:copy(g.ends, rest)], 0)
	g.head = 0
	copy(g.ends[1:], g.ends[:old])
	g.ends[0] = written
	for i := range g.ends {
		g.ends[i] += uint64(n)
	}
}
