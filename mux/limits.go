package mux

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/kcm-go/kcm/ring"
)

// guests counts the connections of Serve, for Options.MaxPsocks and MaxPsocksPerPeer.
// Without these options it does nothing, and nobody's address is asked for.
type guests struct {
	max, perPeer int
	refused      atomic.Uint64

	mu    sync.Mutex
	n     int
	peers map[netip.Addr]int // connections of each that has one
}

// guest is what a connection is counted as. The zero guest is not counted.
type guest struct {
	counted bool
	peer    netip.Addr // not valid: of no peer in particular
}

// admit counts the new connection fd, unless there are too many. Thread of the loop that
// accepted it.
func (g *guests) admit(l *ring.Loop, fd int) (guest, bool) {
	if g.max == 0 && g.perPeer == 0 {
		return guest{}, true
	}
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
	g.n--
	if !who.peer.IsValid() {
		return
	}
	if g.peers[who.peer]--; g.peers[who.peer] == 0 {
		delete(g.peers, who.peer)
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
