//go:build linux

package strparser_test

import (
	"bytes"
	"testing"

	"github.com/kcm-go/kcm/internal/statements"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Every statement of docs/framing.md is proved, and what is named exists.
func TestEveryStatementIsProved(t *testing.T) {
	statements.Check(t, "../docs/framing.md", 15+17+38, "*_test.go", "cbpf/*_test.go", "../mux/steer_test.go", "testdata/*.txt")
}

// Proves E37.
func TestKeptMessageOutlivesOthers(t *testing.T) {
	l := newLower(t, 64)
	var kept *sgmsg.Message
	n := 0
	p, err := strparser.New(l, strparser.Options{Format: strparser.Length16, Message: func(_ *strparser.Parser, m *sgmsg.Message) {
		if n++; n == 2 {
			kept = m.Take()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	message := func(c byte) []byte { return append([]byte{0, 50}, bytes.Repeat([]byte{c}, 50)...) }
	for i := range 10_000 {
		l.feed(0, message(byte(i))) // there are 64 buffers, so the others come back
		p.DataReady()
	}
	if n != 10_000 || !bytes.Equal(kept.AppendTo(nil), message(1)) {
		t.Errorf("%d messages, the kept one is % x", n, kept.AppendTo(nil))
	}
	if held := l.pool.Held(); held != 1 {
		t.Errorf("%d buffers are held by one message", held)
	}
	kept.Release()
	p.Stop()
	p.Done()
	l.close()
}

// A lower that offers the same bytes again has them parsed again.
//
// Proves E38.
func TestLowerThatOffersBytesTwice(t *testing.T) {
	l := newLower(t, 4)
	n := 0
	p, err := strparser.New(l, strparser.Options{Format: strparser.Length16, Message: func(*strparser.Parser, *sgmsg.Message) { n++ }})
	if err != nil {
		t.Fatal(err)
	}
	b := []byte{0, 1, 'x', 0, 1, 'y'}
	l.feed(0, b)
	p.DataReady()
	l.feed(0, b)
	p.DataReady()
	if n != 4 || p.Err() != nil {
		t.Errorf("%d messages, %v", n, p.Err())
	}
	p.Stop()
	p.Done()
	l.close()
}

// The parser's results that differ by how often it was asked are counted: NeedMoreHdr is the
// number of zeros, ReadDone is called once for each loop.
//
// Proves I5, I10.
func TestCallsAreCounted(t *testing.T) {
	l := newLower(t, 8)
	zeros, loops, messages := 0, 0, 0
	p, err := strparser.New(l, strparser.Options{
		Format: strparser.ParseFunc(func(v *strparser.View) (int, error) {
			if v.Len() < 4 {
				zeros++
				return 0, nil
			}
			return 6, nil
		}),
		Message:  func(*strparser.Parser, *sgmsg.Message) { messages++ },
		ReadDone: func(_ *strparser.Parser, err error) error { loops++; return err },
	})
	if err != nil {
		t.Fatal(err)
	}
	ready := 0
	for i := range 60 {
		l.feed(0, []byte{byte(i)})
		if !p.Paused() && (p.Need() == 0 || l.unread >= p.Need()) {
			ready++
		}
		p.DataReady()
	}
	st := p.Stats()
	if loops != ready || zeros == 0 || messages != 10 || int(st.NeedMoreHdr) != zeros || int(st.Messages) != messages {
		t.Errorf("%d loops of %d, %d zeros, %d messages; counted %d and %d", loops, ready, zeros, messages, st.NeedMoreHdr, st.Messages)
	}
	p.Stop()
	p.Done()
	l.close()
}
