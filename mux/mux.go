package mux

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Verdict is what a handler says about the message it was lent. The word is
// sk_msg's.
type Verdict uint8

const (
	// Done: the message has been handled. What was not sent or taken is
	// released.
	Done Verdict = iota
	// Drop: the message is not wanted; it is released and counted.
	Drop
	// End: as Done, and this was the last message of the connection: what is
	// queued is sent, then it is closed. Messages behind it that are with the workers
	// already and not begun are dropped and counted.
	End
	// Pass: to the workers. The message moves to a socket of the Mux, or waits for
	// one. It may have been trimmed, but not sent or taken; if nothing is left of it
	// this is Drop.
	Pass
)

// Handler gets each message on the loop of its connection. msg is lent: its
// bytes are valid until the handler returns, unless Send or Take moved them. A
// handler must not block; while it runs its loop does nothing else.
type Handler func(from *Psock, msg *sgmsg.Message) Verdict

// Mux reads messages from any number of connections on one or several loops and
// hands each to a Handler there, or to the readers of its sockets, or to the one and
// then the other. Its methods are safe for concurrent use; those that
// say so block and return EDEADLK on a loop's own thread.
//
// State is kept per loop, in shards that only their loop's thread touches; the
// control block here is used when connections come and go, never per message.
type Mux struct {
	opt     Options
	loops   []*ring.Loop
	own     bool // loops are ours to close
	shards  []*shard
	profile *strparser.Profile
	handler atomic.Pointer[Handler]
	client  atomic.Pointer[Client]
	steer   *steer
	tx      *transmit
	guests  guests
	sent    struct{ messages, bytes atomic.Uint64 } // not by a loop

	mu         sync.Mutex
	state      muxState
	servers    map[*server]struct{}
	pools      map[*Pool]struct{}
	pooled     int     // connections of all pools so far, for their turns on the loops
	indices    indices // of psocks
	open       int     // psocks not yet closed
	idle       chan struct{}
	workers    int
	lostDirect atomic.Uint64 // messages that were never queued
}

type muxState uint8

const (
	running muxState = iota
	shuttingDown
	closed
)

// origins numbers shards, for Message.SetOrigin.
var origins atomic.Uint32

// shard is the part of a Mux that belongs to one loop. Only that loop's thread
// touches it, except load.
type shard struct {
	mux     *Mux
	loop    *ring.Loop
	origin  uint32
	load    atomic.Int32 // connections, for balance
	psocks  []*Psock     // in no order; a Psock knows its place
	current *Psock       // whose message is being handled
	passing passing
	starts  []*Socket // whose messages leave at the end of the turn
	made    uint64    // transmit.made when messages were last unpinned
	journal *journal  // nil without Options.Logger
	stats   shardStats
	retired Stats // of connections that have ended
}

// New makes a Mux and starts its loops. Errors: EINVAL for options, ENOMEM for loops whose
// memory is more than the control group may have, and whatever
// keeps a loop from starting.
func New(o Options) (*Mux, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	m := &Mux{opt: o, loops: o.On, servers: map[*server]struct{}{}, pools: map[*Pool]struct{}{}, idle: make(chan struct{}, 1)}
	m.guests.max, m.guests.perPeer = o.MaxPsocks, o.MaxPsocksPerPeer
	var err error
	m.profile, err = strparser.NewProfile(strparser.Options{
		Format:          o.Format,
		Message:         message,
		MaxMessage:      o.MaxMessage,
		AssemblyTimeout: o.AssemblyTimeout,
		ReadDone:        readDone,
	})
	if err != nil {
		return nil, fmt.Errorf("mux: %w", err)
	}
	if len(o.On) == 0 {
		m.own = true
		if m.loops, err = startLoops(&m.opt); err != nil {
			return nil, err
		}
	}
	for _, l := range m.loops {
		if err := o.fits(l); err != nil {
			m.closeLoops()
			return nil, err
		}
		m.shards = append(m.shards, &shard{mux: m, loop: l, origin: origins.Add(1), journal: newJournal(&m.opt, l.Options().Name)})
	}
	m.steer = newSteer(m)
	m.tx = newTransmit(m)
	return m, nil
}

// Handle sets the handler of every message that arrives from now on. Without one
// every message is passed to the sockets; while there are none connections wait. Not for a
// Mux with a Client, which is the handler: replies would not find their calls.
func (m *Mux) Handle(h Handler) {
	if h == nil {
		m.handler.Store(nil)
		return
	}
	m.handler.Store(&h)
}

// Name returns Options.Name, or what stands for it.
func (m *Mux) Name() string { return m.opt.Name }

// Loops returns the loops the Mux runs on.
func (m *Mux) Loops() []*ring.Loop { return m.loops }

// Psocks returns the number of connections.
func (m *Mux) Psocks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.open
}

// onThread reports whether the caller is on one of the loops, where blocking
// would be for ever.
func (m *Mux) onThread() bool {
	for _, l := range m.loops {
		if l.OnThread() {
			return true
		}
	}
	return false
}

func (sh *shard) add(p *Psock) {
	p.place = int32(len(sh.psocks))
	sh.psocks = append(sh.psocks, p)
	sh.load.Add(1)
	sh.stats.opened++
	sh.hook() // what is sent on may keep receive buffers, whoever sends it
}

func (sh *shard) remove(p *Psock) {
	last := len(sh.psocks) - 1
	sh.psocks[p.place] = sh.psocks[last]
	sh.psocks[p.place].place = p.place
	sh.psocks[last] = nil
	sh.psocks = sh.psocks[:last]
	sh.load.Add(-1)
}

// lightest returns the shard with the fewest connections.
func (m *Mux) lightest() *shard {
	best := m.shards[0]
	for _, sh := range m.shards[1:] {
		if best.ended() || sh.load.Load() < best.load.Load() && !sh.ended() {
			best = sh
		}
	}
	return best
}

// ended reports whether the shard's loop has ended: by its owner, or because it
// failed.
func (sh *shard) ended() bool {
	select {
	case <-sh.loop.Done():
		return true
	default:
		return false
	}
}

// admit counts a new connection in and gives it the lowest free index.
func (m *Mux) admit() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != running {
		return 0, ErrClosed
	}
	if m.open == 0 { // a token left by those who ended before
		select {
		case <-m.idle:
		default:
		}
	}
	m.open++
	return m.indices.take(), nil
}

// dismiss counts a connection out.
func (m *Mux) dismiss(index int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.indices.free(index)
	m.open--
	if m.open == 0 {
		select {
		case m.idle <- struct{}{}:
		default:
		}
	}
}

// forget lets the socket of p be attached again, and another guest come: it is closed or
// given away.
func (m *Mux) forget(p *Psock) {
	m.guests.dismiss(p.guest)
	p.guest = nil
	given := p.side.given
	if given == 0 {
		return
	}
	claimed.drop(given)
	p.side.given = 0 // it may come again before we are told that p has ended
}
