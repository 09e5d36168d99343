package muxengine

import (
	"testing"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/ring"
)

func newEngine(t *testing.T) *Engine {
	t.Helper()
	e, err := New(ring.Epoll)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// play runs a script and compares.
func play(t *testing.T, script string) {
	t.Helper()
	s, err := conformance.ParseScript(script)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range conformance.Compare(s, Name, conformance.Play(newEngine(t), s, nil)) {
		t.Error(d)
	}
}

// A read is not over while the rest is on its way through buffers that are much smaller.
func TestReadGetsAll(t *testing.T) {
	play(t, `
open tcp
= conn 1
peer 1 set sndbuf 4096
= ok
peer 1 write msg 1000000 "a" msg "b"
= blocked
peer 1 write msg "c"
= blocked
conn 1 read
= msg 1000000 "a" msg "b" msg "c"
peer 1 write msg "d"
= ok
conn 1 drain
= msg "d"
`)
}

func TestWhatIsNotThere(t *testing.T) {
	play(t, `
socket 1 recv 10
= no socket 1
conn 1 poll
= no conn 1
result 1
= no call 1
wait 1
= ok
open dgram
= socket 1
socket 1 attach conn 1
= no conn 1
socket 1 splice 10
= not supported
open none
= conn 1
conn 1 poll
= no conn 1
`)
}

// Who has been woken is waited for, and whoever he wakes.
func TestCallsThatAreWoken(t *testing.T) {
	e := newEngine(t)
	for range 100 {
		first, second := make(chan int), make(chan int)
		calls := len(e.calls)
		if got := e.call(func() string { <-second; return "second" }); got == "second" {
			t.Fatal("a call that waits has an outcome")
		}
		if got := e.call(func() string { <-first; second <- 1; return "first" }); got == "first" {
			t.Fatal("a call that waits has an outcome")
		}
		first <- 1
		e.settle()
		for i, want := range []string{"second", "first"} {
			if got := e.calls[calls+i].result(); got != want {
				t.Fatalf("call %d: %s, want %s", i+1, got, want)
			}
		}
	}
}

// A call that does not wait has no number.
func TestCallsAreNumbered(t *testing.T) {
	e := newEngine(t)
	release := make(chan int)
	for i, c := range []struct {
		f    func() string
		want string
	}{
		{func() string { return "done" }, "done"},
		{func() string { <-release; return "released" }, "waits as 1"},
		{func() string { return "done too" }, "done too"},
		{func() string { <-release; return "released" }, "waits as 2"},
	} {
		if got := e.call(c.f); got != c.want {
			t.Errorf("call %d: %s, want %s", i+1, got, c.want)
		}
	}
	close(release)
}
