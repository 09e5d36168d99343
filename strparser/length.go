package strparser

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"syscall"
)

// Length is a [Format] with the length in a field of fixed width:
//
//	|<- Offset ->|<- Width ->|
//	+------------+-----------+------------------------+
//	|            |   field   |        payload         |
//	+------------+-----------+------------------------+
//	|<------ header -------->|
//
//	message length = field + Adjust             if Inclusive
//	               = field + Adjust + header    else
//
// The header is what lies up to the end of the field; more header bytes behind
// it count as payload here. All sums are made in 64 bits: a length over the
// maximum is EMSGSIZE and one shorter than the header EPROTO, whatever the field
// holds.
type Length struct {
	// Width of the field in bytes, 1 to 8.
	Width int
	// Order of the field's bytes. nil means big endian, network order.
	Order binary.ByteOrder
	// Offset is the number of bytes before the field. PutHeader leaves them as
	// they are.
	Offset int
	// Adjust is added to the field's value: positive when bytes of the message
	// are not counted by it (a trailer), negative when it counts others.
	Adjust int
	// Inclusive says that the field counts the header too.
	Inclusive bool
}

// The common formats: an unsigned length of the payload, then the payload.
var (
	Length8    = Length{Width: 1}
	Length16   = Length{Width: 2}
	Length16LE = Length{Width: 2, Order: binary.LittleEndian}
	Length32   = Length{Width: 4}
	Length32LE = Length{Width: 4, Order: binary.LittleEndian}
	Length64   = Length{Width: 8}
	Length64LE = Length{Width: 8, Order: binary.LittleEndian}
)

// prefix is a Length made ready for parsing.
type prefix struct {
	add    int64 // message length - field
	off    int   // of the field
	header int   // off + width
	width  uint8 // 0: there is no prefix
	shift  uint8 // 64 - 8*width
	little bool
}

const maxOffset = 1 << 16

func (l Length) compile() (prefix, error) {
	switch {
	case l.Width < 1 || l.Width > 8:
		return prefix{}, fmt.Errorf("strparser: Length.Width %d, want 1 to 8: %w", l.Width, syscall.EINVAL)
	case l.Offset < 0 || l.Offset > maxOffset:
		return prefix{}, fmt.Errorf("strparser: Length.Offset %d, want 0 to %d: %w", l.Offset, maxOffset, syscall.EINVAL)
	case l.Adjust < math.MinInt32 || l.Adjust > math.MaxInt32:
		return prefix{}, fmt.Errorf("strparser: Length.Adjust %d does not fit 32 bits: %w", l.Adjust, syscall.EINVAL)
	}
	return l.prefix(), nil
}

func (l Length) prefix() prefix {
	x := prefix{
		add:    int64(l.Adjust),
		off:    l.Offset,
		header: l.Offset + l.Width,
		width:  uint8(l.Width),
		shift:  uint8(64 - 8*l.Width),
		little: littleEndian(l.Order),
	}
	if !l.Inclusive {
		x.add += int64(x.header)
	}
	return x
}

// one is 1 in little endian order. A slice made for the call would be allocated.
var one = []byte{1, 0}

func littleEndian(o binary.ByteOrder) bool { return o != nil && o.Uint16(one) == 1 }

// field reads the field from its bytes.
func (x *prefix) field(b []byte) uint64 {
	var v uint64
	for i := range int(x.width) {
		if x.little {
			v |= uint64(b[i]) << (8 * i)
		} else {
			v = v<<8 | uint64(b[i])
		}
	}
	return v
}

// Parse implements [Format]. A length that no int can hold is reported as the
// largest int.
func (l Length) Parse(v *View) (int, error) {
	x := l.prefix()
	return x.parse(v)
}

func (x *prefix) parse(v *View) (int, error) {
	if v.Len() < x.header {
		return 0, nil
	}
	var b [8]byte
	v.CopyTo(b[:x.width], x.off)
	n := x.field(b[:])
	if n > math.MaxInt64>>1 {
		return math.MaxInt, nil
	}
	total := int64(n) + x.add
	switch {
	case total < int64(x.header):
		return 0, &shortLength{n, total, x.header}
	case total > math.MaxInt:
		return math.MaxInt, nil
	}
	return int(total), nil
}

// shortLength is the error of a length that does not cover its own header.
type shortLength struct {
	field  uint64
	total  int64
	header int
}

func (e *shortLength) Error() string {
	return fmt.Sprintf("length field %d makes a message of %d bytes, shorter than its %d-byte header", e.field, e.total, e.header)
}

func (*shortLength) Unwrap() error { return syscall.EPROTO }

// HeaderLen returns Offset + Width.
func (l Length) HeaderLen() int { return l.Offset + l.Width }

// PutHeader implements [Format]: it writes the field of a message with so many
// bytes behind the field. Errors: EMSGSIZE when the field cannot hold the
// length, io.ErrShortBuffer.
func (l Length) PutHeader(dst []byte, payload int) (int, error) {
	x := l.prefix()
	if len(dst) < x.header {
		return 0, fmt.Errorf("strparser: header of %d bytes into %d: %w", x.header, len(dst), io.ErrShortBuffer)
	}
	n := int64(payload) + int64(x.header) - x.add
	if payload < 0 || n < 0 || x.width < 8 && n>>(8*x.width) != 0 {
		return 0, fmt.Errorf("strparser: a payload of %d bytes does not fit a length field of %d bytes: %w",
			payload, x.width, syscall.EMSGSIZE)
	}
	for i := range int(x.width) {
		at := x.header - 1 - i
		if x.little {
			at = x.off + i
		}
		dst[at] = byte(n >> (8 * i))
	}
	return x.header, nil
}
