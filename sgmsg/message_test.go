package sgmsg

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
)

// panics returns what f panicked with, or "".
func panics(f func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}

// TestGone: nothing may be done with a message that was released or moved,
// except to ask for its length and, for its owner, to make it new.
func TestGone(t *testing.T) {
	a := NewHeap(4096)
	defer a.Close(nil)
	e, err := a.Alloc(8)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Buf.Release()
	uses := map[string]func(m *Message){
		"Release":      (*Message).Release,
		"MoveTo":       func(m *Message) { m.MoveTo(new(Message)) },
		"MoveTo a":     func(m *Message) { new(Message).MoveTo(m) },
		"Take":         func(m *Message) { m.Take() },
		"Append":       func(m *Message) { m.Append(e) },
		"AppendShared": func(m *Message) { m.AppendShared(e) },
		"AppendCopy":   func(m *Message) { m.AppendCopy(a, []byte{1}, 0) },
		"Prepend":      func(m *Message) { m.Prepend(a, []byte{1}) },
		"Reserve":      func(m *Message) { m.Reserve(a, 0, 1) },
		"Compact":      func(m *Message) { m.Compact(a, a) },
		"Clone":        func(m *Message) { m.Clone(new(Message), 0, 0) },
		"Clone into":   func(m *Message) { new(Message).Clone(m, 0, 0) },
		"Trim":         func(m *Message) { m.Trim(0) },
		"TrimFront":    func(m *Message) { m.TrimFront(1) },
		"Lend":         func(m *Message) { m.Lend(e) },
		"Segments":     func(m *Message) { m.Segments() },
		"CopyTo":       func(m *Message) { m.CopyTo(nil, 0) },
		"Head":         func(m *Message) { m.Head(1, nil) },
		"AppendTo":     func(m *Message) { m.AppendTo(nil) },
	}
	for name, use := range uses {
		for how, end := range map[string]func(m *Message){
			"Release": (*Message).Release,
			"MoveTo":  func(m *Message) { q := new(Message); m.MoveTo(q); q.Release() },
		} {
			var m Message
			m.AppendShared(e)
			end(&m)
			if text := panics(func() { use(&m) }); !strings.Contains(text, "already sent, taken or released") {
				t.Errorf("%s after %s: %q", name, how, text)
			}
			if m.Len() != 0 || m.Live() {
				t.Errorf("%s after %s: %d bytes, live %v", name, how, m.Len(), m.Live())
			}
			m.Reset()
			if !m.Live() {
				t.Errorf("%s after %s: Reset did not revive it", name, how)
			}
			m.AppendShared(e)
			m.Release()
		}
	}
	if n := e.Buf.Refs(); n != 1 {
		t.Errorf("%d references are left", n)
	}
}

func TestRefPanics(t *testing.T) {
	a, err := NewPoolArena(make([]byte, 128), 64, func(BufID) {})
	if err != nil {
		t.Fatal(err)
	}
	id := a.ID(0)
	a.Adopt(id)
	if text := panics(func() { a.Adopt(id) }); !strings.Contains(text, "which is held") {
		t.Errorf("Adopt twice: %q", text)
	}
	id.Release()
	if text := panics(func() { id.Release() }); !strings.Contains(text, "nobody holds") {
		t.Errorf("Release twice: %q", text)
	}
	if text := panics(func() { a.ID(1).Retain() }); !strings.Contains(text, "nobody holds") {
		t.Errorf("Retain of a free buffer: %q", text)
	}
	if text := panics(func() { new(Message).Elem(0) }); text != "sgmsg: Elem(0) of 0" {
		t.Errorf("Elem of nothing: %q", text)
	}
}

// TestPoison: in builds that look for it, a buffer nobody holds is overwritten.
func TestPoison(t *testing.T) {
	a := NewHeap(1024)
	defer a.Close(nil)
	e, err := a.Alloc(512)
	if err != nil {
		t.Fatal(err)
	}
	b := e.Bytes()
	clear(b)
	e.Buf.Release()
	if got, want := invariants.Poisoned(b), invariants.Enabled || invariants.Race; got != want {
		t.Errorf("poisoned %v, want %v", got, want)
	}
}

// TestRoom: bytes are added in place where that is allowed and nowhere else.
func TestRoom(t *testing.T) {
	a := NewHeap(64 << 10)
	defer a.Close(nil)
	var m, shared Message
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(m.AppendCopy(a, []byte("abc"), 100))
	must(m.AppendCopy(a, []byte("def"), 0))
	if m.Used() != 1 {
		t.Errorf("%d elements, the room behind the first was not used", m.Used())
	}
	must(m.Clone(&shared, 0, 3))
	must(m.AppendCopy(a, []byte("ghi"), 0))
	if m.Used() != 2 || string(shared.AppendTo(nil)) != "abc" {
		t.Errorf("%d elements, the clone reads %q", m.Used(), shared.AppendTo(nil))
	}
	shared.Release()

	var r Message
	b, err := r.Reserve(a, 8, 5)
	must(err)
	copy(b, "hello")
	must(r.Prepend(a, []byte("12345678")))
	if r.Used() != 1 || string(r.AppendTo(nil)) != "12345678hello" {
		t.Errorf("%d elements: %q", r.Used(), r.AppendTo(nil))
	}
	must(r.Prepend(a, []byte("0")))
	if r.Used() != 2 || string(r.AppendTo(nil)) != "012345678hello" {
		t.Errorf("%d elements: %q", r.Used(), r.AppendTo(nil))
	}
	m.Release()
	r.Release()
	if a.Held() != 0 {
		t.Errorf("%d buffers are still held", a.Held())
	}
}

// offsetAllocator hands out elements that do not begin at the buffer's start.
type offsetAllocator struct{ *Arena }

func (o offsetAllocator) Alloc(n int) (Element, error) {
	e, err := o.Arena.Alloc(n + 16)
	e.Off, e.Len = 16, uint32(n)
	return e, err
}

func TestAllocatorOffset(t *testing.T) {
	a := NewHeap(4096)
	defer a.Close(nil)
	var m Message
	if err := m.AppendCopy(offsetAllocator{a}, []byte("copied"), 0); err != nil {
		t.Fatal(err)
	}
	if e := m.Elem(0); e.Off != 16 || string(m.AppendTo(nil)) != "copied" {
		t.Errorf("%+v: %q", e, m.AppendTo(nil))
	}
	m.Release()
}

// TestLendTwice: of the elements lent only the last rides on the lender's
// reference.
func TestLendTwice(t *testing.T) {
	a := NewHeap(4096)
	defer a.Close(nil)
	e, err := a.Alloc(100)
	if err != nil {
		t.Fatal(err)
	}
	var m Message
	m.Lend(Element{Buf: e.Buf, Off: 0, Len: 10})
	m.Lend(Element{Buf: e.Buf, Off: 50, Len: 10})
	if m.Used() != 2 || e.Buf.Refs() != 2 {
		t.Errorf("%d elements, %d references", m.Used(), e.Buf.Refs())
	}
	m.Reclaim()
	if e.Buf.Refs() != 1 {
		t.Errorf("%d references after Reclaim", e.Buf.Refs())
	}
	e.Buf.Release()
}

// TestRelend: the next message takes the place of one that was only looked at or cut
// shorter. One that owns anything, or that is gone, stays as it is.
func TestRelend(t *testing.T) {
	for _, c := range []struct {
		name   string
		borrow func(m, q *Message, e Element)
		ok     bool
	}{
		{"nothing", func(m, q *Message, e Element) {}, true},
		{"look", func(m, q *Message, e Element) { m.Head(4, nil) }, true},
		{"clone", func(m, q *Message, e Element) { m.Clone(q, 0, 8) }, true},
		{"trim", func(m, q *Message, e Element) { m.Trim(3) }, true},
		{"trim front", func(m, q *Message, e Element) { m.TrimFront(3) }, true},
		{"trim both", func(m, q *Message, e Element) { m.Trim(7); m.TrimFront(6) }, true},
		{"trim all", func(m, q *Message, e Element) { m.Trim(0) }, false},
		{"trim all from the front", func(m, q *Message, e Element) { m.TrimFront(8) }, false},
		{"append", func(m, q *Message, e Element) { m.AppendShared(e) }, false},
		{"append and trim", func(m, q *Message, e Element) { m.AppendShared(e); m.Trim(8) }, false},
		{"move", func(m, q *Message, e Element) { m.MoveTo(q) }, false},
		{"release", func(m, q *Message, e Element) { m.Release() }, false},
		{"reset", func(m, q *Message, e Element) { m.Reset() }, false},
	} {
		a := NewHeap(4096)
		e, err := a.Alloc(100)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range e.Bytes() {
			e.Bytes()[i] = b + byte(i)
		}
		var m, q Message
		m.Lend(Element{Buf: e.Buf, Off: 10, Len: 8})
		c.borrow(&m, &q, Element{Buf: e.Buf, Off: 50, Len: 5})
		before, refs := fmt.Sprintf("%+v", m), e.Buf.Refs()
		if ok := m.Relend(40, 12); ok != c.ok || e.Buf.Refs() != refs {
			t.Errorf("%s: %v, %d references became %d", c.name, ok, refs, e.Buf.Refs())
		} else if !ok && fmt.Sprintf("%+v", m) != before {
			t.Errorf("%s: %s became %+v", c.name, before, m)
		} else if ok && (m.Len() != 12 || m.Used() != 1 || !m.Lent() || string(m.AppendTo(nil)) != string(e.Bytes()[40:52])) {
			t.Errorf("%s: %+v", c.name, m)
		}
		m.Reclaim()
		q.Reset()
		if e.Buf.Refs() != 1 {
			t.Errorf("%s: %d references at the end", c.name, e.Buf.Refs())
		}
		e.Buf.Release()
		a.Close(nil)
	}
	if new(Message).Relend(0, 1) {
		t.Error("an empty message was lent again")
	}
}

// TestNoAllocations: the way of a delivered message that is moved to a queue and
// eaten from there.
func TestNoAllocations(t *testing.T) {
	a := NewHeap(64 << 10)
	defer a.Close(nil)
	e, err := a.Alloc(4096)
	if err != nil {
		t.Fatal(err)
	}
	var m, q Message
	odd := 0
	run := func() {
		for i := range 32 {
			odd ^= 1 // every other message does not continue the one before
			m.Lend(Element{Buf: e.Buf, Off: uint32(64*i + odd), Len: 60})
			m.MoveTo(&q)
			m.Reclaim()
		}
		for q.Len() > 0 {
			q.TrimFront(100)
		}
		if err := q.AppendCopy(a, []byte("0123456789"), 64); err != nil {
			t.Fatal(err)
		}
		q.Trim(5)
		q.Reset()
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 && !invariants.Enabled && !invariants.Race {
		t.Errorf("%v allocations", n)
	}
	if _, err := a.Alloc(1 << 20); err != syscall.ENOMEM {
		t.Errorf("exhaustion is %v and not plain ENOMEM, which needs no memory", err)
	}
	e.Buf.Release()
	if a.Held() != 0 {
		t.Error("buffers are still held")
	}
}

// BenchmarkLend is a delivery without and with a move to a queue.
func BenchmarkLend(b *testing.B) {
	a := NewHeap(64 << 10)
	e, err := a.Alloc(16 << 10)
	if err != nil {
		b.Fatal(err)
	}
	var m, q Message
	b.Run("drop", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			m.Lend(Element{Buf: e.Buf, Off: uint32(i % 256 * 64), Len: 64})
			m.Reclaim()
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if off := uint32(i % 256 * 64); !m.Relend(off, 64) {
				m.Lend(Element{Buf: e.Buf, Off: off, Len: 64})
			}
		}
		m.Reclaim()
	})
	b.Run("move", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			m.Lend(Element{Buf: e.Buf, Off: uint32(i % 256 * 64), Len: 64})
			m.MoveTo(&q)
			m.Reclaim()
			if i%256 == 255 {
				q.TrimFront(q.Len())
			}
		}
		q.Reset()
	})
	e.Buf.Release()
	a.Close(nil)
}

// BenchmarkAlloc stands beside make, which it replaces.
func BenchmarkAlloc(b *testing.B) {
	for _, n := range []int{512, 4096, 65536} {
		b.Run(fmt.Sprintf("arena/%d", n), func(b *testing.B) {
			a := NewHeap(1 << 20)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				e, err := a.Alloc(n)
				if err != nil {
					b.Fatal(err)
				}
				e.Buf.Release()
			}
			a.Close(nil)
		})
		b.Run(fmt.Sprintf("make/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				sink = make([]byte, n)
			}
		})
	}
}

var sink []byte
