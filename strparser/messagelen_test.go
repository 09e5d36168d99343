package strparser_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

func TestMessageLen(t *testing.T) {
	a, err := sgmsg.NewArena(make([]byte, 64<<10), 64)
	if err != nil {
		t.Fatal(err)
	}
	whole := append([]byte{0, 0, 0, 26}, "abcdefghijklmnopqrstuvwxyz"...)
	// The header and the end may lie anywhere in the pieces.
	for cut := 1; cut < len(whole); cut++ {
		var m sgmsg.Message
		for _, p := range [][]byte{whole[:cut], whole[cut:]} {
			e, err := a.Alloc(len(p))
			if err != nil {
				t.Fatal(err)
			}
			copy(e.Bytes(), p)
			m.Append(e)
		}
		if m.Used() != 2 {
			t.Fatalf("%d pieces", m.Used())
		}
		if n, err := strparser.MessageLen(strparser.Length32, &m); n != len(whole) || err != nil || m.Len() != len(whole) {
			t.Errorf("cut at %d: %d, %v", cut, n, err)
		}
		m.Release()
	}
	var m sgmsg.Message
	if n, err := strparser.MessageLen(strparser.Length32, &m); n != 0 || err != nil {
		t.Errorf("of nothing: %d, %v", n, err)
	}
	if err := m.AppendCopy(a, whole[:3], 0); err != nil {
		t.Fatal(err)
	}
	if n, err := strparser.MessageLen(strparser.Length32, &m); n != 0 || err != nil {
		t.Errorf("of a part of the header: %d, %v", n, err)
	}
	fails := strparser.ParseFunc(func(v *strparser.View) (int, error) {
		if v.Len() != 3 || v.Off != 0 {
			t.Errorf("the view has %d bytes, and was looked at", v.Len())
		}
		v.Off = 3
		return 0, syscall.EPROTO
	})
	for range 2 {
		if _, err := strparser.MessageLen(fails, &m); !errors.Is(err, syscall.EPROTO) {
			t.Error(err)
		}
	}
	if !invariants.Race && !invariants.Enabled { // the checks of these builds allocate
		var f strparser.Format = strparser.Length32
		if n := testing.AllocsPerRun(100, func() { strparser.MessageLen(f, &m) }); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
	m.Release()
	if n := a.InUse(); n != 0 {
		t.Errorf("%d bytes in use at the end", n)
	}
}
