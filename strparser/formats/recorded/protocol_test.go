package recorded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/kcm-go/kcm/strparser"
)

// protocol is one format and where its messages come from.
type protocol struct {
	name      string
	f         strparser.Format
	encoders  []string // packages
	reference string
	// messages returns the messages in the order in which they were written. Where one
	// ends is known from the encoder: it is told to encode one at a time.
	messages func(t *testing.T) [][]byte
	// decoder, if there is one, makes a library's decoder the second opinion on where
	// messages end: next reads one of them from the stream. It may have a buffer.
	decoder func(stream io.Reader) (next func() error)
}

// protocols has a line for each format: see the file named after it.
var protocols []protocol

// writes keeps what each Write was called with as a message.
type writes struct {
	mu       sync.Mutex
	messages [][]byte
}

// Write implements io.Writer.
func (w *writes) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages = append(w.messages, bytes.Clone(b))
	return len(b), nil
}

// take returns what was written since it was called last.
func (w *writes) take() (messages [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	messages, w.messages = w.messages, nil
	return messages
}

// decode runs p's decoder over the messages: it must be content with the bytes of each and
// want none of the next.
func (p *protocol) decode(messages [][]byte) error {
	stream := new(piecewise)
	next := p.decoder(stream)
	for i, m := range messages {
		stream.piece, stream.more = m, false
		if err := next(); err != nil {
			return fmt.Errorf("message %d of %d bytes: %w", i, len(m), err)
		}
		if stream.more || len(stream.piece) > 0 {
			return fmt.Errorf("message %d of %d bytes: %d were not read", i, len(m), len(stream.piece))
		}
	}
	return nil
}

// piecewise is a stream that has no more than one message at a time.
type piecewise struct {
	piece []byte
	more  bool // bytes beyond the message were wanted
}

var errMore = errors.New("the decoder wants more bytes")

// Read implements io.Reader.
func (s *piecewise) Read(b []byte) (int, error) {
	if len(s.piece) == 0 {
		s.more = true
		return 0, errMore
	}
	n := copy(b, s.piece)
	s.piece = s.piece[n:]
	return n, nil
}

// sizes are sizes of payloads: the smallest, those around each edge of the length field's
// size classes, and some between.
func sizes(rng *rand.Rand, edges ...int) []int {
	n := []int{0, 1, 2, 3, 10, 13}
	for _, e := range edges {
		n = append(n, max(e-1, 0), e, e+1)
	}
	slices.Sort(n)
	n = slices.Compact(n)
	for range 20 { // as many of each magnitude
		n = append(n, rng.IntN(2<<rng.IntN(12)))
	}
	return n
}

// payload is n bytes of anything if they are few; of many most are the same byte, so that
// they can be a short line of a recording.
func payload(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	random := n
	if n > 100 {
		random = rng.IntN(40)
	}
	for i := range b[:random] {
		b[i] = byte(rng.Uint32())
	}
	fill := byte(rng.Uint32())
	for i := range b[random:] {
		b[random+i] = fill
	}
	return b
}

// text is n letters, digits and spaces.
func text(rng *rand.Rand, n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 "
	b := payload(rng, n)
	for i, c := range b {
		b[i] = letters[int(c)%len(letters)]
	}
	return string(b)
}

// versions returns each encoder with the version of its module, or of Go.
func (p *protocol) versions(t *testing.T) (encoders []string) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.encoders {
		version := ""
		for line := range strings.Lines(string(mod)) {
			if w := strings.Fields(line); len(w) >= 2 && (e == w[0] || strings.HasPrefix(e, w[0]+"/")) {
				version = w[1]
			}
		}
		if first, _, _ := strings.Cut(e, "/"); version == "" && !strings.Contains(first, ".") {
			version = "of " + runtime.Version()
		}
		if e == "memcached" || e == "redis-server" {
			out, err := exec.Command(e, "--version").Output()
			if err != nil {
				t.Fatal(err)
			}
			encoders = append(encoders, strings.TrimSpace(string(out)))
			continue
		}
		if version == "" {
			t.Fatalf("%s: %s is in no module of go.mod", p.name, e)
		}
		encoders = append(encoders, e+" "+version)
	}
	return encoders
}

// cut cuts what an encoder wrote in one go where a library's decoder, which reads no
// more than it needs, finds the ends of messages.
func cut(t *testing.T, b []byte, next func(io.Reader) error) (messages [][]byte) {
	for r := bytes.NewReader(b); r.Len() > 0; {
		from := len(b) - r.Len()
		if err := next(r); err != nil {
			t.Errorf("%d bytes, at %d: %v", len(b), from, err)
			return messages
		}
		messages = append(messages, b[from:len(b)-r.Len()])
	}
	return messages
}
