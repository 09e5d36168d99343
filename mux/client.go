package mux

import (
	"context"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// ClientOptions configure a [Client].
type ClientOptions struct {
	// IDs is where messages have their number; zero if Options.Format is Correlated, which
	// says so itself.
	IDs strparser.IDs
	// InFlight is how many calls may be out at a time, a power of two: 4096, or as many as
	// there are numbers, when zero.
	InFlight int
	// Sockets is how many sockets the requests leave through, by turns, so that a
	// connection that is stuck holds up some of those behind and not all: 4 when zero.
	Sockets int
	// Socket are their options.
	Socket SocketOptions
	// Push gets messages that answer no call; nil drops them. Those that answer a call that
	// has ended are dropped and counted (Client.Orphans).
	Push Handler
	// Rest is for numbers of less than 28 bits, which come again soon: how long the number
	// of a call that was given up is not used again, unless its reply comes or its connection
	// ends first. 30 s when zero. Meanwhile it counts for InFlight.
	Rest time.Duration
}

func (o *ClientOptions) fill(f strparser.Format) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("mux: client: "+format+": %w", append(args, syscall.EINVAL)...)
	}
	if o.IDs.Request.Width == 0 && o.IDs.Reply.Width == 0 {
		c, ok := f.(strparser.Correlated)
		if !ok {
			return bad("option IDs is required for a format that has none")
		}
		o.IDs = c.IDs()
	}
	for _, id := range []strparser.IDField{o.IDs.Request, o.IDs.Reply} {
		if err := id.Check(); err != nil {
			return fmt.Errorf("mux: client: %w", err)
		}
	}
	most := 1 << min(o.numberBits(), 30)
	switch {
	case o.InFlight == 0:
		o.InFlight = min(4096, most)
	case o.InFlight < 0 || o.InFlight&(o.InFlight-1) != 0 || o.InFlight > most:
		return bad("option InFlight is %d, want a power of two, at most %d", o.InFlight, most)
	}
	switch {
	case o.Sockets < 0 || o.Rest < 0:
		return bad("options Sockets and Rest are %d and %v", o.Sockets, o.Rest)
	case o.Sockets == 0:
		o.Sockets = 4
	}
	if o.Rest == 0 {
		o.Rest = 30 * time.Second
	}
	return nil
}

// wideNumber is the number of bits from which numbers need no rest: at a million calls a
// second one comes again after more than four minutes.
const wideNumber = 28

// numberBits returns the width of a number that both fields hold.
func (o *ClientOptions) numberBits() int {
	most := min(o.IDs.Request.Largest(), o.IDs.Reply.Largest())
	if most+1 == 0 {
		return 64
	}
	return bits.Len64(most+1) - 1
}

// Client makes calls: requests that leave on whichever of the Mux's connections is free
// (those of a [Pool], for one), and replies that find them by the number both have. Calls
// are independent of each other; servers may answer in any order.
//
//	pool, err := m.Pool(mux.PoolOptions{Addresses: addrs, Conns: 4})
//	...
//	cl, err := m.Client(mux.ClientOptions{IDs: formats.KafkaIDs})
//	...
//	var c mux.Call
//	if err := c.Request.AppendCopy(m.Loops()[0], request, 0); err != nil { ... }
//	if err := cl.Do(ctx, &c); err != nil { ... }
//	defer c.Reply.Release()
//
// A number is a slot in the table of calls and how often the slot was used, so that a late
// reply is not taken for that of a later call. With numbers of less than 28 bits it is
// ClientOptions.Rest that prevents it.
//
// Methods are safe for concurrent use.
type Client struct {
	mux     *Mux
	opt     ClientOptions
	slots   []callSlot
	shift   int           // bits of a slot's index in a number
	mask    uint64        // of a number
	wide    bool          // numbers need no rest
	free    chan uint32   // slots, longest unused first
	closed  chan struct{} // no call is begun any more
	sockets []*Socket
	turn    atomic.Uint32 // of the sockets
	orphans atomic.Uint64
	rests   map[*shard]*resting
	losing  sync.Mutex // one lose at a time

	draining      atomic.Bool
	telling       atomic.Int32  // Dones that have not returned
	ended         chan struct{} // has a token when a call has ended while draining
	refuse, close sync.Once
}

// Client makes the Mux's client and its Handler, which it stays; there is one, for as long
// as the Mux lives. Errors: EALREADY, EINVAL, ErrClosed.
func (m *Mux) Client(o ClientOptions) (*Client, error) {
	if err := o.fill(m.opt.Format); err != nil {
		return nil, err
	}
	n := o.InFlight
	cl := &Client{
		mux: m, opt: o, slots: make([]callSlot, n), free: make(chan uint32, n), closed: make(chan struct{}),
		shift: bits.Len(uint(n)) - 1,
		mask:  ^uint64(0) >> (64 - o.numberBits()),
		wide:  o.numberBits() >= wideNumber,
		rests: map[*shard]*resting{},
		ended: make(chan struct{}, 1),
	}
	for i := range cl.slots {
		cl.slots[i].client, cl.slots[i].index = cl, uint32(i)
		cl.free <- uint32(i)
	}
	for _, sh := range m.shards {
		cl.rests[sh] = &resting{client: cl, loop: sh.loop}
	}
	for range o.Sockets {
		s, err := m.openSocket(o.Socket, false)
		if err != nil {
			cl.closeSockets()
			return nil, err
		}
		cl.sockets = append(cl.sockets, s)
	}
	if !m.client.CompareAndSwap(nil, cl) {
		cl.closeSockets()
		return nil, fmt.Errorf("mux: client: there is one: %w", syscall.EALREADY)
	}
	m.Handle(cl.handle)
	return cl, nil
}

func (cl *Client) closeSockets() {
	for _, s := range cl.sockets {
		_ = s.Close() // reports nothing
	}
}

// Close ends the calls that are out with ErrClosed, and the client. Closing twice is legal;
// the error is nil.
func (cl *Client) Close() error {
	cl.stop()
	cl.close.Do(func() {
		for i := range cl.slots {
			cl.cancel(cl.slots[i].ref(), fmt.Errorf("call: %w", ErrClosed))
		}
		cl.closeSockets()
	})
	return nil
}

// stop lets no more calls begin.
func (cl *Client) stop() { cl.refuse.Do(func() { close(cl.closed) }) }

// CloseWithDrain is Close that first waits until the calls that are out have ended, and Done
// has returned. Meanwhile
// none can be made: ErrClosed. When ctx ends before, the rest ends with ErrClosed, and ctx.Err is
// returned. On a loop's thread it returns EDEADLK and does nothing.
func (cl *Client) CloseWithDrain(ctx context.Context) error {
	if cl.mux.onThread() {
		return fmt.Errorf("close: %w", ErrDeadlock)
	}
	err := cl.drain(ctx)
	_ = cl.Close() // reports nothing
	return err
}

// drain waits until no call is out and no Done is running; none can be begun any more.
func (cl *Client) drain(ctx context.Context) error {
	cl.stop()
	cl.draining.Store(true)
	for cl.InFlight() > 0 || cl.telling.Load() > 0 {
		select {
		case <-cl.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select { // for another who waits
	case cl.ended <- struct{}{}:
	default:
	}
	return nil
}

// abandonQueued ends the calls whose requests no connection has.
func (cl *Client) abandonQueued() {
	for i := range cl.slots {
		if r := cl.slots[i].ref(); r.phase() == callQueued {
			cl.cancel(r, fmt.Errorf("call: %w", ErrClosed))
		}
	}
}

// InFlight returns how many calls are out.
func (cl *Client) InFlight() (n int) {
	for i := range cl.slots {
		switch callPhase(cl.slots[i].state.Load() & phaseMask) {
		case callFree, callResting:
		default:
			n++
		}
	}
	return n
}

// Orphans returns how many replies came to calls that had been given up.
func (cl *Client) Orphans() uint64 { return cl.orphans.Load() }

// number returns the number of a call.
func (cl *Client) number(r callRef) uint64 {
	return (r.generation<<cl.shift | uint64(r.slot.index)) & cl.mask
}

// begin makes a call of a free slot, which is given back on error, moves its request to msg,
// and returns the socket for it. The call may end at once. ctx is nil for Do.
func (cl *Client) begin(ctx context.Context, s *callSlot, c *Call, msg *sgmsg.Message) (r callRef, socket *Socket, err error) {
	socket = cl.sockets[cl.turn.Add(1)%uint32(len(cl.sockets))]
	r = s.take(c, ctx == nil)
	s.socket = socket
	select {
	case <-cl.closed:
		err = fmt.Errorf("call: %w", ErrClosed)
	default:
		if err = cl.whole(&c.Request); err == nil {
			err = cl.opt.IDs.Request.Set(&c.Request, socket.memory(), cl.number(r))
		}
	}
	if err == nil && c.Resend { // to be kept for as long as the reply takes, so in no receive buffer
		for _, l := range cl.mux.loops {
			_ = l.Unpin(&c.Request) // without memory it stays where it is
		}
		err = c.Request.Clone(&s.kept, 0, c.Request.Len())
	}
	if err != nil {
		s.clear()
		r.give(callEnded)
		return r, nil, err
	}
	c.Reply.Reset()
	c.Request.XferFull(msg)
	if ctx != nil && ctx.Done() != nil {
		s.unwatch = cl.watch(ctx, r)
	}
	s.state.Store(r.word(callQueued))
	select {
	case <-cl.closed: // perhaps after Close looked at this slot
		cl.cancel(r, fmt.Errorf("call: %w", ErrClosed))
	default:
	}
	return r, socket, nil
}

// whole returns an error if a request is not one message: the connection is the others' too.
func (cl *Client) whole(m *sgmsg.Message) error {
	o := &cl.mux.opt
	n, err := strparser.MessageLen(o.Format, m)
	switch {
	case err != nil:
		return fmt.Errorf("call: the request is no message: %w (%w)", syscall.EINVAL, err)
	case n != m.Len():
		return fmt.Errorf("call: the request has %d bytes, and %d by its header: %w", m.Len(), n, syscall.EINVAL)
	case n > o.MaxMessage:
		return fmt.Errorf("call: the request has %d bytes, more than MaxMessage: %w", n, syscall.EMSGSIZE)
	}
	return nil
}

// Frame makes c.Request of a copy of payload and the header that Options.Format writes;
// what c.Request was before is released. Errors: those of [Psock.SendPayload].
func (cl *Client) Frame(c *Call, payload []byte) error {
	c.Request.Reset()
	s := cl.sockets[cl.turn.Load()%uint32(len(cl.sockets))]
	return cl.mux.frame(s.memory(), &c.Request, payload)
}

// watch has the context end the call.
func (cl *Client) watch(ctx context.Context, r callRef) (stop func() bool) {
	return context.AfterFunc(ctx, func() { cl.cancel(r, ctx.Err()) })
}

// cancel ends a call with err, if it has not ended.
func (cl *Client) cancel(r callRef, err error) {
	from, ok := r.end()
	if !ok {
		return
	}
	if r.slot.waits {
		r.tell(from, err)
		return
	}
	l := cl.mux.loops[0]
	if p := r.slot.psock.Load(); p != nil {
		l = p.shard.loop
	}
	if l.OnThread() || !l.Post(func() { r.tell(from, err) }) {
		r.tell(from, err)
	}
}

// handle is the Mux's Handler: replies go to their calls.
func (cl *Client) handle(from *Psock, msg *sgmsg.Message) Verdict {
	if id, ok := cl.opt.IDs.Reply.Get(msg); ok && id <= cl.mask && cl.reply(from, id, msg) {
		return Done
	}
	if cl.opt.Push != nil {
		return cl.opt.Push(from, msg)
	}
	return Drop
}

// reply gives a reply to the call with its number, if that waits for it from this
// connection, or did before it was given up. Loop's thread.
func (cl *Client) reply(from *Psock, id uint64, msg *sgmsg.Message) bool {
	s := &cl.slots[id&uint64(len(cl.slots)-1)]
	r := s.ref()
	if n := cl.number(r); n != id || s.psock.Load() != from {
		return cl.wide && n != id && cl.orphan(r, id)
	}
	for {
		switch ph := r.phase(); ph {
		case callLeaving, callSent: // a reply may be faster than the news that all was sent
			if r.swap(ph, callEnded) {
				r.deliver(from, msg)
				return true
			}
		case callResting:
			if r.swap(callResting, callFree) {
				s.vacate()
			}
			cl.orphans.Add(1)
			return true
		case callEnded, callFree: // it is being given up, or was
			cl.orphans.Add(1)
			return true
		default:
			return false
		}
	}
}

// orphan reports, and counts, that id is a number of an earlier call of the slot: not 0,
// which is nobody's, and not more than half of all generations old.
func (cl *Client) orphan(r callRef, id uint64) bool {
	age := (cl.number(r) - id) & cl.mask >> cl.shift
	if id == 0 || age >= r.generation || age > cl.mask>>cl.shift>>1 {
		return false
	}
	cl.orphans.Add(1)
	return true
}

// lose is called when p has ended: no reply comes from it. p's loop's thread, unless that
// has ended.
func (cl *Client) lose(p *Psock, cause error) {
	type lost struct {
		callRef
		err error
	}
	var told []lost // when nothing is locked any more
	cl.losing.Lock()
	for i := range cl.slots {
		s := &cl.slots[i]
		r := s.ref()
		ph := r.phase()
		if s.psock.Load() != p {
			continue
		}
		switch {
		case ph == callSent && r.swap(callSent, callMoving):
			if !s.call.Resend {
				s.state.Store(r.word(callEnded))
				told = append(told, lost{r, &CallError{Psock: p.Index(), Cause: cause}})
			} else if err := cl.again(r); err != nil {
				if _, ok := r.end(); ok {
					told = append(told, lost{r, err})
				}
			}
		case ph == callResting && r.swap(callResting, callFree):
			s.vacate()
		}
	}
	cl.losing.Unlock()
	for _, l := range told {
		l.tell(callEnded, l.err)
	}
}

// again queues the request of a moving call once more. On error it is queued nowhere.
func (cl *Client) again(r callRef) error {
	s := r.slot
	var m sgmsg.Message
	err := s.kept.Clone(&m, 0, s.kept.Len())
	socket := s.socket
	s.state.Store(r.word(callQueued))
	if err == nil {
		err = socket.resendCall(&m, r)
	}
	if err != nil {
		m.Reset()
	}
	return err
}

// resting are the numbers of one loop's calls that were given up.
type resting struct {
	client *Client
	loop   *ring.Loop
	timer  ring.Timer
	refs   []restingRef // by time
}

type restingRef struct {
	callRef
	until time.Duration
}

// rest lets the number of a call that was given up rest. Loop's thread of p.
func (cl *Client) rest(r callRef, p *Psock) {
	q := cl.rests[p.shard]
	if p.dead.Load() { // no reply comes from it
		if r.swap(callResting, callFree) {
			r.slot.vacate()
		}
		return
	}
	if len(q.refs) >= 2*len(cl.slots) { // most of them got their reply
		rest := q.refs[:0]
		for _, x := range q.refs {
			if x.phase() == callResting {
				rest = append(rest, x)
			}
		}
		q.refs = rest
	}
	q.refs = append(q.refs, restingRef{r, q.loop.Now() + cl.opt.Rest})
	if !q.timer.Armed() {
		q.loop.StartTimer(&q.timer, cl.opt.Rest, q)
	}
}

// Expire implements ring.Expirer.
func (q *resting) Expire(*ring.Timer) {
	now, n := q.loop.Now(), 0
	for n < len(q.refs) && q.refs[n].until <= now {
		if r := q.refs[n]; r.swap(callResting, callFree) {
			r.slot.vacate()
		}
		n++
	}
	q.refs = q.refs[:copy(q.refs, q.refs[n:])]
	if len(q.refs) > 0 {
		q.loop.StartTimer(&q.timer, q.refs[0].until-now, q)
	}
}
