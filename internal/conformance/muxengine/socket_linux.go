package muxengine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/mux"
)

// socket is a message socket. It is made when it is needed.
type socket struct {
	group   *group
	options mux.SocketOptions
	socket  *mux.Socket

	in, out bool // tokens that poll has taken

	recvTimeout, sendTimeout time.Duration // 0 is none
}

// make makes the socket.
func (s *socket) make() (err error) {
	if s.socket == nil {
		s.socket, err = s.group.mux.OpenSocket(s.options)
	}
	return err
}

// The smallest buffers of Linux on 64 bits: SOCK_MIN_RCVBUF and SOCK_MIN_SNDBUF of
// include/net/sock.h.
const (
	leastRecv = 2304
	leastSend = 4608
)

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
		}
		if s.socket != nil {
			return unsupported
		}
		switch a.Words[0] {
		case "rcvbuf":
			s.options.RecvBytes = max(2*a.Numbers[0], leastRecv)
		case "sndbuf":
			s.options.SendBytes = max(2*a.Numbers[0], leastSend)
		case "rcvlowat":
			s.options.LowWater = a.Numbers[0]
		}
		return "ok"
	case "disable", "enable":
		if s.socket == nil {
			s.options.RecvDisabled = a.Verb == "disable"
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
	case "send":
		return e.send(s, a)
	case "stats":
		return e.stats(g, a)
	}
	defer e.settle()
	switch a.Verb {
	case "unattach":
		return e.unattach(s, a)
	case "sendeach":
		return e.sendEach(s, a)
	case "disable", "enable":
		s.socket.SetRecvDisabled(a.Verb == "disable")
		return "ok"
	case "setsockopt", "getsockopt":
		return s.option(a)
	case "poll":
		return s.poll()
	case "close":
		return s.close()
	case "error":
		return "none" // a mux.Socket has no error to be asked for
	}
	return unsupported
}

// kcmRecvDisable is the option KCM_RECV_DISABLE, the only one there is, from
// include/uapi/linux/kcm.h.
const kcmRecvDisable = 1

// option sets or gets the one option that a mux.Socket has too.
func (s *socket) option(a *conformance.Action) string {
	if a.Words[0] != "kcm" || a.Numbers[0] != kcmRecvDisable || a.Numbers[1] != 4 {
		return unsupported
	}
	if a.Verb == "setsockopt" {
		s.socket.SetRecvDisabled(a.Numbers[2] != 0)
		return "ok"
	}
	if s.socket.RecvDisabled() {
		return "1 in 4 bytes"
	}
	return "0 in 4 bytes"
}

// close closes the socket.
func (s *socket) close() string {
	if i := slices.Index(s.group.sockets, s); i >= 0 {
		s.group.sockets = slices.Delete(s.group.sockets, i, i+1)
	}
	return name(s.socket.Close())
}

// poll tells what the channels for readiness say. A token is good until there is nothing to
// receive, or no room, which is what arms the channel again.
func (s *socket) poll() string {
	select {
	case <-s.socket.Readable():
		s.in = true
	default:
	}
	if s.in {
		_, _, err := s.socket.RecvMsg(context.Background(), nil, mux.Peek|mux.DontWait)
		s.in = err == nil
	}
	select {
	case <-s.socket.Writable():
		s.out = true
	default:
	}
	var set []string
	if s.in {
		set = append(set, "in")
	}
	if s.out {
		set = append(set, "out")
	}
	if set == nil {
		return "nothing"
	}
	return strings.Join(set, " ")
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
