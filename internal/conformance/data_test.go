package conformance

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

func mustData(t *testing.T, text string) Data {
	t.Helper()
	tokens, err := lex(text)
	if err != nil {
		t.Fatal(err)
	}
	d, err := parseData(tokens)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDataBytes(t *testing.T) {
	for _, c := range []struct{ data, bytes string }{
		{`"abc"`, "abc"},
		{`5 "ab"`, "ababa"},
		{`0 "ab"`, ""},
		{`hex 0005`, "\x00\x05"},
		{`msg "hello"`, "\x00\x00\x00\x05hello"},
		{`msg ""`, "\x00\x00\x00\x00"},
		{`msg 3 "a" + hex 00ff + "b"`, "\x00\x00\x00\x06aaa\x00\xffb"},
		{`head 258 "x"`, "\x00\x00\x01\x02x"},
		{`fail 74`, "\x80\x00\x00\x4a"},
		{`msg "a" msg "b" hex 00`, "\x00\x00\x00\x01a\x00\x00\x00\x01b\x00"},
	} {
		d := mustData(t, c.data)
		if got := string(d.Bytes()); got != c.bytes {
			t.Errorf("%s: %q, want %q", c.data, got, c.bytes)
		}
		if got := d.String(); got != c.data {
			t.Errorf("%s prints as %s", c.data, got)
		}
	}
}

func TestDataRefused(t *testing.T) {
	for _, text := range []string{
		`abc`, `hex`, `hex 0`, `hex 0G`, `hex 0A`, `hex "00"`, `head`, `head x`, `head 01`, `5`, `5 6 "a"`,
		`5 ""`, `msg`, `"a" +`, `+ "a"`, `"a" "b`, `"a""b"`, `msg head 5`, `99999999999 "a"`,
		`67108864 "a"`, `20000000 "a" 20000000 "b"`, `20000000 "a" + 20000000 "b"`, `-1 "a"`,
	} {
		tokens, err := lex(text)
		if err == nil {
			_, err = parseData(tokens)
		}
		if err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`msg "hello"`, `msg "hello"`},
		{`msg 1000 "a"`, `msg 1000 "a"`},
		{`msg 20 "a" + 20 "b" msg ""`, `msg 20 "a" + 20 "b" msg ""`},
		{`msg 7 "a"`, `msg "aaaaaaa"`},
		{`head 100 10 "a"`, `head 100 10 "a"`},
		{`head 100`, `head 100`},
		{`hex 0000`, `hex 0000`},
		{`"ab" msg "c"`, `"ab" msg "c"`},
		{`fail 74 "x"`, `fail 74 "x"`},
		{`msg hex 00 + "ab" + hex ff`, `msg hex 00 + "ab" + hex ff`},
		{`"quote\"" 8 "\\"`, `"quote\"" + 8 "\\"`},
	} {
		b := mustData(t, c.data).Bytes()
		if got := Describe(b); got != c.want {
			t.Errorf("%s is told as %s, want %s", c.data, got, c.want)
		}
	}
}

func TestDescribeWhole(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`msg "hello"`, `msg "hello"`},
		{`msg "hello" head 10 "abc"`, `msg "hello" part`},
		{`head 10`, `part`},
	} {
		if got := DescribeWhole(mustData(t, c.data).Bytes()); got != c.want {
			t.Errorf("%s is told as %s, want %s", c.data, got, c.want)
		}
	}
}

// What Describe returns is data again, with the same bytes.
func checkDescribe(t *testing.T, b []byte) {
	t.Helper()
	text := Describe(b)
	tokens, err := lex(text)
	if err != nil {
		t.Fatalf("%q is told as %s: %v", b, text, err)
	}
	d, err := parseData(tokens)
	if err != nil {
		t.Fatalf("%q is told as %s: %v", b, text, err)
	}
	if got := d.Bytes(); !bytes.Equal(got, b) {
		t.Fatalf("%q is told as %s, which is %q", b, text, got)
	}
	if again := d.String(); again != text {
		t.Fatalf("%s prints as %s", text, again)
	}
}

func TestDescribeLosesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	alphabet := "\x00\x00\x00\x01\x09\x10aab\"\\ \xff"
	for range 20000 {
		b := make([]byte, rng.IntN(40))
		for i := range b {
			b[i] = alphabet[rng.IntN(len(alphabet))]
			if i > 0 && rng.IntN(2) == 0 {
				b[i] = b[i-1]
			}
		}
		checkDescribe(t, b)
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x05hello\x00\x00"))
	f.Add([]byte(strings.Repeat("a", 9)))
	f.Fuzz(checkDescribe)
}
