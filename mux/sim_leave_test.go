//go:build linux

package mux

import (
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
)

// How a connection leaves while workers are at its messages.

// A handler drains its connection and passes the present message on; just then a worker
// ends the last message before. The present one is answered all the same.
func TestMessagePassedAfterDrainIsAnsweredThoughWorkersHadNothing(t *testing.T) {
	stories(t, Options{}, func(w *story) {
		sock := w.socket()
		var r *Received
		w.m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
			if number(msg) == 1 {
				from.Drain()
				w.answer(r, 60)
				r.Done()
			}
			return Pass
		})
		received := func() bool {
			x, ok := sock.TryRecv()
			if ok {
				r = x
			}
			return ok
		}
		a := w.open(60, 60)
		a.say(0, 1)
		w.until("a worker has the first message", received)
		a.say(1, 2)
		w.until("it has the second", received)
		w.quiet() // what waits for the end of the first happens
		w.answer(r, 60)
		r.Done()
		w.until("the connection has ended", func() bool { return w.m.Psocks() == 0 })
		w.quiet()
		a.answers(0, 2)
	})
}
