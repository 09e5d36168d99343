//go:build linux

package strparser_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Every statement of docs/framing.md is named by a test or a transcript: in a comment
// "Proves E1, I2.", or in testdata by a heading "# 1, 2. ..." for E1 and E2. What is named
// exists.
func TestEveryStatementIsProved(t *testing.T) {
	doc, err := os.ReadFile("../docs/framing.md")
	if err != nil {
		t.Fatal(err)
	}
	stated := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:\| |- \*\*)([CIE]\d+)(?: \||\*\*)`).FindAllSubmatch(doc, -1) {
		stated[string(m[1])] = true
	}
	if len(stated) != 15+17+38 {
		t.Fatalf("%d statements in docs/framing.md, want 70", len(stated))
	}
	proved := map[string]string{}
	each := func(pattern string, find func(text []byte, note func(number string))) {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %d files", pattern, err, len(files))
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			find(text, func(number string) {
				proved[number] = name
				if !stated[number] {
					t.Errorf("%s names %s, which docs/framing.md does not state", name, number)
				}
			})
		}
	}
	proves := regexp.MustCompile(`(?m)^(?://|#) Proves ([CIE0-9, ]+)\.`)
	number := regexp.MustCompile(`[CIE]\d+`)
	comments := func(text []byte, note func(string)) {
		for _, m := range proves.FindAllSubmatch(text, -1) {
			for _, n := range number.FindAll(m[1], -1) {
				note(string(n))
			}
		}
	}
	for _, pattern := range []string{"*_test.go", "cbpf/*_test.go", "../mux/*_test.go"} {
		each(pattern, comments)
	}
	heading := regexp.MustCompile(`(?m)^# (\d+(?:, \d+)*)\. `)
	each("testdata/*.txt", func(text []byte, note func(string)) {
		comments(text, note)
		for _, m := range heading.FindAllSubmatch(text, -1) {
			for _, n := range regexp.MustCompile(`\d+`).FindAll(m[1], -1) {
				note("E" + string(n))
			}
		}
	})
	for n := range stated {
		if proved[n] == "" {
			t.Errorf("nothing proves %s", n)
		}
	}
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
