package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/kcm-go/kcm/ring"
)

// serverEnv is set in the environment of a server, for tests, whose program has no -serve.
const serverEnv = "KCM_DATAGRAMS_SERVER"

// servers are what is measured. Each serves the socket until it is closed, and counts.
var servers = []struct {
	name  string
	serve func(c *net.UDPConn, count *atomic.Int64) (stop func(), err error)
}{
	{"net", serveNet},
	{"epoll-plain", serveRing(ring.Epoll, ring.PacketOptions{NoSplit: true, NoJoin: true, NoErrors: true})},
	{"epoll-split", serveRing(ring.Epoll, ring.PacketOptions{NoJoin: true, NoErrors: true})},
	{"epoll", serveRing(ring.Epoll, ring.PacketOptions{NoErrors: true})},
	{"uring-single", serveRing(ring.URing, ring.PacketOptions{NoSplit: true, NoJoin: true, NoBatch: true, NoErrors: true})},
	{"uring-plain", serveRing(ring.URing, ring.PacketOptions{NoSplit: true, NoJoin: true, NoErrors: true})},
	{"uring-split", serveRing(ring.URing, ring.PacketOptions{NoJoin: true, NoErrors: true})},
	{"uring", serveRing(ring.URing, ring.PacketOptions{NoErrors: true})},
}

func names() (n []string) {
	for _, s := range servers {
		n = append(n, s.name)
	}
	return n
}

// runServer prints the server's address, and for each line it reads the processor time it has
// used, in ns, and how many datagrams it has sent back; at the end of in it ends.
func runServer(name string, in io.Reader, out io.Writer) error {
	for _, s := range servers {
		if s.name != name {
			continue
		}
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		_ = c.SetReadBuffer(4 << 20) // the system gives what it allows
		addr := c.LocalAddr()
		var count atomic.Int64
		stop, err := s.serve(c, &count)
		if err != nil {
			return err
		}
		defer stop()
		fmt.Fprintln(out, addr)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			fmt.Fprintln(out, processCPU().Nanoseconds(), count.Load())
		}
		return nil
	}
	return fmt.Errorf("there is no server %q", name)
}

// serveNet is what one writes with package net.
func serveNet(c *net.UDPConn, count *atomic.Int64) (func(), error) {
	go func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if err != nil {
				return // closed
			}
			if _, err := c.WriteToUDPAddrPort(b[:n], from); err == nil {
				count.Add(1)
			}
		}
	}()
	return func() { c.Close() }, nil
}

// echo is the handler of the others.
type echo struct{ count *atomic.Int64 }

func (e echo) Datagrams(p *ring.Packet, d []ring.Datagram) {
	for i := range d {
		back := ring.Route{To: d[i].From} // the socket has one address
		_ = p.Send(&d[i].Msg, &back)
	}
	e.count.Add(int64(len(d)))
}

func (echo) PacketError(*ring.Packet, *ring.PacketError) {}
func (echo) Sendable(*ring.Packet)                       {}
func (echo) Closed(*ring.Packet, error)                  {}

func serveRing(b ring.Backend, o ring.PacketOptions) func(*net.UDPConn, *atomic.Int64) (func(), error) {
	return func(c *net.UDPConn, count *atomic.Int64) (func(), error) {
		l, err := ring.New(wide(b))
		if err != nil {
			return nil, err
		}
		if err := l.Start(); err != nil {
			return nil, err
		}
		if derr := l.Do(func() { _, err = l.AttachPacketConn(c, echo{count}, o) }); derr != nil || err != nil {
			l.Close()
			return nil, errors.Join(derr, err)
		}
		return func() { l.Close() }, nil
	}
}
