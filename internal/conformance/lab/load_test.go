package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

// The archive has the tests where the guest program looks for them, and every directory before
// what is in it.
func TestLoadOfTests(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "p")
	if err := os.WriteFile(program, []byte("ELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	load := Load{
		Tests: []Test{{"ring/internal/uring", program, []string{"-test.v", "-test.run=x y"}}, {"mux", program, nil}},
		Tree:  fstest.MapFS{"docs/kcm.md": {Data: []byte("text")}, "ring/ring.go": {Data: []byte("code")}},
	}
	b, err := (&Image{}).initrd(program, load)
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for _, part := range []string{
		"src\x00", "src/docs\x00", "src/mux\x00", "src/ring\x00", "src/ring/internal\x00", "src/ring/internal/uring\x00",
		"src/ring/internal/uring/kcm.test\x00", "src/ring/internal/uring/kcm.args\x00", "-test.v\n-test.run=x y",
		"src/mux/kcm.test\x00", "src/mux/kcm.args\x00", "tests\x00", "ring/internal/uring\nmux\n",
	} {
		at := bytes.Index(b, []byte(part))
		if at <= last {
			t.Errorf("%q is at %d, after %d", part, at, last)
		}
		last = at
	}
	for _, part := range []string{"src/docs/kcm.md\x00", "text", "src/ring/ring.go\x00", "code"} {
		if !bytes.Contains(b, []byte(part)) {
			t.Errorf("no %q", part)
		}
	}
	if n := bytes.Count(b, []byte("src/ring\x00")); n != 1 {
		t.Errorf("a directory is there %d times", n)
	}
	load.Tests[1].Program = "/no/such/file"
	if _, err := (&Image{}).initrd(program, load); err == nil {
		t.Error("a program that is not there is accepted")
	}
}
