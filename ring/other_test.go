//go:build !linux

package ring

import (
	"errors"
	"testing"
)

func TestNotSupported(t *testing.T) {
	if _, err := New(Options{}); !errors.Is(err, ErrNotSupported) {
		t.Errorf("New: %v, want ErrNotSupported", err)
	}
	if f := Probe(); f != nil {
		t.Errorf("Probe: %v", f)
	}
}
