package transcript

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the output of transcripts as it is now")

// Script runs commands and writes what comes of them to the builder it was made with.
type Script interface {
	// Run runs one line.
	Run(line string)
	// Close ends the script and sees that nothing is left behind.
	Close()
}

// Run runs the files that match pattern, each as a subtest. open makes a script that
// writes to out.
func Run(t *testing.T, pattern string, open func(t *testing.T, out *strings.Builder) Script) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runFile(t, file, open) })
	}
}

func runFile(t *testing.T, file string, open func(*testing.T, *strings.Builder) Script) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got, out strings.Builder
	var s Script
	for i, para := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
		if i > 0 {
			got.WriteString("\n")
		}
		if strings.HasPrefix(para, "#") {
			got.WriteString(para + "\n")
			continue
		}
		input, _, _ := strings.Cut(para, "\n----")
		if s == nil || strings.HasPrefix(input, "new ") {
			if s != nil {
				s.Close()
			}
			s = open(t, &out)
		}
		out.Reset()
		for line := range strings.Lines(input) {
			s.Run(strings.TrimSpace(line))
		}
		fmt.Fprintf(&got, "%s\n----\n%s", input, out.String())
	}
	if s == nil {
		t.Fatalf("%s has no commands", file)
	}
	s.Close()
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, have := strings.Split(string(data), "\n"), strings.Split(got.String(), "\n")
	for i := range max(len(want), len(have)) {
		if i >= len(want) || i >= len(have) || want[i] != have[i] {
			t.Fatalf("differs at line %d; the whole is now:\n%s", i+1, got.String())
		}
	}
}
