package feed

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Recording is messages of a protocol that something else than this module encoded. As
// text it is lines that begin with # for the notes, then a line for each message: its
// bytes in hexadecimal, in words with a space between; a word like 61*300 is 300 bytes
// of 0x61, so that a long message can be a short line.
type Recording struct {
	Notes    []string // what encoded them, by which reference
	Messages [][]byte
}

// shortestRun is how many equal bytes get a word of their own.
const shortestRun = 24

// longestRun is how many bytes a word may stand for: whoever reads a text does not
// allocate all there is for a slip of the pen in it.
const longestRun = 1 << 25

// Line returns a message as a line of text, without its end.
func Line(message []byte) string {
	var words []string
	start := 0 // of what has no word yet
	for i := 0; i < len(message); {
		n := run(message[i:])
		if n >= shortestRun {
			if start < i {
				words = append(words, hex.EncodeToString(message[start:i]))
			}
			words = append(words, fmt.Sprintf("%02x*%d", message[i], n))
			start = i + n
		}
		i += n
	}
	if start < len(message) {
		words = append(words, hex.EncodeToString(message[start:]))
	}
	return strings.Join(words, " ")
}

// run returns how many bytes b begins with that are the same.
func run(b []byte) int {
	n := 1
	for n < len(b) && b[n] == b[0] {
		n++
	}
	return n
}

// Text returns the recording as text.
func (r *Recording) Text() []byte {
	var b bytes.Buffer
	for _, s := range r.Notes {
		fmt.Fprintf(&b, "# %s\n", s)
	}
	for _, m := range r.Messages {
		fmt.Fprintln(&b, Line(m))
	}
	return b.Bytes()
}

// ReadRecording reads a recording as text.
func ReadRecording(text io.Reader) (*Recording, error) {
	r := new(Recording)
	lines := bufio.NewScanner(text)
	for n := 1; lines.Scan(); n++ {
		if note, ok := strings.CutPrefix(lines.Text(), "#"); ok {
			r.Notes = append(r.Notes, strings.TrimSpace(note))
			continue
		}
		m, err := message(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		r.Messages = append(r.Messages, m)
	}
	return r, lines.Err()
}

func message(line string) (m []byte, err error) {
	for _, word := range strings.Fields(line) {
		digits, count, many := strings.Cut(word, "*")
		b, err := hex.DecodeString(digits)
		if err != nil {
			return nil, err
		}
		if many {
			n, err := strconv.Atoi(count)
			if err != nil || n < 1 || n > longestRun || len(b) != 1 {
				return nil, fmt.Errorf("%q, want a byte, *, and 1 to %d", word, longestRun)
			}
			b = bytes.Repeat(b, n)
		}
		m = append(m, b...)
	}
	if len(m) == 0 {
		return nil, fmt.Errorf("a message of no bytes")
	}
	return m, nil
}
