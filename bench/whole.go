package bench

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// writeWhole writes a file that is there as a whole or, after an error or the end of the
// process, as it was before: it is written under another name first. What is no regular
// file, a terminal or a pipe, is written as it is.
func writeWhole(file string, write func(io.Writer) error) error {
	name := file + ".part"
	if st, err := os.Stat(file); err == nil && !st.Mode().IsRegular() {
		name = file
	}
	f, err := os.Create(name)
	if err != nil {
		var e *fs.PathError
		if errors.As(err, &e) {
			e.Path = file
		}
		return err
	}
	err = write(f)
	if e := f.Close(); err == nil {
		err = e
	}
	if name == file {
		return err
	}
	if err == nil {
		err = os.Rename(name, file)
	}
	if err != nil {
		_ = os.Remove(name) // err says more
	}
	return err
}
