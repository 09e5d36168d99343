//go:build unix

package echo

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// gnetServer echoes on gnet: the batch of whole frames found by one readable
// event leaves in one Write.
type gnetServer struct {
	gnet.BuiltinEventEngine
	engine gnet.Engine
	addr   net.Addr
	booted chan error // receives the result of OnBoot
	ended  chan error // receives the result of Run
}

func listenGnet(addr string) (Server, error) {
	s := &gnetServer{booted: make(chan error, 1), ended: make(chan error, 1)}
	go func() {
		s.ended <- gnet.Run(s, "tcp://"+addr,
			gnet.WithNumEventLoop(runtime.GOMAXPROCS(0)),
			gnet.WithReadBufferCap(bufferSize),
			gnet.WithReuseAddr(true),
			gnet.WithLogger(zap.NewNop().Sugar()))
	}()
	select {
	case err := <-s.booted:
		if err != nil {
			<-s.ended
			return nil, err
		}
		return s, nil
	case err := <-s.ended:
		return nil, err
	}
}

// OnBoot learns the address from a copy of the listening descriptor; gnet
// itself does not tell which port it was given.
func (s *gnetServer) OnBoot(engine gnet.Engine) gnet.Action {
	s.engine = engine
	err := s.learnAddr()
	s.booted <- err
	if err != nil {
		return gnet.Shutdown
	}
	return gnet.None
}

func (s *gnetServer) learnAddr() error {
	fd, err := s.engine.Dup()
	if err != nil {
		return fmt.Errorf("dup: %w", err)
	}
	defer unix.Close(fd)
	s.addr, err = localAddr(fd)
	return err
}

// localAddr returns the TCP address a socket is bound to.
func localAddr(fd int) (net.Addr, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}, nil
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}, nil
	}
	return nil, fmt.Errorf("getsockname: not a TCP address: %T", sa)
}

// OnTraffic waits, before it looks at the bytes as one slice, until the first
// frame is whole: gnet joins its pieces anew for every Peek beyond the first.
func (s *gnetServer) OnTraffic(c gnet.Conn) gnet.Action {
	have := c.InboundBuffered()
	if have < HeaderLen {
		return gnet.None
	}
	header, err := c.Peek(HeaderLen)
	if err != nil {
		return gnet.Close
	}
	first, err := frameLen(header)
	if err != nil {
		return gnet.Close
	}
	if have < first {
		return gnet.None
	}
	b, err := c.Peek(have)
	if err != nil {
		return gnet.Close
	}
	n, _, err := whole(b)
	if err != nil {
		return gnet.Close
	}
	if _, err := c.Write(b[:n]); err != nil {
		return gnet.Close
	}
	if _, err := c.Discard(n); err != nil {
		return gnet.Close
	}
	return gnet.None
}

func (s *gnetServer) Addr() net.Addr { return s.addr }

func (s *gnetServer) Close() error {
	if err := s.engine.Stop(context.Background()); err != nil {
		return err
	}
	return <-s.ended
}
