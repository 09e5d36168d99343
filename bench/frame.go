package bench

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/kcm-go/kcm/strparser"
)

// Frame is the framing of all messages: a length, then the payload. The zero Frame is
// len32, 4 bytes big endian.
type Frame struct {
	Width     int  // of the length field in bytes, 1 to 8
	Little    bool // endian
	Inclusive bool // the length counts the header too
	Offset    int  // bytes before the field, which are zero
}

// maxOffset is the largest Frame.Offset, maxHeader the longest header.
const (
	maxOffset = 24
	maxHeader = maxOffset + 8
)

const wantFrame = "want lenBITS[le][,inclusive][,offset=N] with 8 to 64 bits, such as len32, len16le or len32,inclusive,offset=4"

// ParseFrame reads lenBITS[le][,inclusive][,offset=N]: the width of the length field,
// 8 to 64 bits, le for little endian; whether it counts the header; and how many bytes
// come before it, 24 at most.
func ParseFrame(text string) (Frame, error) {
	bad := fmt.Errorf(wantFrame)
	name, rest, more := strings.Cut(text, ",")
	digits, ok := strings.CutPrefix(name, "len")
	f := Frame{}
	digits, f.Little = strings.CutSuffix(digits, "le")
	bits, err := strconv.Atoi(digits)
	if !ok || err != nil || bits < 8 || bits%8 != 0 {
		return Frame{}, bad
	}
	f.Width = bits / 8
	for more {
		var option string
		option, rest, more = strings.Cut(rest, ",")
		n, offset := strings.CutPrefix(option, "offset=")
		switch {
		case option == "inclusive":
			f.Inclusive = true
		case offset:
			if f.Offset, err = strconv.Atoi(n); err != nil {
				return Frame{}, bad
			}
		default:
			return Frame{}, bad
		}
	}
	if f.problem() {
		return Frame{}, bad
	}
	return f.filled(), nil
}

func (f Frame) problem() bool {
	f = f.filled()
	return f.Width < 1 || f.Width > 8 || f.Offset < 0 || f.Offset > maxOffset
}

// filled is f without the zero Frame, and in the one form of a field of a byte.
func (f Frame) filled() Frame {
	if f == (Frame{}) {
		f.Width = 4
	}
	f.Little = f.Little && f.Width > 1
	return f
}

// String is what ParseFrame reads.
func (f Frame) String() string {
	f = f.filled()
	s := "len" + strconv.Itoa(8*f.Width)
	if f.Little {
		s += "le"
	}
	if f.Inclusive {
		s += ",inclusive"
	}
	if f.Offset > 0 {
		s += ",offset=" + strconv.Itoa(f.Offset)
	}
	return s
}

// Format returns the parser of such messages.
func (f Frame) Format() strparser.Length {
	f = f.filled()
	l := strparser.Length{Width: f.Width, Offset: f.Offset, Inclusive: f.Inclusive}
	if f.Little {
		l.Order = binary.LittleEndian
	}
	return l
}

// holds reports whether the length field has room for a payload.
func (f Frame) holds(payload int) bool {
	var b [maxHeader]byte
	_, err := f.Format().PutHeader(b[:], payload)
	return err == nil
}

// header writes headers.
type header struct {
	format strparser.Length
	len    int
	plain  bool // len32
}

func newHeader(f Frame) header {
	l := f.Format()
	return header{format: l, len: l.HeaderLen(), plain: f.filled() == Frame{}.filled()}
}

// put writes the header of a payload, whose length the field holds, to b.
func (h *header) put(b []byte, payload int) {
	if h.plain {
		binary.BigEndian.PutUint32(b, uint32(payload))
		return
	}
	clear(b[:h.format.Offset])
	_, _ = h.format.PutHeader(b, payload) // Workload.Check has seen the longest
}
