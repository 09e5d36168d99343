//go:build iouringgo

package echo

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/iceber/iouring-go"
	"golang.org/x/sys/unix"
)

// iouringEntries is the size of the submission queue, and so the most requests
// that one submission carries.
const iouringEntries = 1024

// iouringServer echoes on the engine of iouring-go. That engine knows one
// completion per request, so a connection has at most one recv and one send
// under way. One goroutine takes all results that are there, makes the next
// requests from them, and submits those with one system call.
//
// iouring-go pulls unexported functions of package syscall by go:linkname, which
// the linker refuses since Go 1.23. So this file needs a build tag, and a
// program with it the linker flag -checklinkname=0:
//
//	go build -tags iouringgo -ldflags=-checklinkname=0 ./cmd/peer
//
// Sockets are blocking: io_uring answers EAGAIN on a non-blocking one instead
// of waiting.
type iouringServer struct {
	ring     *iouring.IOURing
	listener int
	addr     net.Addr
	results  chan iouring.Result
	stop     chan struct{}
	done     sync.WaitGroup

	// The rest belongs to the goroutine run.
	conns    map[*iouringConn]struct{}
	requests []iouring.PrepRequest // to submit in this turn
	inflight int                   // requests submitted and not completed
	stopping bool
}

// iouringConn has two buffers: in fills while out is sent. They change places
// when out has been sent and in holds whole frames.
type iouringConn struct {
	fd      int
	in      []byte
	out     []byte // what is left to send
	outBase []byte // the buffer out is part of
	recving bool
	sending bool
	ended   bool // nothing more will be read
	failed  bool // nothing more will be written either
}

// The info of a request tells whose it is.
type (
	iouringAccept struct{}
	iouringRecv   struct{ *iouringConn }
	iouringSend   struct{ *iouringConn }
)

func listenIouring(addr string) (Server, error) {
	fd, bound, err := listenBlocking(addr)
	if err != nil {
		return nil, err
	}
	ring, err := iouring.New(iouringEntries)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("io_uring_setup: %w", err)
	}
	s := &iouringServer{
		ring:     ring,
		listener: fd,
		addr:     bound,
		results:  make(chan iouring.Result, iouringEntries),
		stop:     make(chan struct{}),
		conns:    make(map[*iouringConn]struct{}),
	}
	s.accept()
	if err := s.submit(); err != nil {
		ring.Close()
		unix.Close(fd)
		return nil, fmt.Errorf("submit: %w", err)
	}
	s.done.Go(s.run)
	return s, nil
}

// listenBlocking returns a blocking listening TCP socket.
func listenBlocking(addr string) (fd int, bound net.Addr, err error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return -1, nil, err
	}
	domain, sa := unix.AF_INET6, unix.Sockaddr(nil)
	if ip4 := tcp.IP.To4(); ip4 != nil {
		domain, sa = unix.AF_INET, &unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(ip4)}
	} else {
		sa6 := &unix.SockaddrInet6{Port: tcp.Port}
		copy(sa6.Addr[:], tcp.IP)
		sa = sa6
	}
	fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, nil, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return -1, nil, os.NewSyscallError("setsockopt", err)
	}
	// Accepted sockets inherit TCP_NODELAY from the listener.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return -1, nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		return -1, nil, os.NewSyscallError("bind", err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return -1, nil, os.NewSyscallError("listen", err)
	}
	bound, err = localAddr(fd)
	return fd, bound, err
}

// run is the loop: results in, requests out, until stopped and the last
// request has completed.
func (s *iouringServer) run() {
	stop := s.stop
	for s.inflight > 0 {
		select {
		case r := <-s.results:
			s.completed(r)
		case <-stop:
			stop = nil
			s.shutdown()
		}
		for more := true; more && len(s.requests) < iouringEntries/2; {
			select {
			case r := <-s.results:
				s.completed(r)
			default:
				more = false
			}
		}
		if err := s.submit(); err != nil {
			panic(fmt.Sprintf("iouring-go: submit: %v", err))
		}
	}
}

// shutdown makes every outstanding request complete.
func (s *iouringServer) shutdown() {
	s.stopping = true
	unix.Shutdown(s.listener, unix.SHUT_RD)
	for c := range s.conns {
		unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
}

func (s *iouringServer) submit() error {
	if len(s.requests) == 0 {
		return nil
	}
	_, err := s.ring.SubmitRequests(s.requests, s.results)
	s.inflight += len(s.requests)
	s.requests = s.requests[:0]
	return err
}

func (s *iouringServer) accept() {
	s.requests = append(s.requests, iouring.Accept4(s.listener, unix.SOCK_CLOEXEC).WithInfo(iouringAccept{}))
}

func (s *iouringServer) completed(r iouring.Result) {
	s.inflight--
	n, err := iouringResult(r)
	switch info := r.GetRequestInfo().(type) {
	case iouringAccept:
		s.accepted(n, err)
	case iouringRecv:
		info.received(n, err)
		s.next(info.iouringConn)
	case iouringSend:
		info.sent(n, err)
		s.next(info.iouringConn)
	}
}

// iouringResult returns the result of a completed request. ReturnInt would not
// do: this version forgets to resolve recv and send.
func iouringResult(r iouring.Result) (int, error) {
	n, err := r.(iouring.Request).GetRes()
	if err == nil && n < 0 {
		return 0, unix.Errno(-n)
	}
	return n, err
}

func (s *iouringServer) accepted(fd int, err error) {
	if s.stopping {
		if err == nil {
			unix.Close(fd)
		}
		return
	}
	s.accept()
	if err != nil {
		return // the connection is gone already, or descriptors are short
	}
	c := &iouringConn{fd: fd, in: make([]byte, 0, bufferSize)}
	s.conns[c] = struct{}{}
	s.next(c)
}

func (c *iouringConn) received(n int, err error) {
	c.recving = false
	switch {
	case errors.Is(err, unix.EINTR):
	case err != nil:
		c.ended, c.failed = true, true
	case n == 0:
		c.ended = true
	default:
		c.in = c.in[:len(c.in)+n]
	}
}

func (c *iouringConn) sent(n int, err error) {
	c.sending = false
	switch {
	case errors.Is(err, unix.EINTR):
	case err != nil:
		c.ended, c.failed = true, true
	default:
		c.out = c.out[n:]
	}
}

// next gives c the requests that its state asks for. While whole frames wait
// for out to be sent, nothing is read: that is the backpressure.
func (s *iouringServer) next(c *iouringConn) {
	n, need, err := whole(c.in)
	if err != nil {
		c.ended, c.failed = true, true
	}
	if n > 0 && len(c.out) == 0 && !c.recving && !c.failed {
		spare := c.outBase
		if spare == nil {
			spare = make([]byte, 0, bufferSize)
		}
		c.outBase, c.out = c.in, c.in[:n]
		c.in = append(grow(spare[:0], len(c.in)-n), c.in[n:]...)
		n = 0
	}
	if c.failed && (c.recving || c.sending) {
		unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
	if len(c.out) > 0 && !c.sending && !c.failed {
		c.sending = true
		s.requests = append(s.requests, iouring.Send(c.fd, c.out, unix.MSG_NOSIGNAL).WithInfo(iouringSend{c}))
	}
	if n == 0 && !c.recving && !c.ended {
		c.in = grow(c.in, max(need, len(c.in)+1))
		c.recving = true
		s.requests = append(s.requests, iouring.Recv(c.fd, c.in[len(c.in):cap(c.in)], 0).WithInfo(iouringRecv{c}))
	}
	if !c.recving && !c.sending {
		unix.Close(c.fd)
		delete(s.conns, c)
	}
}

func (s *iouringServer) Addr() net.Addr { return s.addr }

func (s *iouringServer) Close() error {
	close(s.stop)
	s.done.Wait()
	unix.Close(s.listener)
	return s.ring.Close()
}
