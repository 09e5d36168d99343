//go:build linux

package main

import (
	"io"
	"strings"
	"testing"
)

func TestLines(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "",
		"one\ntwo\n":         "= one\n= two\n",
		"one\n\nno end":      "= one\n= \n= no end\n",
		"end 1\nbegin x\n\n": "= end 1\n= begin x\n= \n",
	} {
		for size := 1; size <= len(text)+1; size++ {
			var out strings.Builder
			l := &lines{out: &out}
			for part := text; part != ""; {
				n := min(size, len(part))
				if _, err := io.WriteString(l, part[:n]); err != nil {
					t.Fatal(err)
				}
				part = part[n:]
			}
			l.end()
			if out.String() != want {
				t.Errorf("%q in pieces of %d: %q, want %q", text, size, out.String(), want)
			}
		}
	}
}
