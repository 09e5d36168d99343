package feed

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestRecordingIsReadAsItWasWritten(t *testing.T) {
	same := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	r := &Recording{Notes: []string{"a note", "", "another"}, Messages: [][]byte{
		{0}, []byte("# no note"), same(7, shortestRun-1), same(7, shortestRun), same(0, 70000), same(0xff, 23), same(0x80, 100),
		append(append([]byte("ab"), same('b', 30)...), "bc"...),
		{0x80, 0xff, 0xc3, 0xa9, 0xef, 0xbf, 0xbd},
		append(same(1, 30), same(2, 40)...),
	}}
	got, err := ReadRecording(bytes.NewReader(r.Text()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("%q\nwant %q, from\n%s", got, r, r.Text())
	}
	if line := Line(r.Messages[7]); line != "61 62*32 63" {
		t.Errorf("a line of %q", line)
	}
}

func TestRecordingsThatAreRefused(t *testing.T) {
	for _, text := range []string{"\n", "0\n", "0x\n", "00*0\n", "00*\n", "00*-1\n", "*3\n", "0000*3\n", "00*99999999999\n"} {
		r, err := ReadRecording(strings.NewReader("# a note\n01\n" + text))
		if err == nil {
			t.Errorf("%q: %q", text, r.Messages)
		} else if !strings.HasPrefix(err.Error(), "line 3: ") {
			t.Errorf("%q: %v, want the line", text, err)
		}
	}
}
