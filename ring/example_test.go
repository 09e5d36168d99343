//go:build linux

package ring_test

import (
	"fmt"
	"io"
	"log"
	"net"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// echo sends back what arrives, and leaves it unread while its peer takes nothing.
type echo struct {
	waiter   ring.Waiter
	finished bool // the peer has
	closed   chan<- error
}

func (e *echo) pump(s *ring.Stream) {
	for !s.Overdrawn() {
		chunk, ok := s.Peek()
		if !ok {
			if e.finished {
				s.Drain(nil) // sends what is queued, then closes
			}
			return
		}
		var m sgmsg.Message
		m.AppendShared(chunk) // a reference, not a copy
		if s.Send(&m) != nil {
			m.Release()
			return
		}
		s.Consume(int(chunk.Len))
	}
	s.Await(&e.waiter) // whose Wake leads to Check
}

func (e *echo) DataReady(s *ring.Stream) (holds bool) {
	e.pump(s)
	return false
}

func (e *echo) StateChange(s *ring.Stream, err error) {
	if err != nil {
		s.Close(err)
		return
	}
	e.finished = true
	e.pump(s)
}

func (e *echo) Check(s *ring.Stream)                                 { e.pump(s) }
func (e *echo) Closed(_ *ring.Stream, cause error, _ *sgmsg.Message) { e.closed <- cause }

func (*echo) Opened(*ring.Stream)              {} // only for streams made by Dial
func (*echo) Expired(*ring.Stream, uint32)     {} // no timer is started
func (*echo) Evict(*ring.Stream, *sgmsg.Arena) {} // nothing consumed is held

// A server on one loop, and a client on an ordinary connection.
func Example() {
	l, err := ring.New(ring.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := l.Start(); err != nil {
		log.Fatal(err)
	}

	closed := make(chan error, 1)
	accepted := func(fd int) {
		e := &echo{closed: closed}
		s, err := l.Attach(fd, e)
		if err != nil {
			l.Discard(fd)
			return
		}
		e.waiter.Wake = s.Kick
	}
	addr, fd := listen()
	var failed error
	err = l.Do(func() { // Listen belongs to the loop's thread, as most methods do
		_, failed = l.Listen(fd, accepted, func(error) {})
	})
	if err != nil || failed != nil {
		log.Fatal(err, failed)
	}

	c, err := net.Dial("tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(c, "hello, ring")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		log.Fatal(err)
	}
	reply, err := io.ReadAll(c)
	if err != nil {
		log.Fatal(err)
	}
	c.Close()
	fmt.Printf("%s\n", reply)
	fmt.Println("closed:", <-closed)
	if err := l.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// hello, ring
	// closed: <nil>
}

// listen returns a listening socket of loopback: its address, and a descriptor that
// is the caller's.
func listen() (addr string, fd int) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer ln.Close()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		log.Fatal(err)
	}
	var failed error
	err = raw.Control(func(s uintptr) { fd, failed = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil || failed != nil {
		log.Fatal(err, failed)
	}
	return ln.Addr().String(), fd
}
