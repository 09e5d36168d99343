//go:build linux

package mux

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// text returns the payload of a message.
func text(msg *sgmsg.Message) string { return string(msg.AppendTo(nil)[4:]) }

// The greeting of the server, the login and the first request, which arrives with it: the
// first message is Handshake's and the second the Handler's.
func TestMessageBehindTheHandshakeGoesTheOrdinaryWay(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		var by []string
		o := Options{
			OrderedReplies: ordered,
			OnOpen: func(p *Psock) {
				if err := p.SendPayload([]byte("hello")); err != nil {
					t.Error(err)
				}
			},
			Handshake: func(p *Psock, msg *sgmsg.Message) Verdict {
				by = append(by, "handshake "+text(msg))
				if err := p.SendPayload([]byte("welcome")); err != nil {
					t.Error(err)
				}
				p.Establish()
				p.Establish() // twice is legal
				return Done
			},
		}
		theLives(t, o, func(w *lives) {
			by = nil
			w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict {
				by = append(by, "handler "+text(msg))
				p.Send(msg)
				return Done
			})
			_, peer := w.pair()
			w.reads(peer, string(frames("hello")))
			w.write(peer, frames("login", "one", "two"))
			w.reads(peer, string(frames("welcome", "one", "two")))
			if got := strings.Join(by, ", "); got != "handshake login, handler one, handler two" {
				t.Errorf("ordered %v: %s", ordered, got)
			}
		})
	}
}

// Behind the handshake messages go to workers, whose replies come in the order of the
// requests; the first number is that of the first of these messages.
func TestRepliesAreInOrderBehindTheHandshake(t *testing.T) {
	o := Options{
		OrderedReplies: true,
		Handshake: func(p *Psock, msg *sgmsg.Message) Verdict {
			p.Send(msg)
			if p.Value() != nil {
				p.Establish()
			}
			p.SetValue(true)
			return Done
		},
	}
	theLives(t, o, func(w *lives) {
		sock := w.socket()
		_, peer := w.pair()
		w.write(peer, frames("user", "password", "a", "b", "c"))
		var rs []*Received
		w.until("all messages are received", func() bool {
			if r, ok := sock.TryRecv(); ok {
				rs = append(rs, r)
			}
			return len(rs) == 3
		})
		for _, i := range []int{2, 0, 1} {
			r := rs[i]
			r.Reply(r.Msg)
			r.Done()
		}
		w.reads(peer, string(frames("user", "password", "a", "b", "c")))
	})
}

// A peer that does not get through the handshake is ended when its time is up, to the
// millisecond, however busy it is; one that does is not.
func TestHandshakeTimesOut(t *testing.T) {
	for _, limit := range []time.Duration{0, 70 * time.Millisecond, 3 * time.Second} {
		want := limit
		if want == 0 {
			want = 10 * time.Second
		}
		o := Options{
			HandshakeTimeout: limit,
			Handshake: func(p *Psock, msg *sgmsg.Message) Verdict {
				if text(msg) == "password" {
					p.Establish()
				}
				return Done
			},
		}
		theLives(t, o, func(w *lives) {
			w.m.Handle(func(*Psock, *sgmsg.Message) Verdict { return Done })
			good, goodPeer := w.pair()
			w.write(goodPeer, frames("password"))
			w.pass(time.Duration(w.s.Rand().Int64N(int64(20 * time.Millisecond))))
			from := w.l.Now()
			silent, _ := w.pair()
			slow, peer := w.pair()
			for range 3 {
				w.pass(want / 4)
				w.write(peer, frames("wait"))
			}
			w.endsAt(silent, from+want, from+want+2*time.Millisecond)
			w.endsAt(slow, from+want, from+want+2*time.Millisecond)
			if _, over := w.ended[good]; over {
				t.Errorf("the established connection ended: %v", w.ended[good].err)
			}
		})
	}
}

// With a negative time-out the handshake may take for ever.
func TestHandshakeWithoutTimeout(t *testing.T) {
	o := Options{HandshakeTimeout: -1, Handshake: func(*Psock, *sgmsg.Message) Verdict { return Done }}
	theLives(t, o, func(w *lives) {
		p, _ := w.pair()
		w.pass(time.Hour)
		if e, over := w.ended[p]; over {
			t.Errorf("it ended at %v: %v", e.at, e.err)
		}
	})
}

// Establish in OnOpen: there is no handshake, for connections that need none.
func TestEstablishInOnOpen(t *testing.T) {
	o := Options{
		OnOpen:    func(p *Psock) { p.Establish() },
		Handshake: func(*Psock, *sgmsg.Message) Verdict { t.Error("Handshake was called"); return End },
	}
	theLives(t, o, func(w *lives) {
		w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict { p.Send(msg); return Done })
		p, peer := w.pair()
		w.write(peer, frames("x"))
		w.reads(peer, string(frames("x")))
		w.pass(time.Minute)
		if e, over := w.ended[p]; over {
			t.Errorf("it ended at %v: %v", e.at, e.err)
		}
	})
}

// What the verdicts of Handshake and its panic do. Messages behind the last one are not
// delivered to anybody.
func TestHandshakeVerdicts(t *testing.T) {
	o := Options{Handshake: func(p *Psock, msg *sgmsg.Message) Verdict {
		switch s := text(msg); s {
		case "drop":
			return Drop
		case "pass":
			return Pass
		case "end":
			p.Send(msg)
			return End
		case "panic":
			panic("no such user")
		default:
			t.Errorf("Handshake was given %q", s)
			return Done
		}
	}}
	theLives(t, o, func(w *lives) {
		w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict { t.Error("the Handler was called"); return Done })
		p, peer := w.pair()
		w.write(peer, frames("drop", "pass", "end", "behind"))
		w.reads(peer, string(frames("end")))
		peer.CloseWrite()
		if e := w.ends(p); e.err != nil {
			t.Errorf("after End: %v, want no error", e.err)
		}
		if n := w.m.Stats().RxDrops; n != 2 {
			t.Errorf("RxDrops is %d, want 2", n)
		}
		p, peer = w.pair()
		w.write(peer, frames("panic", "behind"))
		var pe *PanicError
		if e := w.ends(p); !errors.As(e.err, &pe) || pe.Value != "no such user" {
			t.Errorf("after a panic: %v, want a PanicError", e.err)
		}
	})
}

// A peer that finishes in the middle of the handshake has ended in an orderly way, if it
// did so between messages.
func TestPeerFinishesInTheHandshake(t *testing.T) {
	o := Options{Handshake: func(*Psock, *sgmsg.Message) Verdict { return Done }}
	theLives(t, o, func(w *lives) {
		p, peer := w.pair()
		w.write(peer, frames("user"))
		peer.CloseWrite()
		if e := w.ends(p); e.err != nil || e.at > 5*time.Second {
			t.Errorf("it ended at %v with %v, want no error", e.at, e.err)
		}
		p, peer = w.pair()
		w.write(peer, frames("user")[:6])
		peer.CloseWrite()
		if e := w.ends(p); !errors.Is(e.err, syscall.EPIPE) {
			t.Errorf("inside a message: %v, want EPIPE", e.err)
		}
	})
}

func TestHandshakeTimeoutNeedsHandshake(t *testing.T) {
	o := Options{HandshakeTimeout: time.Second}
	if err := o.fillHandshake(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v, want EINVAL", err)
	}
}
