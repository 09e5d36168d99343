package bench

import (
	"math/bits"
	"time"

	"github.com/kcm-go/kcm/mux"
)

// conn is one connection. Its messages by position:
//
//	... answered | some answered, others in flight | to be sent this turn | ...
//	             head                              next                   next+owed
//
// The times of those from head on stand in a ring of slots. A reply that overtakes
// others leaves its slot marked; head moves on when the oldest message is answered,
// over all marked ones behind it. In order nothing is ever marked.
type conn struct {
	psock      *mux.Psock
	base       uint64 // number of message 0
	head, next uint64
	owed       int           // to be sent at the end of this turn
	seen       time.Duration // when the replies of this turn were received
	touched    bool
	sent       []times // the ring
	mask       uint64
	connection
}

// connection is what a conn has besides if connections are made anew.
type connection struct {
	stands  bool
	leaving bool          // no more is sent before it is made anew
	life    int           // messages, 0: any number
	sentOn  int           // of those
	ends    time.Duration // when it leaves, with the next message; 0: never
	began   time.Duration // making it anew
	stood   time.Duration // when it did anew
}

// times are those of a message from when it is due until head has passed it.
type times struct {
	intended time.Duration
	actual   time.Duration // of sending, or answered
}

// answered marks a slot whose message head has not reached.
const answered = time.Duration(-1)

// init prepares connection number of all for a window.
func (c *conn) init(number, window int) {
	slots := 1 << bits.Len(uint(window-1))
	c.base = firstNumber(number)
	c.sent, c.mask = make([]times, slots), uint64(slots-1)
}

// slot returns the times of message seq, head <= seq < head+len(sent).
func (c *conn) slot(seq uint64) *times { return &c.sent[seq&c.mask] }

// awaits reports whether message seq was sent and is unanswered.
func (c *conn) awaits(seq uint64) bool {
	return c.head <= seq && seq < c.next && c.slot(seq).actual != answered
}

// answer takes message seq, which c awaits, out of flight.
func (c *conn) answer(seq uint64) {
	if seq != c.head {
		c.slot(seq).actual = answered
		return
	}
	c.head++
	for c.head < c.next && c.slot(c.head).actual == answered {
		c.head++
	}
}

// room returns how many messages more window allows, besides those owed.
func (c *conn) room(window int) int { return window - int(c.next-c.head) - c.owed }

// Sizes of what is in flight. A thread's private loop memory holds
//
//	blocks    connections x messages in flight x footprint of a message
//	pattern   twice the largest payload
//
// up to the largest there is, maxSpill. In an open loop the messages in flight follow
// from maxInFlight; what it delays is late, and is sent all the same. In a closed one
// they are the depth, and only a depth that exceeds maxSpill, with a server that does
// not read, can use the memory up, which ends the run with an error.
const (
	copyUpTo    = 4 << 10  // payloads longer than this are sent without copying them
	blockBytes  = 32 << 10 // a block is full at this size
	smallest    = 512      // what the smallest block takes
	maxInFlight = 64 << 20 // bytes on all connections of a thread, open loop
	maxWindow   = 4096     // messages on a connection, except for a deeper closed loop
	maxSlots    = 4 << 20  // slots of a thread, closed loop without order
	minSpill    = 16 << 20
	maxSpill    = 512 << 20
)

// footprint is the most loop memory one message in flight takes.
func footprint(s Sizes) int {
	if s.Min > copyUpTo {
		return smallest // the head
	}
	return max(smallest, 2*(maxHeader+min(s.Max, copyUpTo)))
}

// windows returns how many messages each of conns connections of a thread may have
// in flight, and the window: how many positions from the oldest unanswered message
// on may be used. The window is the larger one where a closed loop goes on behind a
// message that is slow to be answered.
func (w *Workload) windows(conns int) (inFlight, window int) {
	switch {
	case w.Open():
		b := w.bounds()
		n := min(maxWindow, max(w.batch(), maxInFlight/conns/max(maxHeader+b.Max, footprint(b))))
		return n, n
	case w.Unordered:
		return w.Depth, max(w.Depth, min(maxWindow, maxSlots/conns))
	}
	return w.Depth, w.Depth
}
