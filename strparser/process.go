package strparser

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// Process takes a chunk in general mode and delivers the messages it completes.
// It returns how many bytes from the chunk's start were consumed: fewer than all
// when the parser was paused or stopped, ran out of memory, or failed. After
// Unpause, or later after ENOMEM, the caller feeds the rest again.
//
// The chunk stays the caller's; the parser takes references of its own to what it
// keeps. max is the largest message accepted and timeout the time a message begun
// in this chunk may take; 0 means what the options say, and a negative timeout
// none.
//
// Errors: ENOMEM, the *AbortError that ended the parser now or earlier,
// net.ErrClosed if it was stopped otherwise, EBUSY inside a callback of the
// parser, EINVAL when there is a lower or no timer for the timeout.
func (p *Parser) Process(chunk sgmsg.Element, max int, timeout time.Duration) (consumed int, err error) {
	if max <= 0 {
		max = p.profile.opt.MaxMessage
	}
	if timeout == 0 {
		timeout = p.profile.opt.AssemblyTimeout
	}
	switch {
	case p.lower != nil:
		return 0, fmt.Errorf("process: the parser reads a lower: %w", syscall.EINVAL)
	case timeout > 0 && p.profile.opt.StartTimer == nil:
		return 0, fmt.Errorf("process: a timeout needs Options.StartTimer: %w", syscall.EINVAL)
	case p.busy:
		return 0, fmt.Errorf("process: inside a callback: %w", syscall.EBUSY)
	case p.stopped.Load():
		return 0, p.refusal()
	case p.paused.Load():
		return 0, nil
	}
	p.busy = true
	consumed, _, err = p.process(chunk, max, timeout, true)
	p.busy = false
	return consumed, err
}

// process runs the assembly over a chunk. more is false when the read loop is to
// end although nothing failed. The caller has seen that the parser runs.
func (p *Parser) process(chunk sgmsg.Element, max int, timeout time.Duration, drain bool) (at int, more bool, err error) {
	v := &p.view
	b := chunk.Bytes()
	more = true
	for at < len(b) && more {
		if v.acc == 0 && p.profile.prefix.width != 0 {
			if at, more = p.deliverRun(chunk, b, at, max); at == len(b) || !more {
				break
			}
		}
		v.cur = b[at:]
		if p.full == 0 {
			if err = p.parse(max); err != nil {
				break
			}
		}
		rest := sgmsg.Element{Buf: chunk.Buf, Off: chunk.Off + uint32(at), Len: uint32(len(v.cur))}
		if n := p.full - v.acc; p.full > 0 && n <= len(v.cur) {
			rest.Len = uint32(n)
			if err = p.ownInline(v.acc); err != nil {
				break
			}
			at += n
			more = p.deliver(rest)
		} else {
			if more, err = p.wait(rest, at, timeout, drain); err == nil {
				at = len(b)
			}
			break
		}
	}
	v.cur = nil
	p.stats.Bytes += uint64(at)
	return at, more, err
}

// deliverRun delivers the messages that begin at the chunk's byte at and lie
// wholly inside it, as long as their prefixes are plain. It stops at the first
// byte that needs a closer look. This is the hot path: no call but Message, no
// reference count moved, and a message that was only looked at is not cleared but
// becomes the next one.
func (p *Parser) deliverRun(chunk sgmsg.Element, b []byte, at, max int) (int, bool) {
	if p.profile.opt.Batch != nil {
		return p.batchRun(chunk, b, at, max)
	}
	x := p.profile.prefix // a copy: the callback cannot change it
	message := p.profile.opt.Message
	m := &p.view.msg
	for {
		i := at + x.off
		if len(b)-i < 8 { // the field is cut out of one 8-byte load
			break
		}
		field := binary.LittleEndian.Uint64(b[i : i+8 : i+8])
		if x.little {
			field = field << (x.shift & 63) >> (x.shift & 63)
		} else {
			field = bits.ReverseBytes64(field) >> (x.shift & 63)
		}
		if field > uint64(len(b)) {
			break
		}
		n := int(int64(field) + x.add)
		if n < x.header || n > len(b)-at || n > max {
			break
		}
		p.stats.Messages++
		off := chunk.Off + uint32(at)
		if !m.Relend(off, uint32(n)) { // the first one, or the callback kept the last
			m.Reclaim()
			m.Lend(sgmsg.Element{Buf: chunk.Buf, Off: off, Len: uint32(n)})
		}
		message(p, m)
		at += n
		if p.paused.Load() || p.stopped.Load() {
			m.Reclaim()
			return at, false
		}
	}
	m.Reclaim()
	return at, true
}

// parse asks for the length of the message in progress. The order of the checks
// is part of the contract.
func (p *Parser) parse(max int) error {
	v := &p.view
	if v.acc == 0 {
		v.Cookie = Cookie{}
	} else {
		v.gather()
	}
	var n int
	var err error
	if x := &p.profile.prefix; x.width != 0 {
		n, err = x.parse(v)
	} else {
		n, err = p.profile.opt.Format.Parse(v)
	}
	if err == nil && n < 0 {
		err = fmt.Errorf("the parse function returned %d: %w", n, syscall.EPROTO)
	}
	switch {
	case err != nil && errors.Is(err, errStrPipe) && v.acc == 0:
		p.stats.Interrupted = true
		return p.fail(errStrPipe, nil, "message declined")
	case err != nil && errors.Is(err, errStrPipe):
		p.stats.Unrecoverable = true
		return p.fail(errNoData, nil, fmt.Sprintf("message declined after %d bytes of it were taken", v.acc))
	case err != nil:
		p.stats.Interrupted = true
		return p.fail(errnoOf(err, syscall.EBADMSG), err, "parse: "+err.Error())
	case n == 0:
		p.stats.NeedMoreHdr++
		if v.Len() > max {
			p.stats.MsgTooBig++
			return p.fail(syscall.EMSGSIZE, nil,
				fmt.Sprintf("message of unknown length exceeds the maximum of %d with %d bytes", max, v.Len()))
		}
	case n > max:
		p.stats.MsgTooBig++
		return p.fail(syscall.EMSGSIZE, nil, fmt.Sprintf("message of %d bytes exceeds the maximum of %d", n, max))
	case n <= v.acc:
		p.stats.BadHdrLen++
		return p.fail(syscall.EPROTO, nil,
			fmt.Sprintf("message of %d bytes ends inside the %d bytes for which more were asked for", n, v.acc))
	default:
		p.full = n
	}
	return nil
}

// deliver hands the message over: the bytes in hand, which the message owns, and
// the last ones, which ride on the chunk's reference. It reports whether the
// parser may go on.
func (p *Parser) deliver(last sgmsg.Element) bool {
	p.stopTimer()
	p.full, p.view.acc = 0, 0
	p.setNeed(0)
	p.stats.Messages++
	m := &p.view.msg
	m.Lend(last)
	p.profile.opt.Message(p, m)
	m.Reclaim()
	return !p.paused.Load() && !p.stopped.Load()
}

// wait takes the rest of a chunk, which begins at byte at of it, for a message
// that is not complete. more says whether the next chunk may be looked at.
func (p *Parser) wait(rest sgmsg.Element, at int, timeout time.Duration, drain bool) (more bool, err error) {
	v := &p.view
	var gate, here bool
	if p.lower != nil && p.full > 0 {
		// What the lower counts includes the bytes of this chunk consumed before.
		gate = p.full-v.acc > p.lower.Readable()-at
		here = !gate // all of it is on the lower: it completes in this read loop
		drain = drain || gate && p.lower.Full()
	}
	if err := p.hold(rest, here); err != nil {
		return false, err
	}
	if v.acc == 0 && !here {
		p.startTimer(timeout)
	}
	v.acc += int(rest.Len)
	if !gate {
		p.setNeed(0)
		return true, nil
	}
	p.setNeed(p.full - v.acc)
	return drain, nil
}

// worthHolding is as much as is worth keeping a buffer of any size for: a quarter of
// the usual one.
const worthHolding = 8 << 10

// Private memory for bytes that wait is asked for in pieces: what the message
// still needs, if that is known, up to copyPiece.
const (
	copyPiece   = 4096
	copyUnknown = 512
)

// hold puts the rest of a chunk behind the bytes in hand. A few bytes are kept in
// the parser. More are referenced, unless they are so few in so large a buffer
// that waiting with it would waste it: then they are copied, so that a peer that
// sends drop by drop pins no receive buffers. brief says that they do not wait.
func (p *Parser) hold(rest sgmsg.Element, brief bool) error {
	v := &p.view
	n := int(rest.Len)
	v.gather()
	if !brief && v.msg.Len() == 0 && v.acc+n <= inlineBytes {
		return nil
	}
	if brief || n >= min(rest.Buf.Cap()/4, worthHolding) {
		if err := p.ownInline(v.acc); err != nil {
			return err
		}
		v.msg.AppendShared(rest)
		return nil
	}
	hint := copyUnknown
	if p.full > 0 {
		hint = min(p.full-v.msg.Len(), copyPiece)
	}
	if err := p.ownInline(hint); err != nil {
		return err
	}
	if err := v.msg.AppendCopy(p.allocator(), v.cur, hint); err != nil {
		return p.noMemory(err)
	}
	p.stats.Copied += uint64(n)
	return nil
}

// ownInline moves bytes in hand from the parser to private memory with room for
// hint bytes.
func (p *Parser) ownInline(hint int) error {
	v := &p.view
	if v.acc == 0 || v.msg.Len() > 0 {
		return nil
	}
	if err := v.msg.AppendCopy(p.allocator(), v.inline[:v.acc], hint); err != nil {
		return p.noMemory(err)
	}
	p.stats.Copied += uint64(v.acc)
	return nil
}

// noMemory leaves the chunk where it is. A message of which nothing was taken yet
// is not in progress.
func (p *Parser) noMemory(err error) error {
	p.stats.MemFail++
	if p.view.acc == 0 {
		p.full = 0
	}
	return err
}
