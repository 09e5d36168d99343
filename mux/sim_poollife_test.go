//go:build linux

package mux

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// How the options of a connection's life apply to those of a Pool.

const poolServer = "10.0.0.1:80"

// pooled opens a pool of one connection to a server on the same loop, whose handler is
// given, and closes both after tell.
func (w *lives) pooled(h Handler, tell func(c *Pool)) {
	w.t.Helper()
	theirs, err := New(Options{Format: strparser.Length32, MaxMessage: 32 << 10, On: []*ring.Loop{w.l}})
	if err != nil {
		w.t.Fatal(err)
	}
	theirs.Handle(h)
	serves(w.t, w.s, theirs, poolServer)
	c, err := w.m.Pool(PoolOptions{Network: "tcp", Addresses: []string{poolServer}, RetryMin: time.Hour, RetryMax: time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	tell(c)
	c.Close()
	theirs.Close()
	w.until("both have ended", func() bool { return w.m.Psocks()+theirs.Psocks() == 0 })
}

// is waits until the pool's connection is in a state.
func (w *lives) is(c *Pool, st ConnState) ConnHealth {
	w.t.Helper()
	w.until("the connection is "+st.String(), func() bool { return c.Health()[0].State == st })
	return c.Health()[0]
}

// A pool's connection is up when it is established, and not before; then sockets send on
// it.
func TestPoolConnectionIsUpWhenEstablished(t *testing.T) {
	o := Options{
		OnOpen: func(p *Psock) {
			if err := p.SendPayload([]byte("login")); err != nil {
				t.Error(err)
			}
		},
		Handshake: func(p *Psock, msg *sgmsg.Message) Verdict { p.Establish(); return Done },
	}
	theLives(t, o, func(w *lives) {
		var login, request *Psock
		h := func(p *Psock, msg *sgmsg.Message) Verdict {
			if text(msg) == "login" {
				login = p
			} else {
				request = p
			}
			return Done
		}
		w.pooled(h, func(c *Pool) {
			sock := w.socket()
			var msg sgmsg.Message
			if err := msg.AppendCopy(w.l, frames("request"), 0); err != nil {
				t.Fatal(err)
			}
			if err := sock.TrySend(&msg); err != nil {
				t.Fatal(err)
			}
			w.until("the server has the login", func() bool { return login != nil })
			w.is(c, ConnGreeting)
			w.pass(time.Second)
			if got := c.Health()[0].State; got != ConnGreeting || request != nil {
				t.Fatalf("the connection is %v, a message was sent: %v; want greeting and none", got, request != nil)
			}
			if err := login.SendPayload([]byte("welcome")); err != nil {
				t.Fatal(err)
			}
			w.is(c, ConnUp)
			w.until("the message is sent", func() bool { return request != nil })
		})
		if len(w.ended) != 1 {
			t.Errorf("OnClose was called %d times, want once", len(w.ended))
		}
	})
}

// A pool's connection that does not get through its handshake has failed, and OnClose is
// called as OnOpen was.
func TestPoolConnectionFailsInTheHandshake(t *testing.T) {
	opened := 0
	o := Options{
		OnOpen:           func(p *Psock) { opened++ },
		Handshake:        func(p *Psock, msg *sgmsg.Message) Verdict { return Done },
		HandshakeTimeout: 2 * time.Second,
	}
	theLives(t, o, func(w *lives) {
		opened = 0
		w.pooled(nil, func(c *Pool) {
			w.is(c, ConnGreeting)
			h := w.is(c, ConnWaiting)
			if !errors.Is(h.Cause, syscall.ETIMEDOUT) || h.Failures != 1 {
				t.Errorf("failures: %d, the last %v; want one, ETIMEDOUT", h.Failures, h.Cause)
			}
			if opened != 1 || len(w.ended) != 1 {
				t.Errorf("OnOpen was called %d times, OnClose %d times", opened, len(w.ended))
			}
		})
	})
}

// What a pool keeps up is not ended for being idle.
func TestPoolConnectionIsNeverIdle(t *testing.T) {
	theLives(t, Options{IdleTimeout: idleTime}, func(w *lives) {
		w.pooled(nil, func(c *Pool) {
			w.is(c, ConnUp)
			w.pass(20 * idleTime)
			if h := c.Health()[0]; h.State != ConnUp || h.Failures != 0 || h.For < 20*idleTime {
				t.Errorf("the connection is %v for %v, after %d failures", h.State, h.For, h.Failures)
			}
		})
	})
}
