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
	inDying // with the link of inReady: a stream that dies is in no other list
	listKinds
)

// ownLinks is how many kinds have their links in the stream itself, those for which it
// takes no more than a message that came in pieces. The others are in its side.
const ownLinks = inStuck

// link returns the stream's link of a list that it is in or is about to be in.
func (s *Stream) link(k listKind) *streamLink {
	switch {
	case k < ownLinks:
		return &s.links[k]
	case k == inDying:
		return &s.links[inReady]
	}
	return &s.side.links[k-ownLinks]
}

// streamList is a FIFO of streams, doubly linked through the streams themselves.
type streamList struct {
	head, tail *Stream
	kind       listKind
	n          int
}

type streamLink struct{ next, prev *Stream }

func (l *streamList) push(s *Stream) {
	if s.member&(1<<l.kind) != 0 {
		return
	}
	if l.kind >= ownLinks && l.kind != inDying {
		s.ownSide()
	}
	invariants.Check(l.kind != inDying || s.member == 0, "ring: a stream that dies is in a list")
	s.member |= 1 << l.kind
	k := s.link(l.kind)
	k.prev, k.next = l.tail, nil
	if l.tail != nil {
		l.tail.link(l.kind).next = s
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
	k := s.link(l.kind)
	if k.prev != nil {
		k.prev.link(l.kind).next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.link(l.kind).prev = k.prev
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
	l.ready.kind, l.dirty.kind, l.stuck.kind = inReady, inDirty, inStuck
	l.dying.kind, l.starved.kind, l.queued.kind, l.held.kind = inDying, inStarved, inQueued, inHeld
	l.eager.kind = inEager
}
