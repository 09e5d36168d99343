package strparser

import (
	"fmt"
	"net"
	"syscall"
)

// CheckRcv asks for an asynchronous check of the lower: for bytes that were there
// before the parser, say. Any goroutine may call it. In general mode it does
// nothing.
func (p *Parser) CheckRcv() {
	if p.lower != nil && !p.stopped.Load() {
		p.lower.Kick()
	}
}

// Pause makes the parser take nothing more: no parsing, no delivery; bytes stay
// on the lower. Inside the Message callback it takes effect after this message.
// The timer of a message in progress runs on.
func (p *Parser) Pause() { p.paused.Store(true) }

// Unpause ends a pause and asks for a check, so that what arrived meanwhile is
// looked at. Any goroutine may call it. In general mode the caller of Process
// feeds again what was not consumed.
func (p *Parser) Unpause() {
	// In this order: a check that runs now either sees the pause gone or is
	// followed by the one asked for here.
	p.paused.Store(false)
	p.CheckRcv()
}

// UnpauseLocked ends a pause and reads at once, for callers on the lower's
// thread. Inside a callback it only ends the pause: the loop that made the
// callback goes on.
func (p *Parser) UnpauseLocked() {
	p.paused.Store(false)
	if p.lower == nil || p.busy || p.stopped.Load() || p.gated() {
		return
	}
	p.readLoop()
}

// Stop ends parsing for good: nothing is taken or delivered from now on. Bytes
// in hand are kept until Done. Inside the Message callback it takes effect after
// this message. Any goroutine may call it, any number of times; on another than
// the lower's thread, a call in progress there may still deliver one message.
func (p *Parser) Stop() { p.stopped.Store(true) }

// Done frees what a stopped parser holds. No callback runs after it, and it may
// then be initialised again. It is called on the lower's thread, or in general
// mode without the lock, and not inside a callback. It panics when the parser is
// not stopped.
func (p *Parser) Done() {
	if !p.stopped.Load() {
		panic("strparser: Done of a parser that was not stopped")
	}
	general := p.lower == nil
	if general {
		p.profile.opt.Lock(p)
	}
	if p.busy {
		panic("strparser: Done inside a callback of the parser")
	}
	p.done = true
	p.drop()
	if general {
		p.profile.opt.Unlock(p)
	}
}

// Unwind is for an upper that recovered from a panic of a callback: the call into
// the parser that made the callback has been left by force. It stops the parser and
// releases what the callback was lent; Done may follow. The chunk that was being
// looked at is still on the lower.
func (p *Parser) Unwind() {
	p.busy = false
	p.stopped.Store(true)
	p.drop()
	p.view.msg.Reclaim() // the message that was with the callback
}

// EOF tells that the lower's stream has ended. Messages still on the lower are
// delivered first. Then the parser is stopped: without error (Finished) at a
// message boundary, else it aborts with EPIPE. While it is paused with bytes
// left on the lower that happens after Unpause.
func (p *Parser) EOF() {
	p.ended = true
	switch {
	case p.busy: // the loop that made this callback sees to it
	case p.lower == nil:
		p.busy = true
		p.finish()
		p.busy = false
	case !p.stopped.Load():
		p.retry(p.readLoop())
	}
}

// finish ends the parser if the stream has ended and nothing of it is left.
func (p *Parser) finish() error {
	if !p.ended || p.stopped.Load() || p.lower != nil && p.lower.Readable() > 0 {
		return nil
	}
	if p.view.acc > 0 {
		return p.fail(syscall.EPIPE, nil, "the stream ended inside a message: "+p.progress())
	}
	p.finished = true
	p.stopped.Store(true)
	return nil
}

// LowerError tells that the lower failed. The parser aborts with that error;
// what is left on the lower is not looked at.
func (p *Parser) LowerError(err error) {
	if p.stopped.Load() {
		return
	}
	p.fail(errnoOf(err, syscall.EIO), err, "lower: "+err.Error())
}

// Expire is the timer's expiry. gen is what StartTimer was given: an expiry that
// comes too late for its message is ignored.
func (p *Parser) Expire(gen uint32) {
	if p.profile.opt.Lock != nil {
		p.profile.opt.Lock(p)
		defer p.profile.opt.Unlock(p)
	}
	if !p.armed || gen != p.gen {
		return
	}
	p.armed = false
	if p.stopped.Load() {
		return
	}
	p.stats.MsgTimeouts++
	p.fail(syscall.ETIMEDOUT, nil, "message not complete in time: "+p.progress())
}

func (p *Parser) progress() string {
	if p.full == 0 {
		return fmt.Sprintf("%d bytes of an unknown number", p.view.acc)
	}
	return fmt.Sprintf("%d bytes of %d", p.view.acc, p.full)
}

// Abort is what an error does unless Options.Abort is set: it stops the parser,
// frees what it has in hand, and posts the error on the lower. On a stopped
// parser it does nothing.
func (p *Parser) Abort(err *AbortError) {
	p.drop()
	if p.stopped.Swap(true) {
		return
	}
	p.err = err
	p.stats.Aborted = true
	if p.lower != nil {
		p.lower.Post(err)
	}
}

// fail gives up the message in progress and reports why.
func (p *Parser) fail(no syscall.Errno, cause error, text string) error {
	err := &AbortError{Errno: no, Cause: cause, Dropped: p.view.acc, text: text}
	err.Recoverable = err.Dropped == 0 && (no == errStrPipe || no == syscall.EMSGSIZE)
	p.drop()
	if p.profile.opt.Abort != nil {
		p.profile.opt.Abort(p, err)
	} else {
		p.Abort(err)
	}
	return err
}

// drop frees the message in progress and disarms its timer.
func (p *Parser) drop() {
	p.stopTimer()
	if p.view.acc > 0 { // else the message may be with the callback
		p.view.msg.Reclaim()
		p.view.acc = 0
	}
	p.full = 0
	p.setNeed(0)
}

// refusal is the error of Process on a stopped parser.
func (p *Parser) refusal() error {
	if p.err != nil {
		return p.err
	}
	return net.ErrClosed
}
