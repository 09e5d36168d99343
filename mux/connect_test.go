//go:build linux

package mux

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/strparser"
)

// Connect works on a loop's thread, where Dial cannot, and says how it went by OnOpen
// and OnClose.
func TestConnect(t *testing.T) {
	sim := ringtest.New(1, ringtest.Calm())
	near, err := ring.NewWith(sim.Open, simRing())
	if err != nil {
		t.Fatal(err)
	}
	far, err := ring.NewWith(sim.Open, simRing())
	if err != nil {
		t.Fatal(err)
	}
	opened, closed := map[*Psock]bool{}, map[*Psock]error{}
	m, err := New(Options{
		Format: strparser.Length32, MaxMessage: 32 << 10, On: []*ring.Loop{near},
		OnOpen:  func(p *Psock) { opened[p] = true },
		OnClose: func(p *Psock, err error) { closed[p] = err },
	})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := sim.Listen("127.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	accepted := 0
	ln, err := far.Listen(fd, func(fd int) { accepted++; far.Discard(fd) }, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	turns := []func(){func() { near.Turn() }, func() { far.Turn() }}
	good, err := m.Connect(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	bad, err := m.Connect(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.Run(func() bool { return len(closed) == 2 }, turns...); err != nil {
		t.Fatal(err)
	}
	if !opened[good] || opened[bad] || accepted != 1 {
		t.Errorf("opened: good %v, bad %v; accepted %d", opened[good], opened[bad], accepted)
	}
	if closed[good] != nil || !errors.Is(closed[bad], syscall.ECONNREFUSED) {
		t.Errorf("closed: good %v, bad %v", closed[good], closed[bad])
	}
	if _, err := m.Connect(&net.UDPAddr{}); !errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Errorf("to an UDP address: %v", err)
	}
	ln.Close()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for _, l := range []*ring.Loop{near, far} {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
