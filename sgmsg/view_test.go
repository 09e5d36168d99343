package sgmsg

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/kcm-go/kcm/internal/invariants"
)

// pieces returns a message of the strings, an element each.
func pieces(t testing.TB, a *Arena, texts ...string) *Message {
	m := new(Message)
	for _, s := range texts {
		e, err := a.Alloc(len(s))
		if err != nil {
			t.Fatal(err)
		}
		copy(e.Bytes(), s)
		m.Append(e)
	}
	return m
}

// The views show the bytes and leave the message as it is.
func TestViews(t *testing.T) {
	a := NewHeap(1 << 16)
	m := pieces(t, a, "first", "x", "the third", "4", "five")
	want := []byte("firstxthe third4five")
	if err := iotest.TestReader(struct{ io.Reader }{NewReader(m)}, want); err != nil {
		t.Error(err)
	}
	if bufs := m.AppendBuffers(nil); len(bufs) != 5 || !bytes.Equal(slices.Concat(bufs...), want) {
		t.Errorf("buffers %q", bufs)
	}
	var out bytes.Buffer
	r := NewReader(m)
	if b, err := r.ReadByte(); b != 'f' || err != nil || r.Len() != len(want)-1 {
		t.Errorf("ReadByte %q, %v, %d are left", b, err, r.Len())
	}
	if n, err := r.WriteTo(&out); int(n) != len(want)-1 || err != nil || out.String() != string(want[1:]) {
		t.Errorf("WriteTo %d, %v: %q", n, err, out.String())
	}
	if _, err := r.ReadByte(); err != io.EOF || r.Len() != 0 {
		t.Errorf("ReadByte at the end: %v", err)
	}
	if n, err := r.WriteTo(&out); n != 0 || err != nil {
		t.Errorf("WriteTo at the end: %d, %v", n, err)
	}
	if n, err := new(Reader).Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read of nothing: %d, %v", n, err)
	}
	if m.Len() != len(want) || m.Used() != 5 {
		t.Errorf("%d bytes in %d elements are left", m.Len(), m.Used())
	}
	m.Release()
	if a.Held() != 0 {
		t.Error("a buffer is still held")
	}
	a.Close(nil)
}

// stingy takes three bytes of each write, or says so.
type stingy struct {
	err error
	got []byte
}

func (w *stingy) Write(p []byte) (int, error) {
	n := min(3, len(p))
	w.got = append(w.got, p[:n]...)
	if n < len(p) {
		return n, w.err
	}
	return n, nil
}

// WriteTo says how far it came, and goes on from there.
func TestWriteToOfWriterThatTakesLess(t *testing.T) {
	a := NewHeap(1 << 16)
	defer a.Close(nil)
	m := pieces(t, a, "ab", "cdefg", "hi")
	defer m.Release()
	broken := errors.New("broken")
	for _, c := range []struct{ says, want error }{{broken, broken}, {nil, io.ErrShortWrite}} {
		r := NewReader(m)
		w := &stingy{err: c.says}
		if n, err := r.WriteTo(w); n != 5 || err != c.want {
			t.Errorf("%d, %v, want 5, %v", n, err, c.want)
		}
		if n, err := r.WriteTo(w); n != 4 || err != nil || string(w.got) != "abcdefghi" {
			t.Errorf("%d, %v, %q", n, err, w.got)
		}
	}
}

// Wrapped memory is never written, not when it comes back either; its place is free for
// others again.
func TestWrappedMemoryIsNotWritten(t *testing.T) {
	mem := []byte("the caller's own memory")
	for range 2 * maxArenas {
		back := 0
		e, err := Wrap(mem, func() { back++ })
		if err != nil {
			t.Fatal(err)
		}
		var m, o Message
		m.Append(e)
		if err := m.Clone(&o, 4, 8); err != nil {
			t.Fatal(err)
		}
		m.Release()
		if back != 0 {
			t.Fatal("it came back while a clone refers to it")
		}
		o.Release()
		if back != 1 {
			t.Fatalf("it came back %d times", back)
		}
	}
	if string(mem) != "the caller's own memory" {
		t.Errorf("it is %q now (invariants %v)", mem, invariants.Enabled)
	}
	if _, err := Wrap(nil, nil); err == nil {
		t.Error("no memory was wrapped")
	}
}

// What moves to a message that is bound is charged, by the shortest way too.
func TestMoveToBoundMessageIsCharged(t *testing.T) {
	a := NewHeap(4096)
	defer a.Close(nil)
	acct := &Account{Memory: a}
	e, err := a.Alloc(8)
	if err != nil {
		t.Fatal(err)
	}
	var queue, m Message
	queue.Bind(acct)
	for off := uint32(0); off < 8; off += 4 {
		m.Lend(Element{Buf: e.Buf, Off: off, Len: 4})
		m.MoveTo(&queue)
		m.Reclaim()
	}
	if acct.Charged() != 8 || queue.Used() != 1 {
		t.Errorf("%d bytes are charged of 8 in %d elements", acct.Charged(), queue.Used())
	}
	queue.Release()
	e.Buf.Release()
	if acct.Charged() != 0 || a.Held() != 0 {
		t.Errorf("%d bytes are charged, %d buffers held", acct.Charged(), a.Held())
	}
}

// A message whose object is used again is built without allocating.
func TestBuildingDoesNotAllocate(t *testing.T) {
	if invariants.Enabled || invariants.Race {
		t.Skip("these builds note who holds what")
	}
	a := NewHeap(1 << 16)
	defer a.Close(nil)
	acct := &Account{Memory: a}
	it := NewIter(make([]byte, 1000))
	var m, out Message
	var r Reader
	var bufs [][]byte
	p := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		m.Bind(acct)
		err := m.Alloc(1000, 0)
		_, err2 := m.MemCopyFrom(it, 1000)
		it.Revert(1000)
		_, err3 := m.Pull(10, 20)
		err = errors.Join(err, err2, err3, m.Push(500, 10), m.Pop(100, 50), m.MoveFront(&out, 300))
		r.Reset(&m)
		_, err2 = r.Read(p)
		bufs = m.AppendBuffers(bufs[:0])
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		out.Reset()
		m.Reset()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
