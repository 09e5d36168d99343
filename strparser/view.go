package strparser

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/kcm-go/kcm/sgmsg"
)

// Format is a way of framing messages in a byte stream.
type Format interface {
	// Parse looks at the bytes gathered so far for the next message and returns
	// its total length, header included; 0 means that more bytes are needed to
	// tell. It is called once per chunk until the length is known. An error ends
	// the stream: [ErrDecline] says that the message is not for the parser, any
	// other is handed on.
	//
	// The result must depend on the view and its cookie alone. The length may
	// well be less than v.Len: the view reaches into the messages that follow.
	Parse(v *View) (n int, err error)

	// HeaderLen returns the longest header PutHeader writes, in bytes: the
	// headroom to leave in front of a payload.
	HeaderLen() int

	// PutHeader writes the header of a message with so many bytes of payload to
	// the start of dst, which has room for HeaderLen bytes, and returns its
	// length. Errors: EMSGSIZE when the header cannot express it.
	PutHeader(dst []byte, payload int) (int, error)
}

// ParseFunc is a [Format] that can only parse.
type ParseFunc func(v *View) (n int, err error)

// Parse calls f.
func (f ParseFunc) Parse(v *View) (int, error) { return f(v) }

// HeaderLen returns 0.
func (ParseFunc) HeaderLen() int { return 0 }

// PutHeader fails with errors.ErrUnsupported.
func (ParseFunc) PutHeader([]byte, int) (int, error) {
	return 0, fmt.Errorf("strparser: a ParseFunc writes no headers: %w", errors.ErrUnsupported)
}

// inlineBytes is how much of a message in hand lives in the parser itself.
const inlineBytes = 16

// Cookie is memory of a parse function between two calls for one message. It is
// zero at each message's first byte, so a format without a length field can go
// on where it stopped instead of starting over with each chunk.
type Cookie struct {
	Off   int       // by convention, how far the view was looked at
	Words [3]uint64 // whatever else is worth keeping
}

// View is what a parse function sees: all bytes gathered for one message, from
// its first byte to the end of the newest chunk. It may reach beyond the end of
// the message. It is lent for the duration of the call, as are its bytes, which
// must not be written.
//
// The bytes are in two places. Those of earlier chunks are in hand: in msg, or, as
// long as they are few, in inline. The others are still in the newest chunk. The
// first bytes of a message that came in pieces are always in inline as well, so
// that its header is seen in one piece.
type View struct {
	Cookie // kept between the calls for one message

	cur    []byte            // the unconsumed bytes of the newest chunk
	acc    int               // Accum: bytes in hand
	msg    sgmsg.Message     // bytes in hand; empty while inline holds them all
	inline [inlineBytes]byte // the first bytes, once some are in hand
}

// Len returns the number of bytes seen so far.
func (v *View) Len() int { return v.acc + len(v.cur) }

// Head returns the first bytes, as many as lie in one piece: at least
// min(Len, 16).
func (v *View) Head() []byte {
	if v.acc == 0 {
		return v.cur
	}
	if v.msg.Len() > 0 {
		if e := v.msg.Elem(0); e.Len >= inlineBytes {
			return e.Bytes()
		}
	}
	return v.inline[:min(v.Len(), inlineBytes)]
}

// CopyTo copies bytes from position off on into p and returns how many were
// copied: min(len(p), Len-off), or 0 when off lies outside. It takes no longer near the
// end of many chunks than near the beginning.
func (v *View) CopyTo(p []byte, off int) int {
	if off < 0 {
		return 0
	}
	n := 0
	if off < v.acc {
		if v.msg.Len() == 0 {
			n = copy(p, v.inline[off:v.acc])
		} else {
			i, at := v.find(off)
			for ; i < v.msg.Used() && n < len(p); i++ {
				b := v.msg.Elem(i).Bytes()
				n += copy(p[n:], b[max(off-at, 0):])
				at += len(b)
			}
		}
		off += n
	}
	if n < len(p) && off-v.acc < len(v.cur) {
		n += copy(p[n:], v.cur[off-v.acc:])
	}
	return n
}

// IndexByte returns the position of the first byte c at from or behind, -1 if there is
// none. A format that looks for an end keeps how far it has looked in the Cookie, so that
// every byte is looked at once.
func (v *View) IndexByte(c byte, from int) int {
	from = max(from, 0)
	if from < v.acc {
		if v.msg.Len() == 0 {
			if i := bytes.IndexByte(v.inline[from:v.acc], c); i >= 0 {
				return from + i
			}
		} else {
			i, at := v.find(from)
			for ; i < v.msg.Used(); i++ {
				b := v.msg.Elem(i).Bytes()
				skip := max(from-at, 0)
				if j := bytes.IndexByte(b[skip:], c); j >= 0 {
					return at + skip + j
				}
				at += len(b)
			}
		}
		from = v.acc
	}
	if from -= v.acc; from < len(v.cur) {
		if i := bytes.IndexByte(v.cur[from:], c); i >= 0 {
			return v.acc + from + i
		}
	}
	return -1
}

// find returns the element in hand with the byte at off < acc, and where it begins. Who
// parses piece by piece asks for what came last, so it looks from that end if off is
// nearer to it.
func (v *View) find(off int) (i, at int) {
	m := &v.msg
	if off < v.acc/2 {
		for n := int(m.Elem(0).Len); at+n <= off; n = int(m.Elem(i).Len) {
			at += n
			i++
		}
		return i, at
	}
	i, at = m.Used()-1, m.Len()-int(m.Elem(m.Used()-1).Len)
	for at > off {
		i--
		at -= int(m.Elem(i).Len)
	}
	return i, at
}

// gather copies bytes of the newest chunk behind the inline ones.
func (v *View) gather() {
	if v.acc < inlineBytes {
		copy(v.inline[v.acc:], v.cur)
	}
}
