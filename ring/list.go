package ring

import "github.com/kcm-go/kcm/internal/invariants"

// listKind names the loop's lists a stream can be in, each at most once.
type listKind uint8

const (
	inReady listKind = iota
	inDirty
	inHeld
	inStuck
	inStarved
	inQueued
	inEager
	inDying
	listKinds
)

// ownLinks is how many kinds have their links in the stream itself, those for which it
// takes no more than a message that came in pieces. The others are in its side; but a
// stream that dies is in no other list, so that it can use the link of inReady.
const ownLinks = inStuck

// streamList is a FIFO of streams, doubly linked through the streams themselves.
type streamList struct {
	head, tail *Stream
	kind       listKind
	place      uint8 // of the links among those of the stream or its side
	aside      bool  // they are in the side
	n          int
}

type streamLink struct{ next, prev *Stream }

func (l *streamList) init(k listKind) {
	switch {
	case k < ownLinks:
		l.place = uint8(k)
	case k == inDying:
		l.place = uint8(inReady)
	default:
		l.place, l.aside = uint8(k-ownLinks), true
	}
	l.kind = k
}

// link returns the link of a stream that is in the list, or is about to be.
func (l *streamList) link(s *Stream) *streamLink {
	if l.aside {
		return &s.side.links[l.place]
	}
	return &s.links[l.place]
}

func (l *streamList) push(s *Stream) {
	if s.member&(1<<l.kind) != 0 {
		return
	}
	if l.aside {
		s.ownSide()
	}
	invariants.Check(l.kind != inDying || s.member == 0, "ring: a stream that dies is in a list")
	s.member |= 1 << l.kind
	k := l.link(s)
	k.prev, k.next = l.tail, nil
	if l.tail != nil {
		l.link(l.tail).next = s
	} else {
		l.head = s
	}
	l.tail = s
	l.n++
}

func (l *streamList) remove(s *Stream) {
	if s.member&(1<<l.kind) == 0 {
		return
	}
	s.member &^= 1 << l.kind
	k := l.link(s)
	if k.prev != nil {
		l.link(k.prev).next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		l.link(k.next).prev = k.prev
	} else {
		l.tail = k.prev
	}
	*k = streamLink{}
	l.n--
}

func (l *streamList) pop() *Stream {
	s := l.head
	if s != nil {
		l.remove(s)
	}
	return s
}

func (l *Loop) initLists() {
	l.ready.init(inReady)
	l.dirty.init(inDirty)
	l.held.init(inHeld)
	l.stuck.init(inStuck)
	l.starved.init(inStarved)
	l.queued.init(inQueued)
	l.eager.init(inEager)
	l.dying.init(inDying)
	for k := range l.packets {
		l.packets[k].kind = uint8(k)
	}
}
