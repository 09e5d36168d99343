package formats

import (
	"fmt"
	"math"
	"syscall"
)

// protoError is the error of bytes that are not the protocol's.
type protoError struct{ name, what string }

func (e *protoError) Error() string { return e.name + ": " + e.what }

// Unwrap makes errors.Is find EPROTO.
func (*protoError) Unwrap() error { return syscall.EPROTO }

func bad(name, format string, args ...any) error {
	return &protoError{name, fmt.Sprintf(format, args...)}
}

// fit is a length as an int; one that is none is too long in any case.
func fit(n uint64) int { return int(min(n, math.MaxInt)) }
