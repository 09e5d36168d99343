package muxengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/internal/conformance/lowers"
	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// Name is what outcomes of this engine are called in scripts.
const Name = "mux"

// unsupported is the outcome of what package mux has nothing for.
const unsupported = "not supported"

// Engine is the conformance.Engine on package mux. It is for one script, and for one goroutine.
type Engine struct {
	loop    *ring.Loop
	muxes   []*group
	sockets []*socket
	conns   []*conn
	calls   []*call
}

// New returns an engine without any sockets, on a loop of its own that is closed by Close.
func New(backend ring.Backend) (*Engine, error) {
	l, err := ring.New(ring.Options{
		Backend: backend, Buffers: 64, RegionBytes: 16 << 20, Name: "conformance",
		Linger: time.Millisecond, // peers in scripts do not answer an end with theirs
	})
	if err != nil {
		return nil, err
	}
	if err := l.Start(); err != nil {
		return nil, err
	}
	return &Engine{loop: l}, nil
}

// Close ends all that the engine has made.
func (e *Engine) Close() error {
	var errs []error
	for _, g := range e.muxes {
		if g.mux != nil {
			errs = append(errs, g.mux.Close())
		}
	}
	for _, c := range e.calls {
		<-c.done
	}
	for _, c := range e.conns {
		c.giveUp()
		c.Conn.Close()
	}
	return errors.Join(append(errs, e.loop.Close())...)
}

// Do implements conformance.Engine.
func (e *Engine) Do(a *conformance.Action) string {
	switch a.Object {
	case conformance.Socket:
		if a.N > len(e.sockets) {
			return fmt.Sprintf("no socket %d", a.N)
		}
		return e.doSocket(e.sockets[a.N-1], a)
	case conformance.Conn, conformance.Peer:
		if a.N > len(e.conns) {
			return fmt.Sprintf("no %s %d", a.Object, a.N)
		}
		c := e.conns[a.N-1]
		if a.Object == conformance.Peer {
			return c.Do(&c.Peer, a, e.settle)
		}
		return e.doConn(c, a)
	}
	switch a.Verb {
	case "open":
		return e.open(a)
	case "wait":
		<-time.After(time.Duration(a.Numbers[0]) * time.Millisecond)
		e.settle()
		return "ok"
	case "result":
		if a.Numbers[0] < 1 || a.Numbers[0] > len(e.calls) {
			return fmt.Sprintf("no call %d", a.Numbers[0])
		}
		e.settle()
		return e.calls[a.Numbers[0]-1].result()
	case "stats":
		return e.totals(a)
	}
	return unsupported
}

// open makes a socket or a conn.
func (e *Engine) open(a *conformance.Action) string {
	defer e.settle()
	kind := a.Words[0]
	switch kind {
	case "dgram", "seqpacket", "stream":
		if len(a.Numbers) > 0 { // there are no protocols
			return unsupported
		}
		g := &group{engine: e}
		types := map[string]mux.SocketType{"dgram": mux.Dgram, "seqpacket": mux.Seqpacket, "stream": 100} // the last is none
		s := g.add(types[kind])
		if kind == "stream" {
			if err := g.make(conformance.Parsers[0], 0, 0); err != nil {
				return name(errors.Join(err, g.mux.Close()))
			}
		}
		e.muxes = append(e.muxes, g)
		return e.number(s)
	}
	l, err := lowers.Open(kind, e.settle)
	if err != nil {
		return name(err)
	}
	e.conns = append(e.conns, &conn{engine: e, Conn: l})
	return fmt.Sprintf("conn %d", len(e.conns))
}

// number gives a socket its number.
func (e *Engine) number(s *socket) string {
	e.sockets = append(e.sockets, s)
	return fmt.Sprintf("socket %d", len(e.sockets))
}

// name returns the name of an error, "ok" for none: of the errno in it if there is one.
func name(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno):
		return lowers.ErrnoName(errno)
	case errors.Is(err, context.DeadlineExceeded):
		return "context.DeadlineExceeded"
	case errors.Is(err, net.ErrClosed):
		return "net.ErrClosed"
	}
	return strings.ReplaceAll(err.Error(), "\n", "; ")
}

// Backend returns the name of what the loop runs on.
func (e *Engine) Backend() string { return e.loop.Backend() }
