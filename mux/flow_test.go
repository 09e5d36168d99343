//go:build linux

package mux

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
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
		f := &a.p.flow
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
			for f.barred.Load() {
				w.l.Turn()
			}
		}
	})
}
