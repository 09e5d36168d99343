package main

import (
	"fmt"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// load is the sockets that keep a server busy, on one loop.
type load struct {
	l     *ring.Loop
	flows []*flow
}

// flow is one socket. Its fields belong to the loop's thread.
type flow struct {
	p       *ring.Packet
	o       options
	timer   ring.Timer
	came    int // since the last look
	missing int // given up
}

// patience is how long a flow waits for the rest of its window before it takes it for lost.
const patience = 250 * time.Millisecond

// wide are options whose buffers hold joined datagrams.
func wide(b ring.Backend) ring.Options {
	return ring.Options{Backend: b, Buffers: 256, BufferSize: 128 << 10, RegionBytes: -1, Credit: 128 << 10}
}

func startLoad(addr string, o options) (*load, error) {
	l, err := ring.New(wide(ring.Auto))
	if err != nil {
		return nil, err
	}
	if err := l.Start(); err != nil {
		return nil, err
	}
	g := &load{l: l}
	if derr := l.Do(func() {
		for range o.flows {
			f := &flow{o: o}
			if f.p, err = l.DialPacket("udp", addr, f, ring.PacketOptions{NoSplit: o.plain, NoJoin: o.plain}); err != nil {
				return
			}
			g.flows = append(g.flows, f)
			f.fill()
			l.StartTimer(&f.timer, patience, f)
		}
	}); derr != nil {
		err = derr
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("load: %w", err)
	}
	return g, nil
}

func (g *load) close() { g.l.Close() }

// lost is how many datagrams did not come back.
func (g *load) lost() (n int) {
	_ = g.l.Do(func() {
		for _, f := range g.flows {
			n += f.missing
		}
	})
	return n
}

// fill sends a whole window.
func (f *flow) fill() {
	b := make([]byte, f.o.size)
	for range f.o.window {
		var m sgmsg.Message
		if err := m.AppendCopy(f.p.Loop(), b, 0); err != nil {
			return
		}
		if f.p.Send(&m, &ring.Route{}) != nil {
			m.Release()
		}
	}
}

// Expire implements ring.Expirer: a flow from which nothing has come for a while starts again.
func (f *flow) Expire(*ring.Timer) {
	if f.came == 0 {
		f.missing += f.o.window
		f.fill()
	}
	f.came = 0
	f.p.Loop().StartTimer(&f.timer, patience, f)
}

// Datagrams implements ring.PacketHandler: what comes back goes out again.
func (f *flow) Datagrams(p *ring.Packet, d []ring.Datagram) {
	f.came += len(d)
	for i := range d {
		_ = p.Send(&d[i].Msg, &ring.Route{})
	}
}

func (f *flow) PacketError(*ring.Packet, *ring.PacketError) {}
func (f *flow) Sendable(*ring.Packet)                       {}
func (f *flow) Closed(*ring.Packet, error)                  { f.p.Loop().StopTimer(&f.timer) }
