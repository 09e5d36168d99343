package mux

import (
	"context"
	"runtime"
	"sync/atomic"

	"github.com/kcm-go/kcm/internal/park"
	"github.com/kcm-go/kcm/sgmsg"
)

// callSlot is the place of one call in a Client's table. It goes round:
//
//	free -> queued -> leaving -> sent -----------------> ended -> free
//	          ^  \_______|________|__(end)______________/  |
//	          |__________|        |                        |  the number may
//	          | (recalled)        |                        v  still be answered
//	          |____ moving <______|                     resting -> free
//	               (again)
//
// queued is in a socket's queue, leaving in what a connection is given to send, sent when
// that has it all. Whoever ends a call does so by one compare-and-swap of the state: the
// loop of the reply, the caller's context, the end of the connection, Close. Only the
// winner touches what is below; so a reply takes no lock. moving and ended belong to
// whoever made them.
//
// The state has a generation, which makes a number of its own for each call that uses the
// slot, and tells what still refers to an earlier one.
type callSlot struct {
	client *Client
	index  uint32
	state  atomic.Uint64         // generation << phaseBits | phase
	psock  atomic.Pointer[Psock] // from leaving on: whose reply counts. Written by transmit

	call    *Call
	kept    sgmsg.Message // with Resend: the request
	socket  *Socket       // that took the request
	waits   bool          // Do waits on parker; else Go
	err     error         // for Do, with ended
	parker  park.Parker
	unwatch func() bool // Go: ends watching the context
}

type callPhase uint64

const (
	callFree callPhase = iota
	callQueued
	callLeaving
	callSent
	callMoving
	callEnded
	callResting

	phaseBits = 3
	phaseMask = 1<<phaseBits - 1
)

// callRef refers to one call: a slot in one generation. The zero callRef is none.
type callRef struct {
	slot       *callSlot
	generation uint64
}

func (r callRef) word(ph callPhase) uint64 { return r.generation<<phaseBits | uint64(ph) }

// phase returns where the call is; callFree when the slot is another's by now.
func (r callRef) phase() callPhase {
	w := r.slot.state.Load()
	if w>>phaseBits != r.generation {
		return callFree
	}
	return callPhase(w & phaseMask)
}

func (r callRef) swap(from, to callPhase) bool {
	return r.slot.state.CompareAndSwap(r.word(from), r.word(to))
}

// ref returns the call that the slot has now.
func (s *callSlot) ref() callRef { return callRef{s, s.state.Load() >> phaseBits} }

// departs is called by transmit when the request becomes part of what p is given, under
// its lock. false: the call has ended, and the request is not wanted any more. A message
// that is no request is always wanted.
func (r callRef) departs(p *Psock) bool {
	if r.slot == nil {
		return true
	}
	if r.phase() != callQueued {
		return false
	}
	r.slot.psock.Store(p)
	return r.swap(callQueued, callLeaving)
}

// arrives is called by transmit when the kernel has accepted the whole request, under its
// lock.
func (r callRef) arrives(p *Psock) {
	if r.slot == nil || !r.swap(callLeaving, callSent) || !p.dead.Load() {
		return
	}
	c := r.slot.client // p looked for its calls before this one was sent
	if !p.shard.loop.Post(func() { c.lose(p, p.ending()) }) {
		go c.lose(p, ErrClosed)
	}
}

// recalled is called by transmit when its connection did not get the whole request, under
// its lock: no reply will come.
func (r callRef) recalled() {
	if r.slot != nil && !r.swap(callLeaving, callQueued) && r.swap(callResting, callFree) {
		r.slot.vacate()
	}
}

// end ends the call: it is the caller's, who then calls tell, or clear and give. from tells
// where it was. false: somebody else has ended it.
func (r callRef) end() (from callPhase, ok bool) {
	for {
		switch from = r.phase(); from {
		case callQueued, callLeaving, callSent:
			if r.swap(from, callEnded) {
				return from, true
			}
		case callMoving: // for an instant
			runtime.Gosched()
		default:
			return from, false
		}
	}
}

// take begins a new generation for a call in a free slot, which is the caller's alone.
func (s *callSlot) take(c *Call, waits bool) callRef {
	r := callRef{s, s.state.Load()>>phaseBits + 1}
	if s.client.number(r) == 0 { // means none in some protocols
		r.generation++
	}
	s.call, s.waits, s.err = c, waits, nil
	s.psock.Store(nil)
	if waits && !s.parker.Runtime() {
		s.parker.Init(false)
	}
	return r
}

// vacate puts the slot among the free ones. Its state is callFree.
func (s *callSlot) vacate() { s.client.free <- s.index }

// clear takes the call out of an ended slot.
func (s *callSlot) clear() *Call {
	c := s.call
	s.call, s.socket = nil, nil
	s.kept.Reset()
	if s.unwatch != nil {
		s.unwatch()
		s.unwatch = nil
	}
	return c
}

// give ends the use of an ended slot. from is where the call was.
func (r callRef) give(from callPhase) {
	cl := r.slot.client
	r.leave(from)
	cl.tellDrain()
}

// tellDrain lets drain look: a call has ended.
func (cl *Client) tellDrain() {
	if cl.draining.Load() {
		select {
		case cl.ended <- struct{}{}:
		default:
		}
	}
}

// leave puts the slot among the free ones, or, if numbers are narrow, lets it rest while a
// reply may come.
func (r callRef) leave(from callPhase) {
	s := r.slot
	if s.client.wide || from != callLeaving && from != callSent {
		s.state.Store(r.word(callFree))
		s.vacate()
		return
	}
	p := s.psock.Load()
	s.state.Store(r.word(callResting))
	if p.shard.loop.Post(func() { s.client.rest(r, p) }) {
		return
	}
	if r.swap(callResting, callFree) { // a loop that has ended sends no replies
		s.vacate()
	}
}

// tell tells of the end of an ended call. from is where it was. Go's callers are told here,
// on a loop's thread unless it has ended.
func (r callRef) tell(from callPhase, err error) {
	s := r.slot
	if s.waits {
		s.err = err
		s.parker.Wake()
		return
	}
	c, cl := s.clear(), s.client
	cl.telling.Add(1) // before the slot is free, as Done may make the next call
	r.leave(from)
	c.Done(c, err)
	cl.telling.Add(-1)
	cl.tellDrain()
}

// deliver hands the reply of an ended call over. Loop's thread of from.
func (r callRef) deliver(from *Psock, msg *sgmsg.Message) {
	s := r.slot
	c := s.call
	msg.MoveTo(&c.Reply)
	if l := from.shard.loop; l.Short() {
		_ = l.Unpin(&c.Reply) // without memory it stays where it is
	}
	r.tell(callEnded, nil)
}

// wait waits for the end of a call of Do.
func (r callRef) wait(ctx context.Context) error {
	s := r.slot
	from, err := callEnded, error(nil)
	if s.parker.WaitOr(ctx.Done()) {
		err = s.err
	} else if f, ok := r.end(); ok {
		from, err = f, ctx.Err()
	} else { // it ended just then
		s.parker.Wait()
		err = s.err
	}
	s.clear()
	r.give(from)
	return err
}
