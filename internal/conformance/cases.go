package conformance

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Case is a script with the name of its file, less ".txt".
type Case struct {
	Name string
	*Script
}

// Load reads the scripts in the root of fsys, in the order of their names. An error names
// the file.
func Load(fsys fs.FS) ([]Case, error) {
	files, err := fs.Glob(fsys, "*.txt")
	if err != nil {
		return nil, err
	}
	var cases []Case
	for _, f := range files {
		text, err := fs.ReadFile(fsys, f)
		if err != nil {
			return nil, err
		}
		s, err := ParseScript(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		cases = append(cases, Case{Name: strings.TrimSuffix(path.Base(f), ".txt"), Script: s})
	}
	return cases, nil
}
