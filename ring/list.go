package ring

// listKind names the loop's lists a stream can be in, each at most once.
type listKind uint8

const (
	inReady listKind = iota
	inDirty
	inStuck
	inDying
	inStarved
	inQueued
	inHeld
	inEager
	listKinds
)

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
	s.member |= 1 << l.kind
	k := &s.links[l.kind]
	k.prev, k.next = l.tail, nil
	if l.tail != nil {
		l.tail.links[l.kind].next = s
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
	k := s.links[l.kind]
	if k.prev != nil {
		k.prev.links[l.kind].next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.links[l.kind].prev = k.prev
	} else {
		l.tail = k.prev
	}
	s.links[l.kind] = streamLink{}
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
