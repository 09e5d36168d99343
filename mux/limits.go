package mux

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/kcm-go/kcm/ring"
)

// guests counts the connections of Serve, for Options.MaxPsocks and MaxPsocksPerPeer and
// for Retire. Without MaxPsocksPerPeer nobody's address is asked for.
type guests struct {
	max, perPeer int
	refused      atomic.Uint64

	mu    sync.Mutex
	n     int
	peers map[netip.Addr]*guest // of whom there are connections
	gone  chan struct{}         // closed when n is 0; nil while nobody waits for that
}

// guest is whom connections of Serve are counted as: a peer, or nobody in particular.
type guest struct {
	peer netip.Addr
	n    int // connections of the peer, under guests.mu
}

// anybody is the guest of all whose peers are not counted.
var anybody guest

// admit counts the new connection fd, unless there are too many. Thread of the loop that
// accepted it.
func (g *guests) admit(l *ring.Loop, fd int) (*guest, bool) {
	var peer netip.Addr
	if g.perPeer > 0 {
		peer = peerOf(l.RemoteAddr(fd))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	who := &anybody
	if peer.IsValid() {
		if who = g.peers[peer]; who == nil {
			who = &guest{peer: peer}
		}
	}
	if g.max > 0 && g.n >= g.max || who != &anybody && who.n >= g.perPeer {
		g.refused.Add(1)
		return nil, false
	}
	g.n++
	if who == &anybody {
		return who, true
	}
	if who.n++; who.n == 1 {
		if g.peers == nil {
			g.peers = map[netip.Addr]*guest{}
		}
		g.peers[peer] = who
	}
	return who, true
}

// dismiss counts a connection out; nil, of one that Serve has not brought, was not counted.
// Any goroutine.
func (g *guests) dismiss(who *guest) {
	if who == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.gone != nil {
		close(g.gone)
		g.gone = nil
	}
	if who == &anybody {
		return
	}
	if who.n--; who.n == 0 {
		delete(g.peers, who.peer)
	}
}

// awaitNone waits until none is left.
func (g *guests) awaitNone(ctx context.Context) error {
	g.mu.Lock()
	if g.n == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.gone == nil {
		g.gone = make(chan struct{})
	}
	gone := g.gone
	g.mu.Unlock()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// peerOf returns whom an address belongs to: its IP address, the same for IPv4 and
// IPv4-mapped IPv6. Unix peers have none.
func peerOf(a net.Addr) netip.Addr {
	if a, ok := a.(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// checkLimits checks the options of limits.
func (o *Options) checkLimits() error {
	if o.MaxPsocks < 0 || o.MaxPsocksPerPeer < 0 {
		return fmt.Errorf("mux: options MaxPsocks and MaxPsocksPerPeer are %d and %d, want positive numbers: %w",
			o.MaxPsocks, o.MaxPsocksPerPeer, syscall.EINVAL)
	}
	return nil
}
