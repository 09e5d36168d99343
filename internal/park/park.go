package park

import "sync/atomic"

// Parker is a place to wait for one goroutine. Init makes it ready.
type Parker struct {
	state atomic.Uint32 // futex: none, waiting or woken
	token chan struct{} // runtime: holds the token; nil with a futex
}

const (
	none uint32 = iota
	waiting
	woken
)

// Init makes the Parker ready. futex is ignored on systems that have none.
func (p *Parker) Init(futex bool) {
	if !futex || !hasFutex {
		p.token = make(chan struct{}, 1)
	}
}

// Runtime reports whether waiters sleep in the Go runtime.
func (p *Parker) Runtime() bool { return p.token != nil }

// Wait returns once Wake has been called since the last Wait returned.
func (p *Parker) Wait() {
	if p.token != nil {
		<-p.token
		return
	}
	if p.state.CompareAndSwap(none, waiting) {
		for p.state.Load() == waiting {
			futexWait(&p.state, waiting)
		}
	}
	p.state.Store(none)
}

// WaitOr is Wait that gives up when done is closed, and then reports false. The
// Parker must have been made without a futex.
func (p *Parker) WaitOr(done <-chan struct{}) bool {
	select {
	case <-p.token:
		return true
	case <-done:
		return false
	}
}

// Wake ends the present or else the next Wait. Wakes do not add up. It may be
// called on any goroutine.
func (p *Parker) Wake() {
	if p.token != nil {
		select {
		case p.token <- struct{}{}:
		default:
		}
		return
	}
	if p.state.Swap(woken) == waiting {
		futexWake(&p.state)
	}
}
