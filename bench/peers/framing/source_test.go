package framing

import (
	"errors"
	"io"
	"testing"
)

func TestSource(t *testing.T) {
	s := NewSource([]byte("abcde"), []byte("fg"))
	p := make([]byte, 3)
	for _, want := range []struct {
		got  string
		rest int
	}{{"abc", 2}, {"de", 0}, {"fg", 0}} {
		n, err := s.Read(p)
		if string(p[:n]) != want.got || err != nil || s.Rest() != want.rest {
			t.Errorf("read %q, %v, rest %d, want %+v", p[:n], err, s.Rest(), want)
		}
	}
	if n, err := s.Read(p); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d, %v at the end", n, err)
	}
	if b, err := s.Take(p); b != nil || !errors.Is(err, io.EOF) {
		t.Errorf("took %q, %v at the end", b, err)
	}
}

// TestSourceForever: the last chunk repeats, and both ways of receiving go on where the
// other stopped.
func TestSourceForever(t *testing.T) {
	s := NewSource([]byte("ab"), []byte("cdef"))
	s.forever = true
	var got string
	p, buf := make([]byte, 3), make([]byte, 8)
	for range 4 {
		n, err := s.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Take(buf)
		if err != nil {
			t.Fatal(err)
		}
		got += string(p[:n]) + "|" + string(b) + "|"
	}
	if want := "ab|cdef|cde|f|cde|f|cde|f|"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestSourceInPlace: reads leave memory as it is, and what is taken is the chunk itself.
func TestSourceInPlace(t *testing.T) {
	chunk := []byte("abcd")
	s := NewSource(chunk)
	s.forever, s.inPlace = true, true
	p := []byte("...")
	if n, err := s.Read(p); n != 3 || err != nil || string(p) != "..." {
		t.Errorf("read %d, %v: %q", n, err, p)
	}
	if b, err := s.Take(nil); err != nil || len(b) != 1 || &b[0] != &chunk[3] {
		t.Errorf("took %q, %v", b, err)
	}
	if b, err := s.Take(nil); err != nil || len(b) != 4 || &b[0] != &chunk[0] {
		t.Errorf("took %q, %v", b, err)
	}
}
