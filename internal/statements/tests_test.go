package statements

import (
	"slices"
	"testing"
)

// A page is complained about for a line without a test, a test that does not exist, wherever
// it is named, a number that comes twice, and a line that is missing.
func TestPageWhoseTestsAreMissing(t *testing.T) {
	page := "see `TestGone`\n\n| | what | by |\n|---|---|---|\n" +
		"| S1 | a | `TestA`, `FuzzB` |\n| S2 | b | `FuzzGone` |\n| S3 | c | nothing |\n| S1 | d | `TestA` |\n"
	got := testsMissing(page, 4, map[string]bool{"TestA": true, "FuzzB": true})
	want := []string{
		"names TestGone, which is no test",
		"names FuzzGone, which is no test",
		"names no test for S3",
		"states S1 twice",
		"states 3 things, want 4",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := testsMissing("| S1 | a | `TestA` |\n", 1, map[string]bool{"TestA": true}); got != nil {
		t.Errorf("a page with nothing wrong: %q", got)
	}
}
