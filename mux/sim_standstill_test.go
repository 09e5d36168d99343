//go:build linux

package mux

import (
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// standStill is a handler that does not return for d of virtual time, in which the network
// goes on.
func (w *lives) standStill(d time.Duration) {
	over := false
	w.s.After(d, func() { over = true })
	if w.s.Settle(); !over {
		w.t.Fatal("no time passed")
	}
}

// A handler does not return for twice the time that others have. What they sent meanwhile
// is handled, none of them is ended, and then they have what was left of their time: one that
// is silent still ends.
func TestStuckHandlerEndsNoOtherConnection(t *testing.T) {
	const limit = time.Second
	stuck := func(w *lives) *func(*Psock, *sgmsg.Message) Verdict {
		next := func(*Psock, *sgmsg.Message) Verdict { return Done }
		w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict {
			if string(msg.AppendTo(nil)[4:]) == "stop" {
				w.standStill(2 * limit)
				return Done
			}
			return next(p, msg)
		})
		return &next
	}
	t.Run("idle", func(t *testing.T) {
		theLives(t, Options{IdleTimeout: limit}, func(w *lives) {
			handled := 0
			*stuck(w) = func(*Psock, *sgmsg.Message) Verdict { handled++; return Done }
			_, cause := w.pair()
			talks, peer := w.pair()
			silent, _ := w.pair()
			w.pass(limit * 7 / 10)
			w.s.After(limit, func() { w.write(peer, frames("meanwhile")) })
			w.write(cause, frames("stop"))
			w.until("the message is handled", func() bool { return handled == 1 })
			w.stands(talks)
			w.stands(silent)
			now := w.l.Now()
			w.endsAt(silent, now+limit/10, now+limit*3/5)
			w.stands(talks)
			w.endsAt(talks, now+limit*7/10, now+limit*3/2)
		})
	})
	t.Run("handshake", func(t *testing.T) {
		o := Options{HandshakeTimeout: limit}
		var w *lives
		o.Handshake = func(p *Psock, msg *sgmsg.Message) Verdict {
			if string(msg.AppendTo(nil)[4:]) == "stop" {
				w.standStill(2 * limit)
			} else {
				p.Establish()
			}
			return Done
		}
		theLives(t, o, func(now *lives) {
			w = now
			_, cause := w.pair()
			login, peer := w.pair()
			w.pass(limit / 2)
			w.s.After(limit, func() { w.write(peer, frames("login")) })
			w.write(cause, frames("stop"))
			w.until("the login is handled", func() bool { return login.State() == Open })
			w.pass(2 * limit)
			w.stands(login)
		})
	})
	t.Run("assembly", func(t *testing.T) {
		theLives(t, Options{AssemblyTimeout: limit}, func(w *lives) {
			handled := 0
			*stuck(w) = func(*Psock, *sgmsg.Message) Verdict { handled++; return Done }
			_, cause := w.pair()
			p, peer := w.pair()
			w.write(peer, frames("a message")[:6])
			w.pass(limit / 2)
			w.s.After(limit, func() { w.write(peer, frames("a message")[6:]) })
			w.write(cause, frames("stop"))
			w.until("the message is handled", func() bool { return handled == 1 })
			w.stands(p)
		})
	})
	t.Run("assembly after a wait", func(t *testing.T) {
		theLives(t, Options{AssemblyTimeout: limit}, func(w *lives) {
			stuck(w)
			_, cause := w.pair()
			p, peer := w.pair()
			w.write(peer, frames("a message")[:6])
			w.until("a part is there", func() bool { return w.l.Stats().BytesIn == 6 })
			p.hold()
			w.pass(limit * 6 / 10)
			p.unhold() // from here on it has limit
			from := w.l.Now()
			w.pass(limit / 10)
			w.write(cause, frames("stop"))
			w.endsAt(p, from+limit*27/10, from+limit*32/10)
		})
	})
	t.Run("send", func(t *testing.T) {
		o := Options{}
		theLivesOn(t, func(ro *ring.Options) { ro.SendTimeout = limit }, o, func(w *lives) {
			stuck(w)
			_, cause := w.pair()
			p, peer := w.pair()
			peer.SetReadBuffer(100)
			var b [1000]byte
			if err := p.SendPayload(b[:]); err != nil {
				t.Fatal(err)
			}
			w.pass(limit / 2)
			got := 0
			read := func() {
				var b [200]byte
				n, _ := peer.Read(b[:]) // EAGAIN
				got += n
			}
			w.s.After(limit, read)
			w.write(cause, frames("stop"))
			w.until("the peer has read it", func() bool { read(); return got == 1004 })
			w.stands(p)
		})
	})
}
