package mux

import (
	"errors"
	"io"
	"net"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Psock is one connection of a Mux: the lower below, its parser, and the state of
// both directions.
//
//	stream -> parser -> message -> handler -> Send -> out queue -> stream
//
// Receiving stops (the parser is paused, bytes stay below, the peer's window
// closes) while holds > 0: once for each out queue that this connection's
// messages have filled over its limit, its own or another connection's.
//
// It ends in one of three ways: orderly (the peer finished at a message
// boundary, or End, or Drain), by an error of its parser (what is queued is
// still sent), or by an error of the connection.
//
// Methods are safe for concurrent use unless they say otherwise.
type Psock struct {
	// What is used for each message comes first.
	mux      *Mux
	shard    *shard
	stream   *ring.Stream
	order    *order    // with OrderedReplies, else nil
	greeting *greeting // nil when established
	flow     *flow     // noFlow until a message is passed
	side     *side     // what most connections do not need; never nil
	sending  *sending  // when sockets can send on it
	holds    int32     // out queues this connection's messages wait for
	index    int32
	leaving  bool // no more messages are delivered; see drain
	byPeer   bool // the peer has finished, in an orderly way
	stood    bool // it has been open
	shared   bool // sockets may send on it
	inline   bool // ordered: the handler's replies wait in order.inline

	overdrawn   atomic.Bool // the out queue is over its soft limit
	dead        atomic.Bool
	established atomic.Bool
	billed      atomic.Bool   // it is about to be made to wait for another's
	state       atomic.Uint32 // PsockState
	place       int32         // in shard.psocks

	parser strparser.Parser

	idle  *idleTimer // nil without Options.IdleTimeout
	guest *guest     // nil: not counted
	err   atomic.Pointer[error]
	value atomic.Pointer[any]
}

// SetValue attaches a value of the user's to the connection.
func (p *Psock) SetValue(v any) { p.value.Store(&v) }

// Value returns what SetValue attached last, or nil.
func (p *Psock) Value() any {
	if v := p.value.Load(); v != nil {
		return *v
	}
	return nil
}

// Index returns the connection's number: the lowest that was free in its Mux
// when it came.
func (p *Psock) Index() int { return int(p.index) }

// RemoteAddr returns the peer's address; nil for one that was attached while connecting, until
// it stands. It stays known after the end, and is made anew by each call.
func (p *Psock) RemoteAddr() net.Addr { return p.stream.RemoteAddr() }

// Mux returns the Mux the connection belongs to.
func (p *Psock) Mux() *Mux { return p.mux }

// Loop returns the loop that serves the connection.
func (p *Psock) Loop() *ring.Loop { return p.shard.loop }

// Close ends the connection at once. What is queued and not accepted by the
// kernel goes to OnLost.
func (p *Psock) Close() { p.onLoop(func() { p.leave(nil, false) }) }

// Drain ends the connection after what is queued has been sent. Messages that
// still arrive are not delivered.
func (p *Psock) Drain() { p.onLoop(func() { p.leave(nil, true) }) }

// onLoop runs fn on the connection's loop: now if the caller is there, else
// soon.
func (p *Psock) onLoop(fn func()) {
	if p.shard.loop.OnThread() {
		fn()
		return
	}
	p.shard.loop.Post(fn) // a closed loop has ended its connections
}

// leave starts the end of the connection. Loop's thread.
func (p *Psock) leave(cause error, drain bool) {
	if !p.leaving {
		p.leaves(cause)
		p.parser.Stop()
		p.drops(p.parser.InProgress())
	}
	if drain {
		p.afterWork(func() { p.stream.Drain(cause) })
	} else {
		p.stream.Close(cause)
	}
}

// ending says what ended p: its cause, io.EOF when the peer finished in an orderly way,
// ErrClosed when we did. Loop's thread.
func (p *Psock) ending() error {
	switch {
	case p.side.cause != nil:
		return p.side.cause
	case p.byPeer:
		return io.EOF
	}
	return ErrClosed
}

// leaves notes that p begins to end. Loop's thread.
func (p *Psock) leaves(cause error) {
	p.leaving = true
	if cause != nil {
		p.because(cause)
	}
	p.state.Store(uint32(Leaving))
	told := toldLeaving
	if cause != nil {
		told |= toldFailed
	}
	p.tell(told)
}

// message is the parsers' callback: one complete message, lent.
func message(ps *strparser.Parser, msg *sgmsg.Message) {
	p := ps.Owner().(*Psock)
	p.stream.Expect(msg.Len())
	if p.greeting != nil && p.greet(msg) {
		return
	}
	h := p.mux.handler.Load()
	if h == nil {
		p.pass(msg)
		return
	}
	var v Verdict
	if p.order == nil {
		v = (*h)(p, msg)
	} else {
		v = p.handleInOrder(*h, msg)
	}
	if v == Pass && msg.Live() && msg.Len() == 0 {
		v = Drop
	}
	switch v {
	case Drop:
		p.shard.stats.rxDrops++
	case End:
		p.leave(nil, true)
	case Pass:
		p.pass(msg)
	}
}

// handleInOrder is for connections with ordered replies: while earlier messages are
// with the workers, what the handler sends back waits for their replies.
func (p *Psock) handleInOrder(h Handler, msg *sgmsg.Message) Verdict {
	if p.dead.Load() { // a worker panicked: no reply may follow the one that is missing
		return Done
	}
	if b := p.shard.passing.filling; b != nil && b.psock == p {
		p.shard.seal(bound) // so that its messages have their numbers
	}
	if !p.order.pending() && !p.stream.Pushing() { // a Send would overtake what was pushed
		return h(p, msg)
	}
	p.inline = true
	v := h(p, msg)
	p.inline = false                           // after a panic the connection ends
	if v != Pass || p.order.inline.Len() > 0 { // what was sent before Pass has a turn of its own
		p.order.finish(p, p.order.issue(1), &p.order.inline)
		p.order.restrain(p)
	}
	return v
}

// guard is deferred around everything that may run the handler: once per turn and
// connection, not per message. current is set meanwhile.
func (p *Psock) guard(delivery bool) {
	p.shard.current = nil
	if !p.mux.opt.CrashOnPanic {
		if v := recover(); v != nil {
			mustSurvive(v)
			p.parser.Unwind()
			p.leave(&PanicError{Value: v, Stack: debug.Stack()}, false)
		}
	}
	p.shard.callbackEnds(p, delivery)
	if p.side.later != nil { // asked for while the callback ran
		p.awaitWork()
	}
}

// readDone is the parsers' callback at the end of each read loop.
func readDone(ps *strparser.Parser, err error) error {
	p := ps.Owner().(*Psock)
	switch {
	case ps.Finished():
		p.byPeer = p.side.broken == nil && !p.leaving
		p.leave(p.side.broken, p.side.broken == nil) // if the peer has finished in an orderly way: answer, then go
	case errors.Is(err, syscall.ENOMEM) && !ps.Stopped():
		// Private memory is used up. The parser would ask again in the next turn.
		p.shard.loop.StartTimer(&p.ownSide().retry, memoryRetry, (*upper)(p))
		return nil
	}
	return err
}

// memoryRetry is how long a parser waits that could not get memory.
const memoryRetry = time.Millisecond

// Expire implements ring.Expirer for the retry.
func (u *upper) Expire(*ring.Timer) { u.parser.CheckRcv() }

// hold stops receiving; unhold takes one hold back. Loop's thread.
func (p *Psock) hold() {
	p.holds++
	if p.holds == 1 {
		p.shard.stats.pauses++
		p.parser.Pause()
	}
}

func (p *Psock) unhold() {
	p.holds--
	if p.holds == 0 && !p.leaving {
		p.ownSide().resumed = p.shard.loop.Counted()
		p.parser.Unpause()
	}
}

// lower is what a Psock is to its parser: the stream, and the place where errors
// are posted. A type of its own keeps these methods off Psock.
type lower Psock

func (w *lower) Readable() int                          { return w.stream.Readable() }
func (w *lower) Peek() (sgmsg.Element, bool)            { return w.stream.Peek() }
func (w *lower) Consume(n int)                          { w.stream.Consume(n) }
func (w *lower) Want(n int)                             { w.stream.Want(n) }
func (w *lower) Full() bool                             { return w.stream.Full() }
func (w *lower) Alloc(n int) (sgmsg.Element, error)     { return w.stream.Alloc(n) }
func (w *lower) Kick()                                  { w.stream.Kick() }
func (w *lower) StartTimer(d time.Duration, gen uint32) { w.stream.StartTimer(d, gen) }
func (w *lower) StopTimer()                             { w.stream.StopTimer() }

// Post implements strparser.Lower: the parser has failed. Messages before the
// failed one were handled and are answered.
func (w *lower) Post(err error) {
	p := (*Psock)(w)
	var abort *strparser.AbortError
	errors.As(err, &abort)
	if f := p.mux.opt.OnDecline; f != nil && abort != nil && abort.Recoverable && errors.Is(strparser.ErrDecline, abort.Errno) {
		p.detach(func(c net.Conn, err error) {
			if err == nil { // else it has ended meanwhile
				f(c)
			}
		})
		return
	}
	if p.side.broken != nil && errors.Is(err, syscall.EPIPE) { // inside a message: the error says more
		p.leave(p.side.broken, false)
	} else {
		p.leave(err, true)
	}
	if abort != nil {
		p.drops(abort.Dropped)
	}
}

// upper is what a Psock is to its stream.
type upper Psock

func (u *upper) Opened(*ring.Stream) {
	p := (*Psock)(u)
	p.stands()
	if ch := p.side.opened; ch != nil {
		ch <- nil
		p.side.opened = nil
	}
	if p.side.pooled != nil {
		p.side.pooled.opened()
	}
}

// stands is called once, when the connection does. Loop's thread.
func (p *Psock) stands() {
	state := Open
	if p.greeting != nil {
		state = Greeting
		p.greeting.start()
	}
	p.state.Store(uint32(state))
	if p.idle != nil && p.side.pooled == nil {
		p.idle.start()
	}
	p.tellOpened()
	if p.mux.opt.OnOpen != nil {
		p.mux.opt.OnOpen(p)
	}
	p.offer()
}

func (u *upper) DataReady(*ring.Stream) (holds bool) {
	p := (*Psock)(u)
	defer p.guard(true)
	p.shard.current = p
	p.parser.DataReady()
	return p.parser.Holds()
}

func (u *upper) Evict(_ *ring.Stream, pool *sgmsg.Arena) {
	_ = u.parser.Compact(pool) // without memory the chunks stay where they are
}

func (u *upper) Check(*ring.Stream) {
	p := (*Psock)(u)
	defer p.guard(false)
	p.shard.current = p
	p.parser.Check()
}

// Expired: the message in progress has had its time, which begins anew when the connection
// was made to wait: meanwhile it is we who do not take the rest.
func (u *upper) Expired(s *ring.Stream, gen uint32) {
	left := u.mux.opt.AssemblyTimeout
	if u.holds == 0 {
		left -= u.shard.loop.Counted() - u.side.resumed
	}
	if left > 0 {
		s.StartTimer(left, gen)
		return
	}
	u.parser.Expire(gen)
}

func (u *upper) StateChange(_ *ring.Stream, err error) {
	p := (*Psock)(u)
	defer p.guard(true)
	p.shard.current = p
	if err != nil && p.leaving {
		p.leave(err, false)
		return
	}
	// Whole messages that came before are worth no less for an error. While the parser is
	// paused they wait.
	if err != nil {
		p.ownSide().broken = err
		p.tell(toldLeaving | toldFailed)
	}
	p.parser.EOF()
}

func (u *upper) Closed(_ *ring.Stream, cause error, rest *sgmsg.Message) {
	p := (*Psock)(u)
	sh := p.shard
	if invariants.Enabled {
		invariants.Check(noSide.blank() && noFlow.blank(), "mux: noSide or noFlow was written to")
	}
	p.dead.Store(true)
	if p.order != nil {
		p.order.end(p)
	}
	p.unbar()
	p.goOn() // whoever waits for its work: a worker may be too late to tell
	p.letGo()
	p.mux.forget(p)
	if !p.leaving {
		p.leaves(cause)
		p.drops(p.parser.InProgress())
	} else if p.side.cause == nil && cause != nil && !errors.Is(cause, io.EOF) {
		p.because(cause)
	}
	p.state.Store(uint32(Ended))
	p.parser.Stop()
	sh.loop.StopTimer(&p.side.retry)
	p.endGreeting()
	p.stopIdle()
	st := &sh.retired
	st.Closed++
	st.Parser.Save(p.parser.Stats())
	p.parser.Done()
	if p.side.cause == nil && p.stream.Ticketed() > 0 && p.sending.accepted.Load() > 0 { // the peer may have a part of a message
		p.because(errCut)
	}
	p.tellEnded()
	var err error
	unsent := rest.Len() - p.stream.Ticketed() // what a socket keeps is not lost
	if p.side.cause != nil || unsent > 0 {
		e := &PsockError{Index: p.Index(), Cause: p.side.cause, Dropped: p.side.dropped, Unsent: unsent}
		if e.Cause == nil {
			e.Cause = ErrClosed
		}
		err = e
	}
	st.LostBytes += uint64(unsent)
	p.stream.Unsent(func(part *sgmsg.Message) {
		st.LostMessages++
		p.mux.opt.OnLost(p, part, err)
	})
	sh.remove(p)
	if len(sh.psocks) == 0 {
		sh.sendTurnEnds() // a loop that ends has no end of the turn
	}
	if cl := p.mux.client.Load(); cl != nil {
		cl.lose(p, p.ending())
	}
	if opened := p.side.opened; opened != nil {
		if err == nil {
			err = ErrClosed
		}
		p.side.opened = nil
		p.mux.dismiss(p.Index()) // before Dial returns
		opened <- err
		return
	}
	if p.mux.opt.OnClose != nil && (p.side.pooled == nil || p.side.pooled.stood()) {
		p.mux.opt.OnClose(p, err)
	}
	p.mux.dismiss(p.Index())
	if p.side.pooled != nil {
		p.side.pooled.ended(p.ending())
	}
}
