package muxengine

import (
	"context"
	"fmt"
	"time"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/mux"
)

// socket is a message socket. It is made when it is needed.
type socket struct {
	group   *group
	options mux.SocketOptions
	socket  *mux.Socket

	recvTimeout, sendTimeout time.Duration // 0 is none
}

// make makes the socket.
func (s *socket) make() (err error) {
	if s.socket == nil {
		s.socket, err = s.group.mux.OpenSocket(s.options)
	}
	return err
}

// leastRecv is the smallest receive buffer of Linux on 64 bits, SOCK_MIN_RCVBUF of
// include/net/sock.h.
const leastRecv = 2304

// doSocket carries out an action on a socket.
func (e *Engine) doSocket(s *socket, a *conformance.Action) string {
	g := s.group
	switch a.Verb {
	case "set":
		switch a.Words[0] {
		case "rcvtimeo":
			s.recvTimeout = time.Duration(a.Numbers[0]) * time.Millisecond
			return "ok"
		case "sndtimeo":
			s.sendTimeout = time.Duration(a.Numbers[0]) * time.Millisecond
			return "ok"
		case "rcvbuf", "rcvlowat":
			if s.socket != nil {
				return unsupported
			}
			if a.Words[0] == "rcvlowat" {
				s.options.LowWater = a.Numbers[0]
			} else {
				s.options.RecvBytes = max(2*a.Numbers[0], leastRecv)
			}
			return "ok"
		}
	case "clone":
		if s.socket != nil {
			return e.clone(s)
		}
		return e.number(g.add(s.options.Type))
	case "attach":
		parser := conformance.Parsers[0]
		if len(a.Words) > 0 {
			parser = a.Words[0]
		}
		c, problem := e.target(a)
		if c == nil {
			return problem
		}
		defer e.settle()
		return e.attach(s, c, parser)
	}
	if g.mux == nil || s.socket == nil {
		if err := g.make(conformance.Parsers[0], 0, 0); err != nil {
			return name(err)
		}
	}
	switch a.Verb {
	case "recv":
		return e.recv(s, a)
	case "close":
		defer e.settle()
		return name(s.socket.Close())
	case "error":
		return "none" // sockets have none
	}
	return unsupported
}

// clone makes another socket of the multiplexor.
func (e *Engine) clone(s *socket) string {
	defer e.settle()
	c, err := s.socket.Clone()
	if err != nil {
		return name(err)
	}
	n := s.group.add(c.Type())
	n.socket = c
	return e.number(n)
}

// target returns the conn that is an action's target.
func (e *Engine) target(a *conformance.Action) (c *conn, problem string) {
	switch {
	case a.Target != conformance.Conn:
		return nil, unsupported // a mux.Socket is no descriptor
	case a.TargetN > len(e.conns):
		return nil, fmt.Sprintf("no conn %d", a.TargetN)
	}
	return e.conns[a.TargetN-1], ""
}

// recv receives a message.
func (e *Engine) recv(s *socket, a *conformance.Action) string {
	if a.Has("waitall") || a.Has("fault") {
		return unsupported
	}
	recv := func(ctx context.Context) string {
		r, err := s.socket.Recv(ctx)
		if err != nil {
			return name(err)
		}
		b := r.Msg.AppendTo(nil)
		r.Done()
		return conformance.Join(fmt.Sprint(len(b)), "eor", conformance.Describe(b))
	}
	if !a.Has("wait") {
		defer e.settle()
		return recv(expired)
	}
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if s.recvTimeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, s.recvTimeout)
	}
	return e.call(func() string {
		defer cancel()
		return recv(ctx)
	})
}

var expired = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
