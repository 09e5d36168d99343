package formats_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/strparser/formats"
	"github.com/kcm-go/kcm/strparser/internal/feed"
)

// The recordings are what the protocols' own encoders made: see the module in recorded,
// which writes them. The messages are found however the stream is cut.
func TestRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	for _, x := range all {
		if !slices.Contains(files, filepath.Join("testdata", x.name+".txt")) {
			t.Errorf("no recording of %s", x.name)
		}
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			r := recording(t, name)
			f := format(t, name)
			if name == "Delimited" {
				f, _ = formats.Delimited("\r\n.\r\n")
			}
			rng := rand.New(rand.NewPCG(1, 1))
			stream := slices.Concat(r.Messages...)
			cuts := [][][]byte{{stream}, r.Messages, feed.Bytes(stream, 7)}
			if len(stream) < 1<<16 {
				cuts = append(cuts, feed.Bytes(stream, 1))
			}
			for range 20 {
				cuts = append(cuts, feed.Cut(rng, stream))
			}
			for i, chunks := range cuts {
				got := feed.Run(t, f, 1<<20, chunks...)
				if !got.Equal(&feed.Result{Messages: r.Messages}) {
					t.Fatalf("cut %d: %d messages of %v bytes, %d bytes left, error %v\nwant %d of %v", i,
						len(got.Messages), got.Lens(), got.Left, got.Err, len(r.Messages), (&feed.Result{Messages: r.Messages}).Lens())
				}
			}
		})
	}
}

// recording reads the recording of a format.
func recording(t *testing.T, name string) *feed.Recording {
	text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := feed.ReadRecording(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Messages) < 10 {
		t.Fatalf("%d messages", len(r.Messages))
	}
	if len(text) > 30<<10 {
		t.Errorf("a text of %d bytes", len(text))
	}
	for _, what := range []string{"Encoder: ", "Reference: "} {
		if !slices.ContainsFunc(r.Notes, func(note string) bool { return strings.HasPrefix(note, what) }) {
			t.Errorf("no note begins with %q", what)
		}
	}
	return r
}
