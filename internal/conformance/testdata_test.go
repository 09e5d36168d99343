package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// kernels are the engines whose outcomes the scripts have.
var kernels = []string{"6.1", "6.12"}

func TestScriptsInTestdata(t *testing.T) {
	cases, err := Load(os.DirFS("testdata"))
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 80 {
		t.Errorf("%d scripts, want 80 or more", len(cases))
	}
	for _, c := range cases {
		text, err := os.ReadFile(filepath.Join("testdata", c.Name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		if string(text) != c.String() {
			t.Errorf("%s is not as it would be printed", c.Name)
		}
		if len(c.Comment) == 0 || len(c.Steps) == 0 {
			t.Errorf("%s has no comment or no actions", c.Name)
		}
		for _, k := range kernels {
			missing := slices.IndexFunc(c.Steps, func(st Step) bool { return st.Want(k) == "" })
			if missing >= 0 {
				t.Errorf("%s: action %d has no outcome of Linux %s", c.Name, missing+1, k)
			}
		}
	}
}

// uncovered are the numbers of docs/kcm.md that no script shows, and why. Tests of mux prove
// them.
var uncovered = map[string]string{
	"E35": "a ready callback cannot be stopped in its middle from outside",
	"E36": "a ready callback cannot be stopped in its middle from outside",
	"I7":  "in which list a socket or a conn is cannot be seen as a whole; its parts are in the statistics",
}

func TestNumbersAreShown(t *testing.T) {
	cases, err := Load(os.DirFS("testdata"))
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]string)
	for _, c := range cases {
		for _, m := range c.Marks() {
			shown[m] = c.Name
		}
	}
	known := make(map[string]bool)
	// Beyond KC-11 differences are not the kernel's to show: see TestDifferencesOfMux.
	for kind, n := range map[string]int{"E": 48, "I": 17, "KC-": 11} {
		for i := 1; i <= n; i++ {
			mark := fmt.Sprint(kind, i)
			known[mark] = true
			name, why := shown[mark], uncovered[mark]
			switch {
			case name == "" && why == "":
				t.Errorf("no script shows %s", mark)
			case name != "" && why != "":
				t.Errorf("%s is shown by %s, and should not be possible: %s", mark, name, why)
			}
		}
	}
	proved := ""
	for _, text := range muxTests(t) {
		for _, m := range proves.FindAllString(text, -1) {
			proved += m
		}
	}
	for mark := range uncovered {
		if !regexp.MustCompile(mark + `\b`).MatchString(proved) {
			t.Errorf("no test of mux proves %s", mark)
		}
	}
	for mark, name := range shown {
		if !known[mark] && !strings.HasPrefix(mark, "KC-") {
			t.Errorf("%s names %s, which there is not", name, mark)
		}
	}
}

// row is a line of the table of differences in docs/kcm.md: number, Linux, mux, and the reason.
var row = regexp.MustCompile(`(?m)^\| (KC-[0-9]+) \|(.*)\|$`)

// TestDifferencesOfMux holds the outcomes that package mux alone has to the list of intended
// differences: each has a number there, and each number there is needed.
func TestDifferencesOfMux(t *testing.T) {
	page, err := os.ReadFile("../../docs/kcm.md")
	if err != nil {
		t.Fatal(err)
	}
	needed := make(map[string]bool) // by number
	for i, m := range row.FindAllStringSubmatch(string(page), -1) {
		if want := fmt.Sprint("KC-", i+1); m[1] != want {
			t.Fatalf("docs/kcm.md has %s, want %s", m[1], want)
		}
		cells := strings.Split(m[2], " |")
		if len(cells) != 3 || slices.ContainsFunc(cells, func(c string) bool { return strings.TrimSpace(c) == "" }) {
			t.Errorf("docs/kcm.md: %s has %q, want what Linux does, what mux does, and why", m[1], cells)
		}
		needed[m[1]] = false
	}
	cases, err := Load(os.DirFS("testdata"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		differs := false
		for i := range c.Steps {
			for _, o := range c.Steps[i].Outcomes {
				if o.Engine != "mux" {
					continue
				}
				differs = true
				if o.Text == c.Steps[i].Want("any other") {
					t.Errorf("%s: action %d has an outcome of mux that is every engine's", c.Name, i+1)
				}
			}
		}
		reasons := c.Differs("mux")
		if differs != (len(reasons) > 0) {
			t.Errorf("%s: outcomes of its own: %v; %q are given as reasons", c.Name, differs, reasons)
		}
		for _, r := range reasons {
			if _, known := needed[r]; !known {
				t.Errorf("%s: %s is no number of docs/kcm.md", c.Name, r)
			}
			needed[r] = true
		}
	}
	for _, text := range muxTests(t) {
		for _, r := range mark.FindAllString(text, -1) {
			needed[r] = true
		}
	}
	for r, is := range needed {
		if !is {
			t.Errorf("no script and no test of mux needs %s", r)
		}
	}
}

// proves is what a test says that it proves.
var proves = regexp.MustCompile(`(?m)^// Proves [^\n]*`)

// muxTests returns the text of the tests of package mux, by file.
func muxTests(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../mux/*_test.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d tests of mux, %v", len(files), err)
	}
	texts := make(map[string]string)
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = string(text)
	}
	return texts
}
