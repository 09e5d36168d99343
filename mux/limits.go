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
	peers map[netip.Addr]int // connections of each that has one
	gone  chan struct{}      // closed when n is 0; nil while nobody waits for that
}

// guest is what a connection is counted as. The zero guest, of a connection that Serve has
// not brought, is not counted.
type guest struct {
	counted bool
	peer    netip.Addr // not valid: of no peer in particular
}

// admit counts the new connection fd, unless there are too many. Thread of the loop that
// accepted it.
func (g *guests) admit(l *ring.Loop, fd int) (guest, bool) {
	who := guest{counted: true}
	if g.perPeer > 0 {
		who.peer = peerOf(l.RemoteAddr(fd))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.max > 0 && g.n >= g.max || who.peer.IsValid() && g.peers[who.peer] >= g.perPeer {
		g.refused.Add(1)
		return guest{}, false
	}
	g.n++
	if who.peer.IsValid() {
		if g.peers == nil {
			g.peers = map[netip.Addr]int{}
		}
		g.peers[who.peer]++
	}
	return who, true
}

// dismiss counts a connection out. Any goroutine.
func (g *guests) dismiss(who guest) {
	if !who.counted {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 && g.gone != nil {
		close(g.gone)
		g.gone = nil
	}
	if !who.peer.IsValid() {
		return
	}
	if g.peers[who.peer]--; g.peers[who.peer] == 0 {
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
