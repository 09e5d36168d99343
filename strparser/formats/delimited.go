package formats

import (
	"fmt"
	"syscall"

	"github.com/kcm-go/kcm/strparser"
)

// Lines is lines of text, of no protocol in particular: a message ends with \n, which is part of it, as is a \r before.
var Lines strparser.Format = strparser.ParseFunc(lines)

func lines(v *strparser.View) (int, error) {
	n, _ := line(v, 0)
	return n, nil
}

// line returns where the line ends that begins at byte from: the byte behind its \n, 0 if
// that is not there yet. The cookie's last word remembers how far was looked.
func line(v *strparser.View, from int) (end int, ok bool) {
	looked := &v.Words[len(v.Words)-1]
	i := v.IndexByte('\n', max(from, int(*looked)))
	if i < 0 {
		*looked = uint64(v.Len())
		return 0, false
	}
	return i + 1, true
}

// MaxDelimiter is the longest delimiter there may be.
const MaxDelimiter = 16

// Delimited returns a format whose messages end with the given bytes, 1 to MaxDelimiter of
// them, which are part of the message. Error: EINVAL.
func Delimited(by string) (strparser.Format, error) {
	if len(by) < 1 || len(by) > MaxDelimiter {
		return nil, fmt.Errorf("formats: a delimiter of %d bytes, want 1 to %d: %w", len(by), MaxDelimiter, syscall.EINVAL)
	}
	return strparser.ParseFunc(func(v *strparser.View) (int, error) { return delimited(v, by), nil }), nil
}

// delimited looks for the delimiter's last byte, which is looked at once, and then at
// what is before it.
func delimited(v *strparser.View, by string) int {
	var b [MaxDelimiter]byte
	last := by[len(by)-1]
	for from := max(v.Off, len(by)-1); ; {
		i := v.IndexByte(last, from)
		if i < 0 {
			v.Off = max(v.Len(), v.Off)
			return 0
		}
		from = i + 1
		v.CopyTo(b[:len(by)], from-len(by))
		if string(b[:len(by)]) == by {
			return from
		}
	}
}

// Netstring is netstrings (D. J. Bernstein, 1997): the length in decimal, a colon, the string,
// a comma.
var Netstring strparser.Format = strparser.ParseFunc(netstring)

func netstring(v *strparser.View) (int, error) {
	var b [maxDigits + 1]byte
	n := v.CopyTo(b[:], 0)
	size := 0
	for i, c := range b[:n] {
		switch {
		case c >= '0' && c <= '9':
			if i == maxDigits || i == 1 && b[0] == '0' {
				return 0, bad("netstring", "a length that begins with 0 or has over %d digits", maxDigits)
			}
			size = size*10 + int(c-'0')
		case c == ':' && i > 0:
			return i + 1 + size + 1, nil
		default:
			return 0, bad("netstring", "%q in the length", c)
		}
	}
	return 0, nil
}

// maxDigits is how many digits a length in decimal may have: it fits an int.
const maxDigits = 18
