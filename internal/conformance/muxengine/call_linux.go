package muxengine

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
)

// call is a call that may wait, in a goroutine of its own.
type call struct {
	goroutine string // its number
	done      chan struct{}
	outcome   string // when done is closed
}

// call makes a call that may wait, and returns its outcome if it is done when things have
// settled.
func (e *Engine) call(f func() string) string {
	c := &call{done: make(chan struct{})}
	number := make(chan string)
	go func() {
		number <- goroutine()
		c.outcome = f()
		close(c.done)
	}()
	c.goroutine = <-number
	e.calls = append(e.calls, c)
	e.settle()
	if r := c.result(); r != "waits" {
		e.calls = e.calls[:len(e.calls)-1] // has no number
		return r
	}
	return fmt.Sprintf("waits as %d", len(e.calls))
}

// result returns the outcome so far.
func (c *call) result() string {
	select {
	case <-c.done:
		return c.outcome
	default:
		return "waits"
	}
}

// goroutine returns the number of the calling goroutine.
func goroutine() string {
	var b [64]byte
	n := runtime.Stack(b[:], false)
	number, _, _ := strings.Cut(strings.TrimPrefix(string(b[:n]), "goroutine "), " ")
	return number
}

// asleep reports whether all calls that are not done sleep: a goroutine that has been
// woken is no longer said to wait, even before it has run.
func (e *Engine) asleep() bool {
	var stacks []byte
	for _, c := range e.calls {
		if c.result() != "waits" {
			continue
		}
		if stacks == nil {
			stacks = allStacks()
		}
		_, after, ok := bytes.Cut(stacks, []byte("goroutine "+c.goroutine+" ["))
		if !ok {
			continue // it has just ended
		}
		state, _, _ := bytes.Cut(after, []byte("]"))
		state, _, _ = bytes.Cut(state, []byte(",")) // for how long
		switch string(state) {
		case "select", "chan receive", "sync.Cond.Wait":
		default:
			return false
		}
	}
	return true
}

// allStacks returns the stacks of all goroutines, of one moment.
func allStacks() []byte {
	for size := 64 << 10; ; size *= 2 {
		b := make([]byte, size)
		if n := runtime.Stack(b, true); n < size {
			return b[:n]
		}
	}
}
