package uring

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestParseSwitches(t *testing.T) {
	for list, want := range map[string]Switches{
		"":                                   AllSwitches,
		"no-sqarray=off":                     AllSwitches &^ NoSQArray,
		" huge-pages=off, fixed-buffers=off": AllSwitches &^ (HugePages | FixedBuffers),
		"recv-limit=off,recv-limit=on":       AllSwitches,
		"defer-taskrun=on":                   AllSwitches,
	} {
		got, err := ParseSwitches(list)
		if err != nil || got != want {
			t.Errorf("%q: %b, %v, want %b", list, got, err, want)
		}
	}
	for i, name := range switchNames {
		s := Switches(AllSwitches &^ (1 << i))
		if got, err := ParseSwitches(s.String()); err != nil || got != s || s.String() != name+"=off" {
			t.Errorf("%s: %q becomes %b, %v", name, s, got, err)
		}
	}
	for list, want := range map[string]string{
		"sqarray=off":     "defer-taskrun, no-sqarray",
		"no-sqarray":      "no-sqarray=on or no-sqarray=off",
		"no-sqarray=yes":  "no-sqarray=on or no-sqarray=off",
		"huge-pages=off=": "huge-pages=on",
	} {
		if _, err := ParseSwitches(list); !errors.Is(err, syscall.EINVAL) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want EINVAL and %q", list, err, want)
		}
	}
}
