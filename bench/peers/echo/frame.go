package echo

import (
	"encoding/binary"
	"errors"
)

const (
	// HeaderLen is the length of the frame header in bytes.
	HeaderLen = 4

	// MaxMessage is the largest payload in bytes that a server accepts.
	MaxMessage = 16 << 20
)

// errTooLarge ends a connection that announces more than MaxMessage.
var errTooLarge = errors.New("frame: payload longer than 16 MiB")

// frameLen returns the length in bytes of the frame, header included, whose
// header starts b. b holds at least HeaderLen bytes.
func frameLen(b []byte) (int, error) {
	n := binary.BigEndian.Uint32(b)
	if n > MaxMessage {
		return 0, errTooLarge
	}
	return HeaderLen + int(n), nil
}

// whole returns how many bytes at the start of b are whole frames, and the
// length of the frame that follows them. next is zero while the header of that
// frame is incomplete.
func whole(b []byte) (n, next int, err error) {
	for len(b)-n >= HeaderLen {
		next, err = frameLen(b[n:])
		if err != nil {
			return n, 0, err
		}
		if len(b)-n < next {
			return n, next, nil
		}
		n += next
	}
	return n, 0, nil
}

// grow returns b with room for at least n bytes in all, its contents kept. The
// capacity doubles, so that a buffer soon stops growing.
func grow(b []byte, n int) []byte {
	if cap(b) >= n {
		return b
	}
	c := max(cap(b), 4096)
	for c < n {
		c *= 2
	}
	g := make([]byte, len(b), c)
	copy(g, b)
	return g
}
