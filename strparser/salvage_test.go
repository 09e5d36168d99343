//go:build linux

package strparser_test

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// TestSalvage: with what is unread on the lower, the bytes in hand make the
// stream whole again, wherever they were kept.
func TestSalvage(t *testing.T) {
	for _, parts := range [][]string{
		{"\x00"},
		{"\x00", "\xc8", "abc"},
		{"\x00\xc8" + strings.Repeat("a", 30)},
		{"\x00\xc8", strings.Repeat("a", 30), strings.Repeat("b", 100)},
		{"\x00\x01x"},
	} {
		l := newLower(t, 8)
		var got string
		p, err := strparser.New(l, strparser.Options{
			Format:  strparser.Length16,
			Message: func(_ *strparser.Parser, m *sgmsg.Message) { got += string(m.AppendTo(nil)) },
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			l.feed(0, []byte(part))
			p.Check()
		}
		l.feed(0, []byte("unread"))
		if panics(func() { p.Salvage(new(sgmsg.Message)) }) == nil {
			t.Error("salvaged from a running parser")
		}
		p.Stop()
		m := new(sgmsg.Message)
		hand := p.InProgress()
		l.noMemory = 1
		if err := p.Salvage(m); err != nil {
			if !errors.Is(err, syscall.ENOMEM) || p.InProgress() != hand || m.Len() != 0 {
				t.Errorf("%q: %v, %d in hand, %d salvaged", parts, err, p.InProgress(), m.Len())
			}
			if err := p.Salvage(m); err != nil {
				t.Fatal(err)
			}
		}
		if s := got + string(m.AppendTo(nil)); s != strings.Join(parts, "") || m.Len() != hand || p.InProgress() != 0 {
			t.Errorf("%q: salvaged %q, %d of %d bytes", parts, s, m.Len(), hand)
		}
		m.Release()
		p.Done()
		l.close()
	}
}

func panics(f func()) (text any) {
	defer func() { text = recover() }()
	f()
	return nil
}
