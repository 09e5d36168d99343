package strparser

import (
	"errors"
	"syscall"
	"time"
)

// DataReady tells that bytes arrived on the lower. The lower calls it on its own
// thread, best once per batch of chunks. It does nothing while the parser is
// stopped, paused, or waiting for more than the lower holds.
func (p *Parser) DataReady() {
	if p.lower == nil || p.stopped.Load() || p.paused.Load() {
		return
	}
	if p.busy {
		p.lower.Kick()
		return
	}
	if p.gated() {
		return
	}
	p.retry(p.readLoop())
}

// Check is the asynchronous check: the lower calls it on its own thread after
// Kick. It reads whatever is there, also less than Need.
func (p *Parser) Check() {
	if p.lower == nil {
		return
	}
	if p.profile.opt.Lock != nil {
		p.profile.opt.Lock(p)
		defer p.profile.opt.Unlock(p)
	}
	p.check()
}

func (p *Parser) check() {
	switch {
	case p.stopped.Load() || p.paused.Load():
	case p.busy:
		p.lower.Kick()
	default:
		p.retry(p.readLoop())
	}
}

// gated reports whether the message in progress needs more than the lower holds
// and the lower can still receive it.
func (p *Parser) gated() bool {
	return p.need > 0 && p.lower.Readable() < p.need && !p.ended && !p.lower.Full()
}

func (p *Parser) retry(err error) {
	if err != nil && errors.Is(err, syscall.ENOMEM) {
		p.lower.Kick()
	}
}

// readLoop takes chunks from the lower until there are none, a message has to
// wait for its rest, or the parser is paused, stopped or out of memory.
func (p *Parser) readLoop() error {
	p.busy = true
	// A full lower is emptied even if that takes several chunks, and so is one
	// that gets no more.
	drain := p.ended || p.need > 0 && p.lower.Full()
	var err error
	for !p.paused.Load() && !p.stopped.Load() {
		chunk, ok := p.lower.Peek()
		if !ok {
			break
		}
		n, more, e := p.process(chunk, p.profile.opt.MaxMessage, p.profile.opt.AssemblyTimeout, drain)
		if n > 0 {
			p.lower.Consume(n)
		}
		if err = e; err != nil || !more {
			break
		}
	}
	if err == nil {
		err = p.finish()
	}
	if p.profile.opt.ReadDone != nil {
		err = p.profile.opt.ReadDone(p, err)
	}
	p.busy = false
	return err
}

// startTimer arms the timer for a message that has to wait, once per message.
func (p *Parser) startTimer(d time.Duration) {
	if d <= 0 || p.armed {
		return
	}
	p.gen++
	p.armed = true
	if p.lower != nil {
		p.lower.StartTimer(d, p.gen)
	} else {
		p.profile.opt.StartTimer(p, d, p.gen)
	}
}

func (p *Parser) stopTimer() {
	if !p.armed {
		return
	}
	p.armed = false
	if p.lower != nil {
		p.lower.StopTimer()
	} else {
		p.profile.opt.StopTimer(p)
	}
}

func (p *Parser) setNeed(n int) {
	if p.need == n {
		return
	}
	p.need = n
	if p.lower != nil {
		p.lower.Want(n)
	}
}
