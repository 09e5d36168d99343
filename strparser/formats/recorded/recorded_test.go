package recorded

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/strparser/internal/feed"
)

var update = flag.Bool("update", false, "write what the encoders made to ../testdata")

// maxMessage is what parsers accept: nothing here is longer.
const maxMessage = 1 << 25

// The formats find the messages of the protocols' own encoders, wherever the stream is cut.
func TestEncoded(t *testing.T) {
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			messages := p.messages(t)
			if p.decoder != nil {
				if err := p.decode(messages); err != nil {
					t.Fatalf("the decoder: %v", err)
				}
			}
			found(t, &p, messages)
			if *update {
				record(t, &p, messages)
			}
		})
	}
}

// found checks that the format finds the messages.
func found(t *testing.T, p *protocol, messages [][]byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	stream := slices.Concat(messages...)
	cuts := [][][]byte{{stream}, messages}
	for _, n := range []int{1, 7, 1 << 12} {
		if len(stream)/n < 1<<18 {
			cuts = append(cuts, feed.Bytes(stream, n))
		}
	}
	for range min(50, 1+1<<24/len(stream)) {
		cuts = append(cuts, feed.Cut(rng, stream))
	}
	for i, chunks := range cuts {
		r := feed.Run(t, p.f, maxMessage, chunks...)
		for k, m := range messages {
			if k == len(r.Messages) {
				t.Fatalf("cut %d: message %d of %d, %s, was not found: %d bytes are left, error %v",
					i, k, len(messages), short(m), r.Left, r.Err)
			}
			if got := r.Messages[k]; !bytes.Equal(got, m) {
				t.Fatalf("cut %d: message %d is %s, want %s", i, k, short(got), short(m))
			}
		}
		if len(r.Messages) != len(messages) || r.Left != 0 || r.Err != nil {
			t.Fatalf("cut %d: %d messages, %d bytes left, error %v, want %d messages", i, len(r.Messages), r.Left, r.Err, len(messages))
		}
	}
}

// short is the beginning of a message as a recording has it.
func short(m []byte) string {
	line := feed.Line(m)
	if len(line) > 200 {
		line = line[:200] + " ..."
	}
	return line
}

// What a recording takes at most, a line of it, and the message that is the line.
const (
	maxRecording = 29 << 10
	maxLine      = 1500
	maxRecorded  = 200_000
)

// record writes a recording. What does not fit is left out, evenly.
func record(t *testing.T, p *protocol, messages [][]byte) {
	r := &feed.Recording{Notes: []string{
		"Messages of the format " + p.name + ", one a line; 61*300 is 300 bytes of 0x61.",
		"Encoder: " + strings.Join(p.versions(t), ", "),
		"Reference: " + p.reference,
		"Written by go test -update in strparser/formats/recorded.",
	}}
	room := maxRecording - len(r.Text())
	total := 0
	for _, m := range messages {
		if n := len(feed.Line(m)) + 1; n <= maxLine && len(m) <= maxRecorded {
			r.Messages = append(r.Messages, m)
			total += n
		}
	}
	if total > room {
		all := r.Messages
		r.Messages = nil
		kept, seen := 0, 0
		for _, m := range all {
			n := len(feed.Line(m)) + 1
			seen += n
			if kept+n <= int(int64(room)*int64(seen)/int64(total)) {
				kept += n
				r.Messages = append(r.Messages, m)
			}
		}
	}
	if err := os.WriteFile(filepath.Join("..", "testdata", p.name+".txt"), r.Text(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d messages are recorded", len(r.Messages), len(messages))
}
