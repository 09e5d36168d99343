package formats

import (
	"encoding/binary"
	"fmt"
	"io"
	"syscall"

	"github.com/kcm-go/kcm/strparser"
)

// Protobuf is messages of Protocol Buffers one behind the other ("Streaming Multiple
// Messages"), as parseDelimitedFrom and writeDelimitedTo have them: the length as a base 128
// varint, then the message.
var Protobuf strparser.Format = protobuf{}

// MQTT is control packets of MQTT 5.0 (section 2.1) and 3.1.1 (section 2.2): a byte of type
// and flags, the length of the rest as a varint of up to four bytes, the rest.
var MQTT strparser.Format = strparser.ParseFunc(mqtt)

// varint reads a varint of at most most bytes, which begins at byte off; n is how many it
// takes, 0 if they are not all there, negative if there are too many.
func varint(v *strparser.View, off, most int) (x uint64, n int) {
	var b [binary.MaxVarintLen64]byte
	k := v.CopyTo(b[:most], off)
	for i, c := range b[:k] {
		if i == binary.MaxVarintLen64-1 && c > 1 {
			return 0, -1 // beyond 64 bits
		}
		x |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return x, i + 1
		}
	}
	if k == most {
		return 0, -1
	}
	return 0, 0
}

type protobuf struct{}

// Parse implements strparser.Format.
func (protobuf) Parse(v *strparser.View) (int, error) {
	x, n := varint(v, 0, binary.MaxVarintLen64)
	switch {
	case n == 0:
		return 0, nil
	case n < 0:
		return 0, bad("varint", "a length of more than 64 bits")
	}
	if x > 1<<62 {
		return fit(x), nil
	}
	return fit(x + uint64(n)), nil
}

// HeaderLen returns 10, the length of the longest varint.
func (protobuf) HeaderLen() int { return binary.MaxVarintLen64 }

// PutHeader implements strparser.Format. Errors: io.ErrShortBuffer, EMSGSIZE for a negative
// length.
func (protobuf) PutHeader(dst []byte, payload int) (int, error) {
	if payload < 0 {
		return 0, fmt.Errorf("varint: a payload of %d bytes: %w", payload, syscall.EMSGSIZE)
	}
	if len(dst) < binary.MaxVarintLen64 {
		return 0, fmt.Errorf("varint: a header of up to %d bytes into %d: %w", binary.MaxVarintLen64, len(dst), io.ErrShortBuffer)
	}
	return binary.PutUvarint(dst, uint64(payload)), nil
}

func mqtt(v *strparser.View) (int, error) {
	var h [1]byte
	if v.CopyTo(h[:], 0) == 0 {
		return 0, nil
	}
	if h[0]>>4 == 0 {
		return 0, bad("MQTT", "a packet of type 0")
	}
	x, n := varint(v, 1, 4)
	if n < 0 {
		return 0, bad("MQTT", "a length of more than four bytes")
	}
	if n == 0 {
		return 0, nil
	}
	return 1 + n + int(x), nil
}
