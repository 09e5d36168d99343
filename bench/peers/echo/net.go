package echo

import (
	"bufio"
	"io"
	"net"
	"sync"
)

// bufferSize is the read buffer of every engine that lets one choose: large
// enough for a batch of small frames or three of 64 KiB.
const bufferSize = 256 << 10

// netServer accepts on package net and runs serve in a goroutine per
// connection.
type netServer struct {
	ln    net.Listener
	serve func(net.Conn)
	done  sync.WaitGroup
	stop  func() // called when the last connection is gone; may be nil

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

// listenNet is the server that a Go programmer writes first and then tunes:
// a goroutine per connection, buffered both ways.
func listenNet(addr string) (Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return startNet(ln, serveNet, nil), nil
}

func startNet(ln net.Listener, serve func(net.Conn), stop func()) *netServer {
	s := &netServer{ln: ln, serve: serve, stop: stop, conns: make(map[net.Conn]struct{})}
	s.done.Go(s.accept)
	return s
}

func (s *netServer) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		if !s.track(c) {
			c.Close()
			return
		}
		s.done.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

func (s *netServer) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[c] = struct{}{}
	}
	return !s.closed
}

func (s *netServer) Addr() net.Addr { return s.ln.Addr() }

func (s *netServer) Close() error {
	err := s.ln.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
	if s.stop != nil {
		s.stop()
	}
	return err
}

// serveNet echoes until the peer ends its stream. Replies are flushed when the
// read buffer holds no further whole frame, so before every read that may
// block.
func serveNet(c net.Conn) {
	r := bufio.NewReaderSize(c, bufferSize)
	w := bufio.NewWriterSize(c, 64<<10)
	var large []byte
	for {
		header, err := r.Peek(HeaderLen)
		if err != nil {
			return
		}
		n, err := frameLen(header)
		if err != nil {
			return
		}
		if n <= r.Size() {
			frame, err := r.Peek(n)
			if err != nil {
				return
			}
			w.Write(frame) // an error stays in w and Flush returns it
			r.Discard(n)
		} else {
			// ReadFull drains the buffer and then reads the socket straight
			// into large; Write passes such a slice on without a copy.
			large = grow(large[:0], n)[:n]
			if _, err := io.ReadFull(r, large); err != nil {
				return
			}
			w.Write(large)
		}
		if !frameBuffered(r) {
			if err := w.Flush(); err != nil {
				return
			}
		}
	}
}

// frameBuffered reports whether the next frame can be taken from r without
// reading. A frame that closes the connection counts as one.
func frameBuffered(r *bufio.Reader) bool {
	if r.Buffered() < HeaderLen {
		return false
	}
	header, _ := r.Peek(HeaderLen)
	n, err := frameLen(header)
	return err != nil || n <= r.Buffered()
}
