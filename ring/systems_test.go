package ring

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every row of docs/systems.md names a test that there is.
func TestSystemsPage(t *testing.T) {
	page, err := os.ReadFile("../docs/systems.md")
	if err != nil {
		t.Fatal(err)
	}
	test := regexp.MustCompile("`([a-z/]+)\\.(Test[A-Za-z]+)`")
	rows := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| ") || strings.HasSuffix(line, "test |\n") {
			continue
		}
		rows++
		named := test.FindAllStringSubmatch(line, -1)
		if named == nil && !strings.Contains(line, "the same |\n") {
			t.Errorf("no test is named in: %s", line)
		}
		for _, m := range named {
			files, err := filepath.Glob(filepath.Join("..", m[1], "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range files {
				text, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				found = found || strings.Contains(string(text), "func "+m[2]+"(t *testing.T)")
			}
			if !found {
				t.Errorf("%s has no %s", m[1], m[2])
			}
		}
	}
	if rows < 15 {
		t.Errorf("%d rows", rows)
	}
}
