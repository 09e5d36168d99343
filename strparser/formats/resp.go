package formats

import (
	"github.com/kcm-go/kcm/strparser"
)

// RESP is commands or replies of Redis, RESP2 and RESP3 (Redis serialization protocol
// specification). A message is one value with all that is nested in it (an attribute with
// the value it belongs to), or an inline command: a line that begins with none of RESP's
// types. Streamed strings are read; streamed aggregates, which no server sends, are EPROTO.
var RESP strparser.Format = strparser.ParseFunc(resp)

// The cookie of resp: Off is where the next value begins, which may be beyond what is
// there, Words[0] how many are still to come. Nesting needs no stack: an array of n takes
// itself off the count and adds n.
const (
	respLeft     = 0
	respStreamed = 1 // in a streamed string
	// Words[2] is line's.
)

// maxRESP is the most elements or bytes that one length may announce.
const maxRESP = 1<<31 - 1

func resp(v *strparser.View) (int, error) {
	at, left := v.Off, v.Words[respLeft]
	if left == 0 {
		left = 1
	}
	for left > 0 {
		end, ok := 0, false
		if at < v.Len() {
			end, ok = line(v, at)
		}
		if !ok {
			v.Off, v.Words[respLeft] = at, left
			return 0, nil
		}
		var b [24]byte
		head := b[:v.CopyTo(b[:min(len(b), end-at)], at)]
		kind := head[0]
		if v.Words[respStreamed] != 0 {
			if kind != ';' {
				return 0, bad("RESP", "%q in a streamed string, want ;", kind)
			}
			n, err := respLength(head, end-at)
			switch {
			case err != nil:
				return 0, err
			case n == 0:
				v.Words[respStreamed] = 0
				left--
				at = end
			default:
				at = end + n + 2
			}
			continue
		}
		switch kind {
		case '+', '-', ':', '_', '#', ',', '(':
			left--
			at = end
			continue
		case '$', '!', '=', '*', '~', '>', '%', '|':
		default:
			if at == 0 {
				return end, nil // an inline command
			}
			return 0, bad("RESP", "a value of type %q", kind)
		}
		if kind == '$' && head[1] == '?' {
			v.Words[respStreamed] = 1
			at = end
			continue
		}
		n, err := respLength(head, end-at)
		if err != nil {
			return 0, err
		}
		at = end
		switch kind {
		case '$', '!', '=':
			left--
			if n >= 0 {
				at += n + 2
			}
		case '*', '~', '>':
			left += uint64(max(n, 0)) - 1
		case '%':
			left += 2*uint64(max(n, 0)) - 1
		case '|': // in front of a value
			left += 2 * uint64(max(n, 0))
		}
	}
	return at, nil
}

// respLength reads the number of a line of size bytes, of which head is the beginning: -1
// for null.
func respLength(head []byte, size int) (int, error) {
	if size > len(head) || size < 4 || head[size-2] != '\r' {
		return 0, bad("RESP", "a line that begins with %q, want a length", string(head))
	}
	digits := head[1 : size-2]
	if string(digits) == "-1" && head[0] != ';' {
		return -1, nil
	}
	n := 0
	for _, c := range digits {
		if c < '0' || c > '9' || n > maxRESP/10 {
			return 0, bad("RESP", "a length of %q", string(digits))
		}
		n = n*10 + int(c-'0')
	}
	if n > maxRESP {
		return 0, bad("RESP", "a length of %d", n)
	}
	return n, nil
}
