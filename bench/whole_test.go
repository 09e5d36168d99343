package bench

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestFilesAreWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	write := func(text string, err error) error {
		return writeWhole(name, func(w io.Writer) error {
			_, _ = io.WriteString(w, text) // err is what is told
			return err
		})
	}
	broken := errors.New("broken")
	for _, step := range []struct {
		text string
		err  error
		want string
	}{{"one", nil, "one"}, {"tw", broken, "one"}, {"three", nil, "three"}} {
		if err := write(step.text, step.err); err != step.err {
			t.Errorf("%s: %v", step.text, err)
		}
		if b, err := os.ReadFile(name); err != nil || string(b) != step.want {
			t.Errorf("after %s: %q, %v, want %q", step.text, b, err, step.want)
		}
	}
	if list, err := os.ReadDir(filepath.Dir(name)); err != nil || len(list) != 1 {
		t.Errorf("%v, %v: want the one file", list, err)
	}
	err := writeWhole("/nonexistent/file", func(io.Writer) error { return nil })
	if err == nil || err.Error() != "open /nonexistent/file: no such file or directory" {
		t.Error(err)
	}
}
