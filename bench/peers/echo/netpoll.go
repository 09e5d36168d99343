//go:build unix

package echo

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/cloudwego/netpoll"
)

// netpollServer echoes on netpoll: frames are linked, not copied, from the
// reader to the writer when they are larger than 4 KiB, and one Flush sends
// all that one event brought.
type netpollServer struct {
	loop  netpoll.EventLoop
	addr  net.Addr
	ended chan error // receives the result of Serve
}

func listenNetpoll(addr string) (Server, error) {
	netpoll.SetLoggerOutput(io.Discard)
	ln, err := netpoll.CreateListener("tcp", addr)
	if err != nil {
		return nil, err
	}
	loop, err := netpoll.NewEventLoop(onNetpollRequest)
	if err != nil {
		ln.Close()
		return nil, err
	}
	s := &netpollServer{loop: loop, addr: ln.Addr(), ended: make(chan error, 1)}
	go func() { s.ended <- loop.Serve(ln) }()
	return s, nil
}

// onNetpollRequest runs while the connection has unread bytes, one at a time
// per connection, in a pooled goroutine. It must not return while part of a
// frame is unread, for netpoll would call it again at once; so it lets Next
// block, after it flushed what came before.
func onNetpollRequest(_ context.Context, c netpoll.Connection) error {
	err := echoNetpoll(c.Reader(), c.Writer())
	if err != nil {
		c.Close()
	}
	return err
}

func echoNetpoll(r netpoll.Reader, w netpoll.Writer) error {
	for r.Len() > 0 {
		header, err := r.Peek(HeaderLen)
		if err != nil {
			return err
		}
		n, err := frameLen(header)
		if err != nil {
			return err
		}
		frame, err := r.Next(n)
		if err != nil {
			return err
		}
		if _, err := w.WriteBinary(frame); err != nil {
			return err
		}
		if netpollBuffered(r) {
			continue
		}
		// Flush returns when the socket took the last byte; only then may the
		// reader have the memory of linked frames back.
		if err := w.Flush(); err != nil {
			return err
		}
		if err := r.Release(); err != nil {
			return err
		}
	}
	return nil
}

// netpollBuffered reports whether the next frame can be read without blocking.
func netpollBuffered(r netpoll.Reader) bool {
	have := r.Len()
	if have < HeaderLen {
		return false
	}
	header, err := r.Peek(HeaderLen)
	if err != nil {
		return false
	}
	n, err := frameLen(header)
	return err != nil || n <= have
}

func (s *netpollServer) Addr() net.Addr { return s.addr }

func (s *netpollServer) Close() error {
	// Shutdown closes idle connections and polls for the others every second.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := s.loop.Shutdown(ctx); err != nil {
		return err
	}
	return <-s.ended
}
