//go:build linux

package ring

import (
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/ringtest"
)

// lateWait is a back end whose every sleep is longer by late, as when the process was
// stopped meanwhile.
type lateWait struct {
	backend.Backend
	sim  *ringtest.Sim
	late time.Duration
}

func (b *lateWait) Wait(ev []backend.Event, timeout time.Duration) (int, error) {
	n, err := b.Backend.Wait(ev, timeout)
	if timeout > 0 && b.late > 0 {
		b.sim.After(b.late, func() {})
		b.sim.Settle()
	}
	return n, err
}

// expiries notes when its timer fires and starts it again.
type expiries struct {
	loop *Loop
	at   []time.Duration
	then func()
}

func (e *expiries) Expire(t *Timer) {
	e.at = append(e.at, e.loop.Now())
	if e.then != nil {
		e.then()
	}
}

// lateLoop is a loop over a back end that is late.
func lateLoop(t *testing.T) (*Loop, *lateWait) {
	t.Helper()
	sim := ringtest.New(1, ringtest.Calm())
	b := &lateWait{sim: sim}
	l, err := NewWith(func(c backend.Config) (backend.Backend, error) {
		be, err := sim.Open(c)
		b.Backend = be
		return b, err
	}, small())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, b
}

// A wait that ends two seconds late has counted as a tenth of one more than was asked for.
func TestTimersDoNotCountALateWait(t *testing.T) {
	l, b := lateLoop(t)
	first, second := &expiries{loop: l}, &expiries{loop: l}
	var timers [2]Timer
	l.StartTimer(&timers[0], time.Second, first)
	l.StartTimer(&timers[1], 2*time.Second, second)
	b.late = 2 * time.Second
	l.Turn()
	b.late = 0
	for len(second.at) == 0 {
		l.Turn()
	}
	if got := first.at[0]; got < 3*time.Second-grace || got > 3*time.Second+tick {
		t.Errorf("the timer of 1 s fired after %v of which 2 s hardly count", got)
	}
	if got, want := second.at[0], 4*time.Second-grace; got < want || got > want+2*tick {
		t.Errorf("the timer of 2 s fired after %v, want %v", got, want)
	}
	if timers[0].Armed() || timers[1].Armed() {
		t.Error("a timer is armed after it fired")
	}
}

// A timer whose time came while a handler did not return fires after the next look at the
// system, and not before.
func TestTimerWaitsForALookAfterAStandstill(t *testing.T) {
	l, b := lateLoop(t)
	e := &expiries{loop: l}
	var timer Timer
	l.StartTimer(&timer, 50*time.Millisecond, e)
	l.Post(func() { b.sim.After(time.Second, func() {}); b.sim.Settle() })
	looks := uint64(0)
	e.then = func() { looks = l.Stats().Waits }
	for len(e.at) == 0 {
		l.Turn()
	}
	if looks != 1 {
		t.Errorf("the timer fired after %d looks, want one", looks)
	}
	if e.at[0] != l.Now() || e.at[0] > time.Second+tick {
		t.Errorf("the timer fired at %v", e.at[0])
	}
}

// Handlers that take longer than is granted, in every turn, do not keep timers from firing.
func TestTimersFireThoughEveryTurnStandsStill(t *testing.T) {
	l, b := lateLoop(t)
	e := &expiries{loop: l}
	var timer Timer
	l.EachTurn(func() bool {
		b.sim.After(3*grace/2, func() {})
		b.sim.Settle()
		return true
	})
	var busy Task // keeps the loop from sleeping
	busy.Run = func() { l.PostTask(&busy) }
	l.PostTask(&busy)
	l.Turn()
	l.StartTimer(&timer, time.Second, e)
	turns := 0
	for ; len(e.at) == 0 && turns < 100; turns++ {
		l.Turn()
	}
	if want := int(time.Second/grace) + 2; turns != want {
		t.Errorf("a timer of one second fired in turn %d of turns that count %v each, want %d", turns, grace, want)
	}
}

// A timer that is started after a standstill in the same turn has its full time, and not
// more.
func TestTimerStartedAfterAStandstill(t *testing.T) {
	l, b := lateLoop(t)
	e := &expiries{loop: l}
	var other, timer Timer
	l.StartTimer(&other, time.Hour, e)
	var start time.Duration
	l.Post(func() {
		b.sim.After(time.Second, func() {})
		b.sim.Settle()
		start = l.Now()
		l.StartTimer(&timer, 300*time.Millisecond, e)
	})
	for len(e.at) == 0 {
		l.Turn()
	}
	if d := e.at[0] - start; d < 300*time.Millisecond || d > 300*time.Millisecond+2*tick {
		t.Errorf("a timer of 300 ms fired after %v", d)
	}
}
