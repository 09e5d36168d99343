//go:build linux

package mux

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
)

// waiting returns the burst of a message that nobody receives.
func (w *story) waiting(a *teller) (*steer, *burst) {
	w.socket()
	st := w.m.steer
	a.say(0, 1)
	w.until("a message is queued", func() bool { return st.shared.head() != nil })
	return st, st.shared.head()
}

// await waits for another goroutine, as closely as two processors allow.
func await(done func() bool) {
	for n := 0; !done(); n++ {
		if n > 1000 {
			runtime.Gosched()
		}
	}
}

// The out queue of a connection gets room while a reader finds out that it has none. Since
// nobody tells when what others pushed has been sent, the loop is asked to look whenever
// the connection is barred for that.
func TestFlowBarredWhileRoomIsMadeIsLookedAfter(t *testing.T) {
	stories(t, Options{}, func(w *story) {
		a := w.open(60, 60)
		st, b := w.waiting(a)
		f := a.p.flow
		var asked, told atomic.Int32
		var others sync.WaitGroup
		others.Go(func() { // as Stream.Crowded, which tells nobody
			for n := told.Load(); n >= 0; n = told.Load() {
				a.p.overdrawn.Store(true)
				asked.Store(n)
				for range n % 128 {
					told.Load()
				}
				a.p.overdrawn.Store(false)
				await(func() bool { return told.Load() != n })
			}
		})
		defer others.Wait()
		defer told.Store(-1)
		for n := int32(1); n <= 500; n++ {
			told.Store(n)
			await(func() bool { return asked.Load() == n })
			st.lock()
			barred, looked := st.bars(b), f.looking.Load()
			st.unlock()
			if barred && !looked {
				t.Fatal("nobody will let the connection in")
			}
			for f.gate.Load() != gateOpen {
				w.l.Turn()
			}
		}
	})
}

// Readers at one burst find out what is left of it without the lock, and one of them that
// leaves it may look when the others have just ended it. That does not bar the flow: the
// message that all replies wait for may be one that has not been queued yet.
func TestFlowIsNotBarredForABurstThatIsDone(t *testing.T) {
	stories(t, Options{OrderedReplies: true}, func(w *story) {
		w.m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
			if number(msg) < 2 {
				return Pass
			}
			from.Send(msg)
			return Done
		})
		rd := w.socket().Reader()
		a := w.open(100, 100)
		a.say(0, 1)
		var r *Received
		w.until("a reader has the first message", func() (ok bool) {
			r, _ = rd.Next(t.Context())
			return r != nil
		})
		st, b := w.m.steer, rd.burst
		st.mu.Lock() // so that the second one stays with its loop
		a.say(1, 100)
		for a.p.holds == 0 { // too many replies wait
			if !w.s.Step(func() { w.l.Turn() }, a.step) {
				t.Fatal("the connection is not held")
			}
		}
		// The reader ends the first message, and finds no other.
		w.answer(r, 100)
		rd.finish()
		if _, ok := b.claim(); ok {
			t.Fatal("there is another message")
		}
		if st.bars(b) {
			t.Error("the flow is barred")
		}
		st.unlock()
		w.workers = append(w.workers, func() bool {
			r, err := rd.Next(t.Context())
			if err == nil {
				w.answer(r, 100)
			}
			return err == nil
		})
		w.until("everything is answered", func() bool { return len(a.got) == 100 })
		a.answers(0, 100)
		rd.Close()
	})
}
