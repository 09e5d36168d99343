package mux

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// PoolOptions say what a [Pool] connects to. Addresses is required.
type PoolOptions struct {
	// Network is tcp, tcp4, tcp6 or unix; tcp when empty.
	Network string
	// Addresses are those of equal servers. Connections are spread over them by turns;
	// one that fails twice in a row at its own tries the others.
	Addresses []string
	// Conns is the number of connections, 1 when zero.
	Conns int
	// DialTimeout bounds an attempt, resolving the name included; 5 s when zero.
	DialTimeout time.Duration
	// RetryMin and RetryMax bound the delay before the next attempt, which doubles with
	// each failure in a row and has a random part of up to a half; 50 ms and 30 s when
	// zero.
	RetryMin, RetryMax time.Duration

	random func(n int64) int64 // for tests
}

func (o *PoolOptions) fill() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("mux: pool: "+format+": %w", append(args, syscall.EINVAL)...)
	}
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.Conns == 0 {
		o.Conns = 1
	}
	if o.DialTimeout == 0 {
		o.DialTimeout = 5 * time.Second
	}
	if o.RetryMin == 0 {
		o.RetryMin = 50 * time.Millisecond
	}
	if o.RetryMax == 0 {
		o.RetryMax = max(o.RetryMin, 30*time.Second)
	}
	switch {
	case !slices.Contains([]string{"tcp", "tcp4", "tcp6", "unix"}, o.Network):
		return bad("network %q, want tcp, tcp4, tcp6 or unix", o.Network)
	case len(o.Addresses) == 0:
		return bad("option Addresses is required")
	case o.Conns < 0:
		return bad("option Conns is %d, want a positive number", o.Conns)
	case o.DialTimeout < 0 || o.RetryMin < 0 || o.RetryMax < o.RetryMin:
		return bad("DialTimeout is %v, RetryMin %v, RetryMax %v", o.DialTimeout, o.RetryMin, o.RetryMax)
	}
	o.Addresses = slices.Clone(o.Addresses)
	return nil
}

// Pool keeps connections up: one that fails, or cannot be made, is made again after a
// delay. They are ordinary connections of the Mux ([Psock], OnOpen, OnClose), on its loops
// by turns, and the messages of its sockets leave on them.
//
// Methods are safe for concurrent use.
type Pool struct {
	mux    *Mux
	opt    PoolOptions
	conns  []*poolConn
	ctx    context.Context // of resolving names; ends with the pool
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	news   chan struct{} // closed at the next change; nil while nobody waits
	cause  error         // of the last failure
}

// ConnState is where a connection of a [Pool] is.
type ConnState uint8

const (
	ConnWaiting   ConnState = iota // for its next attempt
	ConnResolving                  // its name
	ConnDialling
	ConnGreeting // it stands, in its handshake (Options.Handshake)
	ConnUp
	ConnEnded // for good: the pool is closed, or the loop has ended
)

func (s ConnState) String() string {
	return [...]string{"waiting", "resolving", "dialling", "greeting", "up", "ended"}[s]
}

// ConnHealth tells of one connection of a [Pool].
type ConnHealth struct {
	Address  string        // that it has, tries or tried last
	State    ConnState     //
	For      time.Duration // in this state
	Psock    *Psock        // while it is up
	Failures int           // in a row, until it has stood for longer than the last delay
	Cause    error         // of the last failure; io.EOF when the peer ended it in an orderly way, ErrClosed when we did
	RetryIn  time.Duration // while it waits
}

// Pool opens a pool. It returns before the connections stand: see Wait. Errors: EINVAL,
// ErrClosed.
func (m *Mux) Pool(o PoolOptions) (*Pool, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	c := &Pool{mux: m, opt: o}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	m.mu.Lock()
	if m.state != running {
		m.mu.Unlock()
		c.cancel()
		return nil, fmt.Errorf("mux: pool: %w", ErrClosed)
	}
	for i := range o.Conns {
		pc := &poolConn{pool: c, shard: m.shards[(m.pooled+i)%len(m.shards)], number: i, backoff: newBackoff(o.RetryMin, o.RetryMax)}
		if o.random != nil {
			pc.backoff.random = o.random
		}
		c.conns = append(c.conns, pc)
	}
	m.pooled += o.Conns
	m.pools[c] = struct{}{}
	m.mu.Unlock()
	for _, sh := range m.shards {
		go func() {
			select {
			case <-sh.loop.Done():
				c.loopEnded(sh)
			case <-c.ctx.Done():
			}
		}()
	}
	c.each((*poolConn).try)
	return c, nil
}

// each runs fn for every connection on its loop.
func (c *Pool) each(fn func(*poolConn)) {
	for _, pc := range c.conns {
		if pc.shard.loop.OnThread() {
			fn(pc)
		} else if !pc.shard.loop.Post(func() { fn(pc) }) {
			c.loopEnded(pc.shard)
		}
	}
}

// Wait waits until n connections stand, and are established if there is a handshake. Errors: ctx.Err, and then the cause of the last
// failure is wrapped as well; EINVAL when n is more than there are; ErrClosed when the pool
// or the loops have ended; EDEADLK on a loop's thread when it would have to wait.
func (c *Pool) Wait(ctx context.Context, n int) error {
	if n > len(c.conns) {
		return fmt.Errorf("mux: pool: wait for %d of %d connections: %w", n, len(c.conns), syscall.EINVAL)
	}
	for {
		c.mu.Lock()
		up, may := c.count()
		news, cause := c.news, c.cause
		if news == nil {
			news = make(chan struct{})
			c.news = news
		}
		c.mu.Unlock()
		switch {
		case up >= n:
			return nil
		case may < n:
			return fmt.Errorf("mux: pool: %d connections stand, and no more will: %w", up, ErrClosed)
		case c.mux.onThread():
			return fmt.Errorf("mux: pool: wait: %w", ErrDeadlock)
		}
		select {
		case <-news:
		case <-ctx.Done():
			if cause == nil {
				return fmt.Errorf("mux: pool: %d of %d connections stand: %w", up, n, ctx.Err())
			}
			return fmt.Errorf("mux: pool: %d of %d connections stand: %w; the last failure: %w", up, n, ctx.Err(), cause)
		}
	}
}

// count returns how many connections stand, and how many do or may. Under mu.
func (c *Pool) count() (up, may int) {
	for _, pc := range c.conns {
		switch pc.health.State {
		case ConnUp:
			up++
			may++
		case ConnEnded:
		default:
			may++
		}
	}
	return up, may
}

// Health tells of each connection, in an order that does not change. It asks nobody: what
// it tells has been noted at the last change.
func (c *Pool) Health() []ConnHealth {
	c.mu.Lock()
	defer c.mu.Unlock()
	hs := make([]ConnHealth, 0, len(c.conns))
	for _, pc := range c.conns {
		h := pc.health
		h.For = pc.shard.loop.Now() - pc.since
		switch h.State {
		case ConnUp:
			if h.For > pc.last {
				h.Failures = 0
			}
		case ConnWaiting:
			h.RetryIn = max(0, h.RetryIn-h.For)
		}
		if h.State != ConnWaiting {
			h.RetryIn = 0
		}
		hs = append(hs, h)
	}
	return hs
}

// Close stops dialling and ends the connections after what was given to them has been
// sent, as [Psock.Drain] does; it does not wait for that. A call whose reply is outstanding
// ends with a *CallError: see [Client.CloseWithDrain]. Messages that wait in sockets for
// a connection stay there. Closing twice is legal; the error is nil.
func (c *Pool) Close() error {
	c.mux.mu.Lock()
	delete(c.mux.pools, c)
	c.mux.mu.Unlock()
	if c.stop() {
		c.each((*poolConn).stop)
	}
	return nil
}

// stop ends dialling: the first part of Close, and the Mux's when it ends. It reports
// whether it was the first.
func (c *Pool) stop() bool {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	return first
}

// loopEnded is called when a loop has ended, and its connections with it.
func (c *Pool) loopEnded(sh *shard) {
	cause := sh.loop.Err()
	if cause == nil {
		cause = ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pc := range c.conns {
		if pc.shard == sh && pc.health.State != ConnEnded {
			pc.health.Cause = cause
			pc.note(ConnEnded)
		}
	}
}
