package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// uncovered are the numbers of docs/kcm.md that no script shows, and why.
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
	for mark, name := range shown {
		if !known[mark] {
			t.Errorf("%s names %s, which there is not", name, mark)
		}
	}
}
