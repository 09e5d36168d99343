package mux

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring"
)

// poolConn is one connection of a Pool, through all its lives:
//
//	resolving -> dialling -> greeting -> up -> waiting -> resolving ...
//	    \___________\___________\_______________^
//
// A literal address is not resolved, and without Options.Handshake there is no greeting. Once the pool is closed it ends, from any state.
//
// Only its loop's thread touches it, but for what is under the pool's mu.
type poolConn struct {
	pool    *Pool
	shard   *shard
	number  int // in the pool
	backoff backoff
	timer   ring.Timer // limit of an attempt, or the delay before the next
	attempt uint64     // whose answers are welcome
	psock   *Psock     // dialling, greeting or up
	state   ConnState

	// Under pool.mu, for others to see.
	health ConnHealth
	since  time.Duration // of health.State, by the loop's clock
	last   time.Duration // backoff.last
}

// note shows st as the state, which is the last when it is ConnEnded. Under pool.mu.
func (c *poolConn) note(st ConnState) {
	if c.health.State == ConnEnded {
		return
	}
	c.health.State = st
	c.health.Psock = nil
	if st == ConnUp {
		c.health.Psock = c.psock
	}
	c.health.Failures = c.backoff.failures
	c.since, c.last = c.shard.loop.Now(), c.backoff.last
	if p := c.pool; p.news != nil {
		close(p.news)
		p.news = nil
	}
}

// become changes the state and reports whether the pool is still open; if it is not and
// there is no psock the connection has ended.
func (c *poolConn) become(st ConnState) bool {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed && c.psock == nil {
		st = ConnEnded
	}
	c.state = st
	c.note(st)
	return !p.closed
}

// address returns where the next attempt goes: the connection's own address, also after
// one failure, and then the others in turn.
func (c *poolConn) address() string {
	all := c.pool.opt.Addresses
	return all[(c.number+max(0, c.backoff.failures-1))%len(all)]
}

// try begins an attempt.
func (c *poolConn) try() {
	p := c.pool
	address := c.address()
	p.mu.Lock()
	c.health.Address = address
	p.mu.Unlock()
	c.attempt++
	if p.opt.Network == "unix" {
		c.dial(&net.UnixAddr{Name: address, Net: "unix"})
		return
	}
	if ap, err := netip.ParseAddrPort(address); err == nil && fits(p.opt.Network, ap.Addr()) {
		c.dial(net.TCPAddrFromAddrPort(ap))
		return
	}
	if !c.become(ConnResolving) {
		return
	}
	c.shard.loop.StartTimer(&c.timer, p.opt.DialTimeout, c)
	attempt, turn := c.attempt, c.number+c.backoff.failures
	go func() {
		ctx, cancel := context.WithTimeout(p.ctx, p.opt.DialTimeout)
		defer cancel()
		to, err := lookUp(ctx, p.opt.Network, address, turn)
		c.shard.loop.Post(func() { // a loop that has ended has ended the connection
			switch {
			case c.attempt != attempt: // out of time, or out of business
			case err != nil:
				c.failed(err)
			default:
				c.dial(to)
			}
		})
	}()
}

// fits reports whether the network has addresses like this.
func fits(network string, a netip.Addr) bool {
	is4 := a.Unmap().Is4()
	return network == "tcp" || is4 == (network == "tcp4")
}

// lookUp resolves an address. turn chooses among several of one name.
func lookUp(ctx context.Context, network, address string, turn int) (net.Addr, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = "localhost"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+network[len("tcp"):], host)
	if err != nil {
		return nil, err
	}
	if len(ips) == 0 {
		return nil, &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ips[turn%len(ips)], uint16(port))), nil
}

// dial connects, within what is left of the attempt's time.
func (c *poolConn) dial(to net.Addr) {
	if !c.become(ConnDialling) {
		return
	}
	if !c.timer.Armed() {
		c.shard.loop.StartTimer(&c.timer, c.pool.opt.DialTimeout, c)
	}
	p, err := c.pool.mux.enter(c.shard, func(p *Psock) (err error) {
		p.ownSide().pooled, p.shared = c, true
		p.stream, err = c.shard.loop.Dial(to, (*upper)(p))
		return err
	})
	if err != nil { // out of descriptors, or the Mux is being closed
		c.failed(fmt.Errorf("dial %s: %w", to, err))
		return
	}
	c.psock = p
}

// opened is called when the connection stands.
func (c *poolConn) opened() {
	c.shard.loop.StopTimer(&c.timer)
	if c.psock.greeting != nil {
		c.become(ConnGreeting)
		return
	}
	c.become(ConnUp)
}

// established is called when the connection's handshake is over.
func (c *poolConn) established() {
	if c.state == ConnGreeting { // else it will not stand before OnOpen returns
		c.become(ConnUp)
	}
}

// stood reports whether the connection has, so that OnOpen was called.
func (c *poolConn) stood() bool { return c.state == ConnGreeting || c.state == ConnUp }

// ended is called when the connection has ended, or could not be made.
func (c *poolConn) ended(cause error) {
	c.psock = nil
	c.failed(cause)
}

// failed ends an attempt or a connection; the next attempt is made after a delay.
func (c *poolConn) failed(cause error) {
	p := c.pool
	c.attempt++
	up := time.Duration(0)
	p.mu.Lock()
	if c.state == ConnUp {
		up = c.shard.loop.Now() - c.since
	}
	delay := c.backoff.failed(up)
	p.cause = cause
	c.health.Cause, c.health.RetryIn = cause, delay
	p.mu.Unlock()
	c.shard.loop.StopTimer(&c.timer)
	if c.become(ConnWaiting) {
		c.shard.loop.StartTimer(&c.timer, delay, c)
	}
}

// Expire implements ring.Expirer.
func (c *poolConn) Expire(*ring.Timer) {
	if c.state == ConnWaiting {
		c.try()
		return
	}
	late := fmt.Errorf("dial %s: %w", c.address(), syscall.ETIMEDOUT)
	if c.psock == nil {
		c.failed(late)
		return
	}
	c.psock.leave(late, false)
}

// stop ends the connection: the pool is closed.
func (c *poolConn) stop() {
	if c.psock != nil {
		c.attempt++
		c.shard.loop.StopTimer(&c.timer)
		c.psock.leave(nil, true)
		return
	}
	c.cease()
}

// cease makes no more attempts: the pool is closed. A connection that there is, is for
// others to end.
func (c *poolConn) cease() {
	if c.psock == nil {
		c.attempt++
		c.shard.loop.StopTimer(&c.timer)
		c.become(ConnEnded)
	}
}
