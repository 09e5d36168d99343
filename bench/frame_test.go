package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

func TestFrames(t *testing.T) {
	for text, want := range map[string]string{
		"len32":                    "00000003 616263",
		"len8":                     "03 616263",
		"len8le":                   "03 616263",
		"len16":                    "0003 616263",
		"len16le":                  "0300 616263",
		"len24":                    "000003 616263",
		"len64le":                  "0300000000000000 616263",
		"len32,inclusive":          "00000007 616263",
		"len16le,offset=2":         "00000300 616263",
		"len16,inclusive,offset=3": "0000000008 616263",
	} {
		f, err := ParseFrame(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, err := ParseFrame(f.String())
		if err != nil || again != f || text != "len8le" && f.String() != text {
			t.Errorf("%s: %v, %v", text, f, err)
		}
		h := newHeader(f)
		b := make([]byte, h.len+3)
		for i := range b {
			b[i] = 0xff
		}
		h.put(b, 3)
		copy(b[h.len:], "abc")
		if got := fmt.Sprintf("%x %x", b[:h.len], b[h.len:]); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	if (Frame{}).String() != "len32" || (Frame{}).Format().HeaderLen() != 4 {
		t.Errorf("the zero frame is %v", Frame{})
	}
	for _, text := range []string{"", "json", "len", "len0", "len12", "len72", "len32be", "len32,", "len32,offset=", "len32,offset=25", "len32,offset=-1", "32", "len32,exclusive"} {
		if f, err := ParseFrame(text); err == nil {
			t.Errorf("%s: %v, want an error", text, f)
		}
	}
}

// Messages of every framing come back, and what a server changes is noticed.
func TestRunWithEveryFrame(t *testing.T) {
	for _, text := range []string{"len8", "len16le", "len24", "len32,inclusive", "len64le,offset=5", "len16,inclusive,offset=24"} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			f, err := ParseFrame(text)
			if err != nil {
				t.Fatal(err)
			}
			c := short("")
			c.Frame, c.Size, c.Service = f, Sizes{Min: 13, Max: 200}, Service{Time: time.Microsecond}
			if rep := succeed(t, c); rep.Frame != text {
				t.Errorf("frame %s", rep.Frame)
			}
			al := sgmsg.NewHeap(1 << 16)
			w := filled(c.Workload)
			for i := range w.header.len + w.size(5) {
				m := build(t, al, w, 5, 7, func(b []byte) { b[i] ^= 1 })
				if w.matches(m, 5) {
					t.Errorf("a change of byte %d went unnoticed", i)
				}
				m.Release()
			}
		})
	}
}

func TestFrameMustHoldTheLargest(t *testing.T) {
	w := good()
	w.Frame, w.Size = Frame{Width: 1}, Sizes{Min: 64, Max: 256}
	if err := w.Check(); err == nil {
		t.Error("256 bytes with a length of one byte")
	}
	w.Size.Max = 255
	if err := w.Check(); err != nil {
		t.Error(err)
	}
	w.Frame.Inclusive = true
	if err := w.Check(); err == nil {
		t.Error("255 bytes and the header with a length of one byte")
	}
}
