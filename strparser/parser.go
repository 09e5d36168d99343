package strparser

import (
	"sync/atomic"

	"github.com/kcm-go/kcm/sgmsg"
)

// Parser is the state of one stream: what it has in hand of the message in
// progress, and whether it may go on. It is made by [New] or, inside another
// structure, by [Profile.Init], and must not be copied after that.
//
//	          bytes          length known     rest not on the lower
//	 IDLE ------------> HDR -------------> BODY <-------------> WAIT
//	   ^                 |                   |                    |
//	   +-----------------+---- delivered ----+--------------------+
//
//	IDLE  acc == 0                       HDR   acc > 0, full == 0
//	BODY  acc > 0, full > 0, need == 0   WAIT  acc > 0, full > 0, need > 0
//
// Across all of them: paused (nothing is taken until Unpause) and stopped (for
// good; Done then frees what is in hand).
//
// Invariants between two calls:
//
//  1. acc < full unless full == 0, and full <= MaxMessage.
//  2. need is 0 or full - acc.
//  3. view.msg holds the acc bytes in hand, or is empty and view.inline does.
//  4. armed implies acc > 0.
//  5. Bytes consumed = bytes delivered + acc + bytes dropped by an abort.
//
// Except for Unpause, CheckRcv, Stop, Stopped and Paused, which any goroutine
// may call, everything runs on the lower's thread, or in general mode where the
// caller says that calls do not overlap.
type Parser struct {
	profile *Profile
	lower   Lower // nil in general mode
	owner   any

	view View // Accum, the bytes in hand, and the parse function's cookie
	full int  // FullLen: the message's length once known, else 0
	need int  // bytes missing, while waiting for the lower to hold them all

	err   *AbortError // of the default abort
	stats Stats

	gen      uint32 // of the timer armed last
	paused   atomic.Bool
	stopped  atomic.Bool
	armed    bool // the timer runs for the message in progress
	busy     bool // inside a read loop, Process or a callback of either
	ended    bool // EOF was called
	finished bool // and everything before it was delivered
	done     bool
}

// SetOrigin makes every delivered message say that it is lent by id; see
// sgmsg.Message.SetOrigin. It is called after Init and before the first byte.
func (p *Parser) SetOrigin(id uint32) { p.view.msg.SetOrigin(id) }

// Owner returns what Init was given.
func (p *Parser) Owner() any { return p.owner }

// Stopped reports whether the parser has been stopped, by Stop, an abort or the
// end of the stream.
func (p *Parser) Stopped() bool { return p.stopped.Load() }

// Paused reports whether the parser is paused.
func (p *Parser) Paused() bool { return p.paused.Load() }

// Finished reports whether the stream ended at a message boundary and every
// message of it was delivered. ReadDone is the place to ask.
func (p *Parser) Finished() bool { return p.finished }

// InProgress returns the number of bytes in hand for an incomplete message.
func (p *Parser) InProgress() int { return p.view.acc }

// Need returns how many bytes the lower has to hold before DataReady does
// anything, or 0.
func (p *Parser) Need() int { return p.need }

// MessageLen returns the length of the message in progress, or 0 when there is
// none or it is not known yet.
func (p *Parser) MessageLen() int { return p.full }

// Err returns the error that stopped the parser, or nil.
func (p *Parser) Err() error {
	if p.err == nil {
		return nil
	}
	return p.err
}

func (p *Parser) allocator() sgmsg.Allocator {
	if p.lower != nil {
		return p.lower
	}
	return p.profile.opt.Alloc
}
