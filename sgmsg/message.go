package sgmsg

import (
	"fmt"
	"sync"
)

// state says who may still use a Message. It is checked in every build: a
// second Send or Release of one message is a bug that corrupts other people's
// data, and the check is one byte compare.
type state uint8

const (
	owned state = iota // the zero value: empty or filled, belongs to the holder
	lent               // belongs to the loop or parser that delivers it
	gone               // sent, taken or released
)

func (s state) String() string { return [...]string{"owned", "lent", "gone"}[s] }

const inlineElements = 4

// Message is an ordered list of elements with their total length: the sk_msg
// of this library. The zero Message is empty and ready to use. A Message must
// not be copied after first use.
//
// Invariants:
//
//  1. size is the sum of the lengths of the used elements, each of which is > 0.
//  2. The message owns one reference per element, except for the last one while
//     borrowed is set: that one rides on the reference of the chunk it was
//     parsed from, which outlives the delivery.
//  3. What is appended and continues the last element in its buffer becomes part
//     of it. Other operations may leave two neighbours that could be one.
//  4. state is owned, lent or gone; every operation on a gone message panics,
//     but the accessors Len, Used, Full, Lent and Live, and Reset and Reclaim.
//  5. While the message is bound to an account, rest.charged is what that was
//     charged for it, at most size, and the last rest.blank bytes were allocated and
//     not filled yet.
//
// The first four elements are inline, the others in a slice behind one pointer with what
// else is rare, so that an empty message is 80 bytes. An emptied message keeps a short
// slice for reuse; a long one is left to whoever needs one next, so that what had much in
// it once does not hold memory for ever, and building messages allocates nothing in steady
// state. Nothing in an element is a pointer.
//
// A Message is not safe for concurrent use; its buffers' references are.
type Message struct {
	size     int
	first    uint32 // index of the first used element
	end      uint32 // index after the last
	state    state
	borrowed bool
	bound    bool   // rest.binding is in use
	origin   uint32 // see SetOrigin
	inline   [inlineElements]Element
	rest     *rest // what most messages do not need
}

// rest is the part of a message that is made when it is needed first.
type rest struct {
	binding
	more []Element // elements inlineElements and up
}

func (m *Message) at(i uint32) *Element {
	if i < inlineElements {
		return &m.inline[i]
	}
	return &m.rest.more[i-inlineElements]
}

func (m *Message) mustLive(op string) {
	if m.state == gone {
		m.dead(op)
	}
}

//go:noinline
func (m *Message) dead(op string) {
	panic(fmt.Sprintf("sgmsg: %s of a message that was already sent, taken or released", op))
}

// Len returns the length in bytes.
func (m *Message) Len() int { return m.size }

// Used returns the number of elements.
func (m *Message) Used() int { return int(m.end - m.first) }

// Elem returns element i, 0 <= i < Used. The reference stays with the message.
func (m *Message) Elem(i int) Element {
	if uint(i) >= uint(m.end-m.first) {
		m.noElem(i)
	}
	return *m.at(m.first + uint32(i))
}

//go:noinline
func (m *Message) noElem(i int) {
	panic(fmt.Sprintf("sgmsg: Elem(%d) of %d", i, m.Used()))
}

// Lent reports whether the message is lent by the loop that delivers it: its
// bytes are valid until the handler returns unless Send or Take moves it.
func (m *Message) Lent() bool { return m.state == lent }

// SetOrigin notes who lends the message, a number of the lender's choice other
// than 0; it stays with the message. A receiver that finds its own number on a
// lent message knows that it runs inside the lender's delivery.
func (m *Message) SetOrigin(id uint32) { m.origin = id }

// Origin returns what SetOrigin was given while the message is lent, else 0.
func (m *Message) Origin() uint32 {
	if m.state != lent {
		return 0
	}
	return m.origin
}

// Live reports whether the message may still be used.
func (m *Message) Live() bool { return m.state != gone }

// grew notes n bytes more, appended with their content.
func (m *Message) grew(n int) {
	m.size += n
	if m.bound {
		m.charge(n)
		m.rest.blank = 0
	}
}

func (m *Message) push(e Element) {
	if m.end >= inlineElements {
		m.pushMore(e)
		return
	}
	m.inline[m.end] = e
	m.end++
}

func (m *Message) pushMore(e Element) {
	r := m.needRest()
	r.more = append(r.more[:m.end-inlineElements], e)
	m.end++
}

func (m *Message) needRest() *rest {
	if m.rest == nil {
		m.rest = rests.Get().(*rest)
	}
	return m.rest
}

// rests are those of emptied messages that had long slices.
var rests = sync.Pool{New: func() any { return new(rest) }}

// extend grows the last element by e if e continues it.
func (m *Message) extend(e Element) bool {
	if m.end == m.first {
		return false
	}
	last := m.at(m.end - 1)
	if !last.continues(e) {
		return false
	}
	last.Len += e.Len
	m.grew(int(e.Len))
	return true
}

// Append adds e at the end and takes over the caller's reference to its buffer.
// If e continues the last element both become one and the surplus reference is
// released. An empty element is released at once.
func (m *Message) Append(e Element) {
	m.mustLive("Append")
	m.settle()
	if e.Len == 0 || m.extend(e) {
		e.Buf.Release()
		return
	}
	m.push(e)
	m.grew(int(e.Len))
}

// AppendShared adds e at the end and takes a reference of its own, unless e
// continues the last element. The caller keeps the one it has.
func (m *Message) AppendShared(e Element) {
	m.mustLive("AppendShared")
	m.settle()
	if e.Len == 0 || m.extend(e) {
		return
	}
	e.Buf.Retain()
	m.push(e)
	m.grew(int(e.Len))
}

// settle turns a borrowed last element into an owned one.
func (m *Message) settle() {
	if m.borrowed {
		m.at(m.end - 1).Buf.Retain()
		m.borrowed = false
	}
}

// Lend makes the message lent and, if e is not empty, adds e without taking a
// reference: the caller holds the chunk's reference until Reclaim. This is how
// a parser delivers messages with no reference count moved per message.
func (m *Message) Lend(e Element) {
	if m.size > 0 || m.state == gone || e.Len == 0 || m.bound {
		m.lendMore(e)
		return
	}
	m.inline[0] = e // the common case: a message inside one chunk
	m.end = 1
	m.size = int(e.Len)
	m.borrowed = true
	m.state = lent
}

// Relend is Reclaim and then Lend for the next message of the same chunk: n bytes, at
// least one, from off in the buffer on. It does so only if the borrower did nothing to
// the last loan, or cut bytes off it; if it returns false nothing has changed. It is
// small enough to be inlined, which the two are not.
func (m *Message) Relend(off, n uint32) bool {
	if !m.borrowed || m.end != 1 {
		return false
	}
	m.inline[0].Off, m.inline[0].Len = off, n
	m.size = int(n)
	return true
}

func (m *Message) lendMore(e Element) {
	m.mustLive("Lend")
	m.unbind()
	if e.Len > 0 && !m.extend(e) {
		m.settle()
		m.push(e)
		m.size += int(e.Len)
		m.borrowed = true
	}
	m.state = lent
}

// Reclaim ends a loan: whatever the borrower left in the message is released
// and the message is empty, owned and ready again. It is the one operation that
// is legal on a gone message, and is for the lender alone.
func (m *Message) Reclaim() {
	if m.size == 0 && m.end == m.first && !m.bound { // it was moved: nothing left
		m.state = owned
		return
	}
	if m.borrowed && m.end == 1 { // the common case: nothing was done to it
		m.end, m.size = 0, 0
		m.borrowed = false
		m.state = owned
		return
	}
	m.reclaimMore()
}

func (m *Message) reclaimMore() {
	if m.state != gone {
		m.drop()
	}
	m.unbind()
	m.state = owned
}

// drop releases every reference and empties the message.
func (m *Message) drop() {
	if m.borrowed {
		m.end--
		m.borrowed = false
	}
	for i := m.first; i < m.end; i++ {
		m.at(i).Buf.Release()
	}
	m.clear()
}

func (m *Message) clear() {
	m.first, m.end, m.size, m.borrowed = 0, 0, 0, false
	if r := m.rest; r != nil {
		m.shrank()
		if cap(r.more) > keptElements {
			m.shed(r)
		}
	}
}

// shed gives up a slice that is long for a message that may stay empty. Bound to an
// account the message keeps the rest of its rest.
func (m *Message) shed(r *rest) {
	switch {
	case cap(r.more) > maxSharedElements:
		r.more = nil
	case r.acct == nil:
		m.rest = nil
		rests.Put(r)
	}
}

// keptElements bounds what an emptied message keeps for reuse, and maxSharedElements what
// it leaves to others.
const (
	keptElements      = 16
	maxSharedElements = 1024
)

// Release gives all references back, and the charge. The message is gone
// afterwards; a second Release panics.
func (m *Message) Release() {
	m.mustLive("Release")
	m.drop()
	m.unbind()
	m.state = gone
}

// Reset releases all references, gives the charge back and makes the message like
// a new one: empty, owned, bound to no account, also when it was gone. Only its
// owner may call it. It returns the bytes released: what sk_msg calls free.
func (m *Message) Reset() int {
	n := m.size
	m.Reclaim()
	return n
}

// MoveTo appends all of m's elements to dst and moves the references with them;
// m is gone afterwards, and whom it was built for is charged no longer. Contiguous
// elements coalesce: many small messages of one chunk become one element with one
// reference.
func (m *Message) MoveTo(dst *Message) {
	// The common case by far: the next message of the chunk that dst ends with.
	if m.borrowed && m.end == 1 && m.first == 0 && dst.end > dst.first && dst.state == owned && !dst.borrowed && !dst.bound {
		e, last := &m.inline[0], dst.at(dst.end-1)
		if last.Buf == e.Buf && last.Off+last.Len == e.Off {
			last.Len += e.Len
			dst.size += int(e.Len)
			m.end, m.size, m.borrowed, m.state = 0, 0, false, gone
			return
		}
	}
	m.moveMore(dst)
}

func (m *Message) moveMore(dst *Message) {
	m.mustLive("MoveTo")
	dst.mustLive("MoveTo a destination")
	if dst == m {
		panic("sgmsg: MoveTo of a message to itself")
	}
	if m.borrowed && m.end-m.first == 1 { // one message inside one chunk: the common case
		e := *m.at(m.first)
		m.clear()
		m.unbind()
		m.state = gone
		dst.AppendShared(e)
		return
	}
	m.settle()
	for i := m.first; i < m.end; i++ {
		dst.Append(*m.at(i))
	}
	m.clear()
	m.unbind()
	m.state = gone
}

// Take moves the content into a new owned message that outlives the delivery;
// m is gone afterwards. The new message should be released when done with.
func (m *Message) Take() *Message {
	t := new(Message)
	m.MoveTo(t)
	return t
}
