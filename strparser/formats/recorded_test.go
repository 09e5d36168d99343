package formats_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/strparser"
	"github.com/kcm-go/kcm/strparser/formats"
	"github.com/kcm-go/kcm/strparser/internal/feed"
)

// The recordings are what the protocols' own encoders made: see the module in recorded,
// which writes them. The messages are found however the stream is cut and wherever it ends.
func TestRecorded(t *testing.T) {
	names := recordings(t)
	for _, x := range all {
		if !slices.Contains(names, x.name) {
			t.Errorf("no recording of %s", x.name)
		}
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			r, f := recording(t, name), recordedFormat(t, name)
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
			for range 5 {
				end, whole, rest := rng.IntN(len(stream)), 0, 0
				for rest = end; rest >= len(r.Messages[whole]); whole++ {
					rest -= len(r.Messages[whole])
				}
				got := feed.Run(t, f, 1<<20, feed.Cut(rng, stream[:end])...)
				if !got.Equal(&feed.Result{Messages: r.Messages[:whole], Left: rest}) {
					t.Fatalf("the first %d bytes: %d messages, %d bytes left, error %v\nwant %d messages and %d bytes", end,
						len(got.Messages), got.Left, got.Err, whole, rest)
				}
			}
		})
	}
}

// Whatever format the package exports is in the list of all formats, and so has a recording.
func TestAllFormatsAreTested(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = slices.DeleteFunc(files, func(file string) bool { return file == "ids.go" }) // no formats in it
	exported := []string{"Delimited"}                                                    // a function
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			d, ok := d.(*ast.GenDecl)
			if !ok || d.Tok != token.VAR {
				continue
			}
			for _, s := range d.Specs {
				for _, name := range s.(*ast.ValueSpec).Names {
					if name.IsExported() {
						exported = append(exported, name.Name)
					}
				}
			}
		}
	}
	var tested []string
	for _, x := range all {
		tested = append(tested, x.name)
	}
	slices.Sort(exported)
	slices.Sort(tested)
	if !slices.Equal(exported, tested) {
		t.Errorf("exported are %v\ntested are %v", exported, tested)
	}
}

// recordings returns the names of all recordings. A name is a format's; what is behind a
// dash tells several of one format apart.
func recordings(t testing.TB) (names []string) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no recordings", err)
	}
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".txt"))
	}
	return names
}

// recordedFormat returns the format of a recording.
func recordedFormat(t testing.TB, name string) strparser.Format {
	name, _, _ = strings.Cut(name, "-")
	if name != "Delimited" {
		return format(t, name)
	}
	f, err := formats.Delimited("\r\n.\r\n")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// recording reads the recording of a format.
func recording(t testing.TB, name string) *feed.Recording {
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
