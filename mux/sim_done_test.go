//go:build linux

package mux

import (
	"context"
	"testing"
)

// Done may call anything that does not block: nothing of the client is held meanwhile, also
// when it is the end of its connection that ends the call, which cannot be sent again.
func TestDoneIsCalledWithoutALock(t *testing.T) {
	calls(t, ClientOptions{}, func(w *clientWorld) {
		w.tell = func(c *simCall) {
			if !w.cl.losing.TryLock() {
				t.Error("Done is called while the client looks for lost calls")
				return
			}
			w.cl.losing.Unlock()
		}
		c := w.call(true)
		w.arrive(1)
		w.cl.closeSockets()
		w.hangUp(nil)
		w.until("the call has ended", func() bool { return c.ends > 0 })
		w.ended(c, ErrClosed)
	})
}

// Who waits for the calls to end waits for Done as well, which may make the next call all the
// same.
func TestDrainWaitsForDone(t *testing.T) {
	calls(t, ClientOptions{InFlight: 1}, func(w *clientWorld) {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		again := false
		w.tell = func(c *simCall) {
			if !again {
				again = true
				w.call(false)
				return
			}
			if err := w.cl.drain(now); err != context.Canceled {
				t.Errorf("no call is out, although Done has not returned: %v", err)
			}
		}
		c := w.call(false)
		w.arrive(1)
		w.answer(w.asked[0])
		w.arrive(2)
		w.ended(c, nil)
		w.answer(w.asked[1])
		w.until("the second has ended", func() bool { return w.calls[1].ends > 0 })
		if err := w.cl.drain(now); err != nil {
			t.Errorf("after that: %v", err)
		}
	})
}
