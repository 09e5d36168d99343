package echo

import (
	"bytes"
	"errors"
	"testing"
)

func frame(n int) []byte {
	f := make([]byte, HeaderLen+n)
	f[0], f[1], f[2], f[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	return f
}

func TestWhole(t *testing.T) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, tt := range []struct {
		name    string
		b       []byte
		n, next int
		err     error
	}{
		{"nothing", nil, 0, 0, nil},
		{"part of a header", []byte{0, 0, 0}, 0, 0, nil},
		{"header alone", frame(5)[:4], 0, 9, nil},
		{"empty payload", frame(0), 4, 0, nil},
		{"one byte short", frame(5)[:8], 0, 9, nil},
		{"two and a part", join(frame(5), frame(0), frame(70000)[:10]), 13, 70004, nil},
		{"two and half a header", join(frame(1), frame(2), []byte{0}), 11, 0, nil},
		{"largest", frame(MaxMessage)[:4], 0, MaxMessage + 4, nil},
		{"too large", []byte{1, 0, 0, 1}, 0, 0, errTooLarge},
		{"too large after one", join(frame(3), []byte{255, 255, 255, 255}), 7, 0, errTooLarge},
	} {
		n, next, err := whole(tt.b)
		if n != tt.n || next != tt.next || !errors.Is(err, tt.err) {
			t.Errorf("%s: whole = %d, %d, %v, want %d, %d, %v", tt.name, n, next, err, tt.n, tt.next, tt.err)
		}
	}
}

func TestGrow(t *testing.T) {
	b := append(make([]byte, 0, 8), "abc"...)
	if g := grow(b, 8); &g[0] != &b[0] {
		t.Error("grow moved a buffer that had room")
	}
	g := grow(b, 5000)
	if string(g) != "abc" || cap(g) < 5000 {
		t.Errorf("grow = %q with capacity %d", g, cap(g))
	}
}
