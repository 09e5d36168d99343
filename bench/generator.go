package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// generator is one thread that sends and checks: a client Mux with one loop. All
// fields but the atomics belong to the loop's thread once start was called.
//
// Per message it does three things: compare the reply with what was sent, record
// its time, count what is to be sent in turn. At the end of each turn of the loop
// every connection with something to send gets it as one block of bytes, so a
// batch of replies costs one allocation of loop memory, one Send and one reading of
// the clock, none of them per message.
//
// Times are those of the loop's clock. A reply is received when its connection is
// first looked at in a turn: what one turn delivers had all arrived by then.
type generator struct {
	w        *Workload
	schedule *Schedule // nil in a closed loop
	mux      *mux.Mux
	loop     *ring.Loop
	contents contents
	pattern  sgmsg.Element
	out      sgmsg.Message // reused for every block

	conns   []conn
	owners  []*conn  // by Psock.Index
	dialled bool     // all were made
	target  net.Addr // what connections are made to anew
	touched []*conn  // with replies, or messages to send, in this turn
	window  int      // positions of a connection in use at a time, see windows

	zero      time.Duration // loop time of the start
	from, end time.Duration // what is measured, as loop times
	until     time.Duration // when issuing ended
	inFlight  int
	exhausted bool // nothing more is to be sent
	ended     bool
	done      chan<- *generator // told once, when ended
	failure   error             // why it ended early
	mismatch  string
	total     int64 // replies that were right
	live      atomic.Int64
	result    tally
	waiting   int       // open loop: messages that are due and not sent
	recorder  *recorder // nil unless each message is to be recorded

	// What times are recorded in, see span. every is 0 if there are no intervals.
	current  *span
	every    time.Duration
	boundary time.Duration // loop time when the current span is to end
	spare    chan *span
	filled   chan<- *span
	told     int64 // errors that spans have

	liveInFlight, liveErrors atomic.Int64

	maxLateness time.Duration
	blame       own
	blocked     bool          // the next message of the schedule waits for a reply
	freed       time.Duration // when it last no longer did

	thinks   bool // connections do
	thinkers thinkers
	connects *Hist // how long connections took that were made anew; nil without Churn
}

// tally is what a thread counts.
type tally struct {
	messages  int64 // answered, of the measured time
	bytes     int64 // their payload
	lost      int64 // sent and not answered
	unsent    int64 // due and not sent
	corrupt   int64 // replies that are no message of ours, or not the one whose turn it is
	duplicate int64 // replies that came before
	broken    int64 // connections that ended
}

func (t *tally) add(o *tally) {
	t.messages += o.messages
	t.bytes += o.bytes
	t.lost += o.lost
	t.unsent += o.unsent
	t.corrupt += o.corrupt
	t.duplicate += o.duplicate
	t.broken += o.broken
}

func (t *tally) errors() int64 { return t.lost + t.unsent + t.corrupt + t.duplicate + t.broken }

// newGenerator makes thread number of threads; o has the back end, the spin and the CPU of its loop.
// done gets it when it has ended, and must have room. on, if not nil, makes the loop, over
// another back end than those of the system.
func newGenerator(w *Workload, number, threads int, o ring.Options, done chan<- *generator, on func(ring.Options) (*ring.Loop, error)) (*generator, error) {
	g := &generator{
		w:        w,
		conns:    make([]conn, w.connsOf(number, threads)),
		done:     done,
		contents: newContents(w),
	}
	g.current = newSpan(w, g)
	if !w.Churn.none() {
		g.connects = NewHist()
	}
	if w.Open() {
		g.schedule = NewSchedule(w, number, threads)
	}
	g.touched = make([]*conn, 0, len(g.conns))
	var inFlight int
	inFlight, g.window = w.windows(len(g.conns))
	for i := range g.conns {
		g.conns[i].init(number+i*threads, g.window)
		g.conns[i].life = w.firstLife(number + i*threads)
	}
	if !w.Think.None() {
		g.thinks = true
		g.thinkers.list = make([]thinker, 0, len(g.conns)*w.Depth)
	}

	bounds := w.bounds()
	frame := maxHeader + bounds.Max
	spill := len(g.conns)*inFlight*footprint(bounds) + 2*patternBytes(bounds) + 1<<20
	o.Name = fmt.Sprintf("generator/%d", number)
	o.SpillBytes = min(max(spill, minSpill), maxSpill)
	o.SendHard = max(64<<20, 2*inFlight*frame)
	mo := mux.Options{
		Format:     w.Frame.Format(),
		MaxMessage: max(frame, 64<<10),
		OnOpen:     g.opened,
		OnClose:    g.closed,
		Ring:       o,
	}
	var err error
	if on == nil {
		mo.Loops = 1
	} else if g.loop, err = on(o); err != nil {
		return nil, fmt.Errorf("generator: %w", err)
	} else {
		mo.On = []*ring.Loop{g.loop}
	}
	if g.mux, err = mux.New(mo); err != nil {
		return nil, fmt.Errorf("generator: %w", err)
	}
	g.loop = g.mux.Loops()[0]
	g.mux.Handle(g.reply)
	if g.pattern, err = g.loop.Alloc(patternBytes(bounds)); err != nil {
		_ = g.mux.Close() // err says more
		return nil, fmt.Errorf("generator: pattern: %w", err)
	}
	g.contents.pattern = g.pattern.Bytes()
	fillPattern(g.contents.pattern)
	return g, nil
}

// dial makes the connections, each within a time. They stand when it returns.
func (g *generator) dial(ctx context.Context, network, address string, timeout time.Duration) error {
	psocks := make([]*mux.Psock, len(g.conns))
	for i := range psocks {
		each, cancel := context.WithTimeout(ctx, timeout)
		p, err := g.mux.Dial(each, network, address)
		cancel()
		if err != nil {
			return err
		}
		psocks[i] = p
	}
	return g.loop.Do(func() {
		g.dialled = true
		for i, p := range psocks {
			g.assign(&g.conns[i], p)
			g.conns[i].stands = true
			g.target = p.RemoteAddr()
		}
	})
}

// start lets the thread begin at the given time.
func (g *generator) start(at time.Time) error {
	return g.loop.Do(func() {
		if g.schedule != nil || g.thinks {
			preciseTimers()
		}
		g.begin(g.loop.Now() + time.Until(at))
	})
}

// begin is start for a time of the loop. Loop's thread.
func (g *generator) begin(zero time.Duration) {
	g.zero = zero
	g.from = g.zero + g.w.Warmup
	g.end = g.from + g.w.Duration
	g.until = g.end
	g.boundary = g.firstBoundary()
	g.loop.EachTurn(g.turn)
	for i := range g.conns {
		c := &g.conns[i]
		c.ends = g.zero + g.w.firstTime(int(c.base>>seqBits))
		if g.schedule == nil {
			c.owed = g.w.Depth
			g.touch(c)
		}
	}
	g.loop.Alarm(g.zero)
}

func (g *generator) touch(c *conn) {
	c.touched = true
	g.touched = append(g.touched, c)
}

// reply is the Mux's handler.
func (g *generator) reply(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
	if g.ended {
		return mux.Drop
	}
	c := g.owner(from)
	if c == nil {
		g.note("connection %d: a message that nobody asked for", from.Index())
		g.result.corrupt++
		return mux.Drop
	}
	if !c.touched {
		g.touch(c)
		c.seen = g.loop.Now()
	}
	seq, ok := g.match(c, msg)
	if !ok {
		return mux.Drop
	}
	t := *c.slot(seq)
	g.answer(c, seq)
	g.total++
	if t.intended >= g.from {
		g.measure(c, seq, t, msg.Len()-g.contents.header.len)
	}
	return mux.Done
}

// measure books a right reply of the measured time.
func (g *generator) measure(c *conn, seq uint64, t times, size int) {
	g.result.messages++
	g.result.bytes += int64(size)
	latency := c.seen - t.intended
	s := g.current
	s.latency[g.contents.class(c.base+seq)].Record(int64(latency))
	if g.schedule != nil {
		s.actual.Record(int64(c.seen - t.actual))
	}
	if g.recorder != nil {
		g.recorder.add(record{intended: t.intended - g.zero, latency: latency, number: c.base + seq})
	}
}

// answer takes a message of c out of flight.
func (g *generator) answer(c *conn, seq uint64) {
	c.answer(seq)
	g.inFlight--
	switch {
	case g.schedule != nil:
	case g.thinks:
		g.think(c, seq)
	default:
		c.owed++
	}
}

// match finds the message that a reply answers: the oldest one, or without order the
// one whose number the reply has. ok is false if it answers none.
func (g *generator) match(c *conn, msg *sgmsg.Message) (seq uint64, ok bool) {
	seq = c.head
	if g.w.Unordered {
		n, _ := g.contents.numberOf(msg)
		seq = n - c.base
	}
	if c.awaits(seq) && g.contents.matches(msg, c.base+seq) {
		return seq, true
	}
	return g.resolve(c, msg)
}

// resolve handles a reply that is not what it should be. It finds a message if the
// reply is right and those before it, in order, were lost.
func (g *generator) resolve(c *conn, msg *sgmsg.Message) (seq uint64, ok bool) {
	n, numbered := g.contents.numberOf(msg)
	seq = n - c.base
	known := numbered && seq < c.next
	if known && g.contents.matches(msg, n) {
		if !c.awaits(seq) {
			g.note("connection %d: reply %d came twice", c.base>>seqBits, seq)
			g.result.duplicate++
			return 0, false
		}
		g.note("connection %d: no reply to message %d", c.base>>seqBits, c.head)
		for c.head < seq {
			g.result.lost++
			g.answer(c, c.head)
		}
		return seq, true
	}
	g.result.corrupt++
	if !g.w.Unordered {
		seq, known = c.head, true
	}
	if !known || !c.awaits(seq) {
		g.note("connection %d: a reply of %d bytes to nothing", c.base>>seqBits, msg.Len())
		return 0, false
	}
	if g.mismatch == "" {
		g.mismatch = g.contents.describe(msg, c.base+seq)
	}
	g.answer(c, seq)
	return 0, false
}

// note keeps the first thing that went wrong, as an example.
func (g *generator) note(format string, args ...any) {
	if g.mismatch == "" {
		g.mismatch = fmt.Sprintf(format, args...)
	}
}

// turn runs at the end of every turn of the loop.
func (g *generator) turn() (again bool) {
	if g.ended {
		return false
	}
	now := g.loop.Now()
	if g.every > 0 && now >= g.boundary {
		g.handOver(now)
	}
	switch {
	case now < g.zero:
		g.loop.Alarm(g.zero)
		return true
	case g.schedule != nil:
		g.due(now)
	case now < g.end:
		g.wake(g.rouse(now))
	default:
		g.exhausted = true
		g.wake(0)
	}
	for _, c := range g.touched {
		c.touched = false
		if c.owed > 0 {
			g.issue(c, now)
		}
		if g.connects != nil {
			g.renew(c, now)
		}
	}
	g.touched = g.touched[:0]
	g.live.Store(g.total)
	g.liveInFlight.Store(int64(g.inFlight))
	g.liveErrors.Store(g.result.errors())
	if g.recorder != nil {
		g.recorder.ahead()
	}
	if g.exhausted && g.inFlight == 0 && g.waiting == 0 {
		g.finish(nil)
	}
	return true
}

// due books every message of the schedule whose time has come.
func (g *generator) due(now time.Duration) {
	s := g.schedule
	for {
		at := g.zero + time.Duration(s.At)
		if at >= g.end {
			g.exhausted = true
			g.wake(0)
			return
		}
		if at > now {
			g.wake(at)
			return
		}
		c := &g.conns[s.Conn]
		if c.room(g.window) <= 0 {
			g.blocked = true
			g.wake(0) // a reply of c will go on
			return
		}
		if g.blocked {
			g.blocked, g.freed = false, now
		}
		c.slot(c.next + uint64(c.owed)).intended = at
		c.owed++
		g.waiting++
		if !c.touched {
			g.touch(c)
		}
		s.Next()
	}
}

// late books the lateness of a message of c.
func (g *generator) late(c *conn, at, now time.Duration) {
	if at < g.from {
		return
	}
	g.current.lateness.Record(int64(now - at))
	g.blame.sent++
	if now-at > g.maxLateness && at > max(g.freed, c.stood) {
		g.blame.late++
	}
}

// issue sends what is owed on a connection. Some may be held back: in a closed loop
// without order by the window, until a reply moves the head on; by a batch that is not
// complete; by a connection that has no more to send, or does not stand.
func (g *generator) issue(c *conn, now time.Duration) {
	n := c.owed
	if g.schedule == nil {
		if g.exhausted {
			c.owed = 0
			return
		}
		n = min(n, g.window-int(c.next-c.head))
		n -= n % g.w.batch()
	}
	if g.connects != nil {
		n = min(n, g.allowed(c, now))
	}
	if n <= 0 {
		return
	}
	c.owed -= n
	c.sentOn += n
	if g.schedule == nil {
		for i := range uint64(n) {
			*c.slot(c.next + i) = times{now, now}
		}
	} else {
		g.waiting -= n
		for i := range uint64(n) {
			t := c.slot(c.next + i)
			t.actual = now
			g.late(c, t.intended, now)
		}
	}
	for n > 0 {
		k, err := g.block(c, n)
		if err != nil {
			g.finish(fmt.Errorf("generator: build a message: %w", err))
			return
		}
		n -= k
	}
	c.psock.Send(&g.out)
	g.out.Reset()
}

// block appends the next messages of c, n at most, to g.out as one piece of
// memory, and returns how many it took. The tail of a long one is a reference to
// the pattern and ends the block.
func (g *generator) block(c *conn, n int) (int, error) {
	k, length := 0, 0
	long := 0 // payload of the last one, if that is long
	for k < n && length < blockBytes && long == 0 {
		size := g.contents.size(c.base + c.next + uint64(k))
		if size > copyUpTo {
			long = size
			length += g.contents.headLen(size)
		} else {
			length += g.contents.header.len + size
		}
		k++
	}
	b, err := g.out.Reserve(g.loop, 0, length)
	if err != nil {
		return 0, err
	}
	for i := range k {
		number := c.base + c.next
		if i == k-1 && long > 0 {
			n := g.contents.head(b, number, long)
			off, tail := g.contents.tail(number, g.contents.header.len+long-n)
			g.out.AppendShared(sgmsg.Element{Buf: g.pattern.Buf, Off: g.pattern.Off + uint32(off), Len: uint32(len(tail))})
		} else {
			size := g.contents.size(number)
			g.contents.put(b, number, size)
			b = b[g.contents.header.len+size:]
		}
		c.next++
	}
	g.inFlight += k
	return k, nil
}

// closed is the Mux's OnClose: before the end no connection may go.
func (g *generator) closed(p *mux.Psock, err error) {
	if g.ended || g.dialled && g.owner(p) == nil { // we closed it
		return
	}
	number := p.Index()
	if c := g.owner(p); c != nil {
		number = int(c.base >> seqBits)
	}
	g.result.broken++
	if err == nil {
		err = errors.New("closed by the server")
	}
	g.finish(fmt.Errorf("connection %d: %w", number, err))
}

// cut stops issuing now. It may be called on any goroutine.
func (g *generator) cut() {
	_ = g.loop.Do(func() { // a loop that has ended issues nothing
		if g.ended {
			return
		}
		g.end = min(g.end, max(g.loop.Now(), g.zero))
		g.until = g.end
		g.loop.Alarm(g.zero)
	})
}

// stop ends the thread whatever is missing.
func (g *generator) stop() {
	if g.loop.Do(func() { g.finish(nil) }) != nil {
		g.finish(g.loop.Err()) // it has ended by itself
	}
}

// finish counts what is missing. Loop's thread, or after its end.
func (g *generator) finish(failure error) {
	if g.ended {
		return
	}
	g.ended = true
	g.failure = failure
	if failure != nil {
		g.until = min(g.until, g.loop.Now())
	}
	g.result.lost += int64(g.inFlight)
	if g.schedule != nil && failure == nil {
		g.result.unsent += int64(g.waiting)
		for g.zero+time.Duration(g.schedule.At) < g.end {
			g.result.unsent++
			g.schedule.Next()
		}
		if !g.blocked {
			g.blame.unsent += g.result.unsent - int64(g.waiting)
		}
	}
	g.inFlight = 0
	g.endSpan(g.loop.Now())
	g.done <- g
}

// close ends connections and loop and gives the memory back.
func (g *generator) close() error {
	_ = g.loop.Do(func() { g.ended = true }) // a loop that has ended calls nothing
	err := g.mux.Close()
	g.out.Reset()
	g.pattern.Buf.Release()
	return err
}
