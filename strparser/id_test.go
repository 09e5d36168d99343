package strparser_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

var little = binary.LittleEndian

// pieces makes a message of elements in buffers of their own.
func pieces(t testing.TB, al sgmsg.Allocator, m *sgmsg.Message, parts ...string) {
	t.Helper()
	for _, p := range parts {
		e, err := al.Alloc(len(p))
		if err != nil {
			t.Fatal(err)
		}
		e.Len = uint32(copy(e.Bytes(), p))
		m.Append(e)
	}
}

func TestIDFieldReadsAndWrites(t *testing.T) {
	al := sgmsg.NewHeap(1 << 16)
	for _, x := range []struct {
		f    strparser.IDField
		id   uint64
		want string
	}{
		{strparser.IDField{Offset: 0, Width: 1}, 0xfe, "\xfebcdefghij"},
		{strparser.IDField{Offset: 2, Width: 2}, 0x0102, "ab\x01\x02efghij"},
		{strparser.IDField{Offset: 2, Width: 2, Order: little}, 0x0102, "ab\x02\x01efghij"},
		{strparser.IDField{Offset: 1, Width: 3, Order: little}, 0x010203, "a\x03\x02\x01efghij"},
		{strparser.IDField{Offset: 6, Width: 4}, 0xfffefdfc, "abcdef\xff\xfe\xfd\xfc"},
		{strparser.IDField{Offset: 1, Width: 8}, 0x0102030405060708, "a\x01\x02\x03\x04\x05\x06\x07\x08j"},
		{strparser.IDField{Width: 1, Find: func(m *sgmsg.Message) (int, bool) { return m.Len() - 1, true }}, 7, "abcdefghi\x07"},
	} {
		if err := x.f.Check(); err != nil {
			t.Errorf("%+v: %v", x.f, err)
		}
		for _, parts := range [][]string{{"abcdefghij"}, {"a", "bcd", "efghi", "j"}, {"abcdefghi", "j"}} {
			for _, share := range []bool{false, true} {
				var m, other sgmsg.Message
				pieces(t, al, &m, parts...)
				if share {
					if err := m.Clone(&other, 0, m.Len()); err != nil {
						t.Fatal(err)
					}
				}
				if err := x.f.Set(&m, al, x.id); err != nil {
					t.Fatalf("%+v: %v", x.f, err)
				}
				if got := string(m.AppendTo(nil)); got != x.want {
					t.Errorf("%+v in %q is %q, want %q", x.f, parts, got, x.want)
				}
				if id, ok := x.f.Get(&m); !ok || id != x.id {
					t.Errorf("%+v in %q: read %#x, %v", x.f, parts, id, ok)
				}
				if share && string(other.AppendTo(nil)) != "abcdefghij" {
					t.Errorf("%+v in %q: who shares the memory sees %q", x.f, parts, other.AppendTo(nil))
				}
				m.Release()
				other.Release()
			}
		}
	}
	if held := al.Held(); held != 0 {
		t.Errorf("%d buffers are held", held)
	}
}

// A field far from the start, whose head does not fit on the stack.
func TestIDFieldFarBehind(t *testing.T) {
	al := sgmsg.NewHeap(1 << 16)
	text := bytes.Repeat([]byte("x"), 500)
	f := strparser.IDField{Offset: 300, Width: 4}
	var m, other sgmsg.Message
	pieces(t, al, &m, string(text))
	if err := m.Clone(&other, 0, m.Len()); err != nil {
		t.Fatal(err)
	}
	if err := f.Set(&m, al, 0x01020304); err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(text)
	copy(want[300:], "\x01\x02\x03\x04")
	if !bytes.Equal(m.AppendTo(nil), want) || !bytes.Equal(other.AppendTo(nil), text) {
		t.Errorf("the message is %q, the other %q", m.AppendTo(nil), other.AppendTo(nil))
	}
	m.Release()
	other.Release()
}

func TestIDFieldErrors(t *testing.T) {
	for _, f := range []strparser.IDField{
		{}, {Width: 9}, {Width: -1}, {Width: 4, Offset: -1}, {Width: 4, Offset: 1<<16 + 1}, {Width: 2, Max: 1 << 16},
	} {
		if err := f.Check(); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("Check of %+v: %v", f, err)
		}
	}
	al := sgmsg.NewHeap(1 << 16)
	var m sgmsg.Message
	pieces(t, al, &m, "abc", "def")
	none := func(*sgmsg.Message) (int, bool) { return 0, false }
	for _, x := range []struct {
		f    strparser.IDField
		id   uint64
		al   sgmsg.Allocator
		want syscall.Errno
	}{
		{strparser.IDField{Offset: 3, Width: 4}, 1, al, syscall.EINVAL},
		{strparser.IDField{Width: 2, Find: none}, 1, al, syscall.EINVAL},
		{strparser.IDField{Width: 2, Find: func(*sgmsg.Message) (int, bool) { return -1, true }}, 1, al, syscall.EINVAL},
		{strparser.IDField{Width: 2}, 1 << 16, al, syscall.EOVERFLOW},
		{strparser.IDField{Width: 2, Max: 99}, 100, al, syscall.EOVERFLOW},
		{strparser.IDField{Offset: 2, Width: 2}, 1, noMemory{}, syscall.ENOMEM},
	} {
		if err := x.f.Set(&m, x.al, x.id); !errors.Is(err, x.want) {
			t.Errorf("Set of %+v: %v, want %v", x.f, err, x.want)
		}
		if got := string(m.AppendTo(nil)); got != "abcdef" || m.Len() != 6 {
			t.Errorf("Set of %+v failed and left %q", x.f, got)
		}
		if _, ok := x.f.Get(&m); ok != (x.want != syscall.EINVAL) {
			t.Errorf("Get of %+v: %v", x.f, ok)
		}
	}
	m.Release()
}

type noMemory struct{}

func (noMemory) Alloc(int) (sgmsg.Element, error) { return sgmsg.Element{}, syscall.ENOMEM }

// A message bound to an account that allows no more elements and has no memory needs
// none of it.
func TestIDFieldOfFullMessage(t *testing.T) {
	al := sgmsg.NewHeap(1 << 16)
	var m, other sgmsg.Message
	pieces(t, al, &m, "abcdef")
	if err := m.Clone(&other, 0, m.Len()); err != nil {
		t.Fatal(err)
	}
	m.Bind(&sgmsg.Account{MaxFrags: 1, Memory: noMemory{}})
	err := strparser.IDField{Offset: 1, Width: 2}.Set(&m, al, 0x3132)
	if got := string(m.AppendTo(nil)); err != nil || got != "a12def" {
		t.Errorf("%q, %v", got, err)
	}
	m.Release()
	other.Release()
}

func TestIDFieldAllocatesNothing(t *testing.T) {
	if invariants.Race || invariants.Enabled {
		t.Skip("the checks of this build allocate")
	}
	al := sgmsg.NewHeap(1 << 16)
	text := []byte("abcdefgh")
	for _, f := range []strparser.IDField{
		{Offset: 4, Width: 4}, {Offset: 4, Width: 4, Order: little}, {Width: 4, Find: func(*sgmsg.Message) (int, bool) { return 2, true }},
	} {
		m, other := new(sgmsg.Message), new(sgmsg.Message)
		seen := uint64(0)
		n := testing.AllocsPerRun(100, func() {
			_ = m.AppendCopy(al, text, 0)
			_ = m.Clone(other, 0, 8)
			_ = f.Set(m, al, 9)
			id, _ := f.Get(m)
			seen += id
			m.Reset()
			other.Reset()
		})
		if seen != 101*9 || n > 0 {
			t.Errorf("%+v: %v allocations, sum %d", f, n, seen)
		}
	}
}

// FuzzIDField: a number that was written is read again, nothing else changes, and who
// shares the memory sees nothing of it.
func FuzzIDField(f *testing.F) {
	f.Add([]byte("0123456789"), uint8(4), uint8(2), uint16(2), false, uint64(77))
	f.Add([]byte("0123456789"), uint8(1), uint8(8), uint16(4), true, uint64(1<<60))
	al := sgmsg.NewHeap(1 << 20)
	f.Fuzz(func(t *testing.T, text []byte, cut, width uint8, offset uint16, le bool, id uint64) {
		field := strparser.IDField{Width: int(width), Offset: int(offset)}
		if le {
			field.Order = little
		}
		if field.Check() != nil || len(text) > 1<<12 {
			return
		}
		var m, other sgmsg.Message
		at := min(int(cut), len(text))
		pieces(t, al, &m, string(text[:at]), string(text[at:]))
		if err := m.Clone(&other, 0, m.Len()); err != nil {
			t.Fatal(err)
		}
		before, had := field.Get(&m)
		err := field.Set(&m, al, id)
		if (err == nil) != (had && id <= field.Largest()) {
			t.Fatalf("Set: %v, had a number: %v", err, had)
		}
		if got := other.AppendTo(nil); !bytes.Equal(got, text) {
			t.Fatalf("the other sees % x, was % x", got, text)
		}
		if err == nil {
			if got, ok := field.Get(&m); !ok || got != id {
				t.Fatalf("wrote %#x, read %#x, %v", id, got, ok)
			}
			if err := field.Set(&m, al, before); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.AppendTo(nil); !bytes.Equal(got, text) {
			t.Fatalf("after all % x, was % x", got, text)
		}
		m.Release()
		other.Release()
		if held := al.Held(); held != 0 {
			t.Fatalf("%d buffers are held", held)
		}
	})
}
