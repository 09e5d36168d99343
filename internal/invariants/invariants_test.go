package invariants

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// panicText runs f and returns what it panicked with, "" if it did not.
func panicText(f func()) (s string) {
	defer func() {
		if r := recover(); r != nil {
			s = r.(string)
		}
	}()
	f()
	return ""
}

func TestCheck(t *testing.T) {
	want := func(s string) string {
		if Enabled {
			return s
		}
		return ""
	}
	for _, c := range []struct {
		name, want string
		f          func()
	}{
		{"true", "", func() { Check(true, "no") }},
		{"false", want("invariant violated: a below b"), func() { Check(false, "a below b") }},
		{"formatted true", "", func() { Checkf(true, "no %d", 1) }},
		{"formatted false", want("invariant violated: 1 below 2"), func() { Checkf(false, "%d below %d", 1, 2) }},
	} {
		if got := panicText(c.f); got != c.want {
			t.Errorf("%s: panic %q, want %q", c.name, got, c.want)
		}
	}
}

// TestCostsNothing holds for both builds: a check that passes does not allocate.
func TestCostsNothing(t *testing.T) {
	var tracker Tracker
	if n := testing.AllocsPerRun(100, func() {
		Check(true, "no")
		Sometimes(4)
		if !Enabled {
			Checkf(false, "%d", 1)
			tracker.Acquire(1)
			tracker.Release(2)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSometimes(t *testing.T) {
	draw := func(seed uint64) []bool {
		Seed(seed)
		s := make([]bool, 1000)
		for i := range s {
			s[i] = Sometimes(4)
		}
		return s
	}
	count := func(s []bool) (n int) {
		for _, b := range s {
			if b {
				n++
			}
		}
		return n
	}
	first := draw(1)
	if !Enabled {
		if n := count(first); n != 0 {
			t.Errorf("true %d times in a plain build", n)
		}
		return
	}
	if n := count(first); n < 150 || n > 350 {
		t.Errorf("true %d times of 1000, want about 250", n)
	}
	if !slices.Equal(first, draw(1)) {
		t.Error("the same seed gave another sequence")
	}
	if slices.Equal(first, draw(2)) {
		t.Error("another seed gave the same sequence")
	}
	if !Sometimes(1) {
		t.Error("Sometimes(1) is false")
	}
	if panicText(func() { Sometimes(0) }) == "" {
		t.Error("Sometimes(0) did not panic")
	}
}

func TestPoison(t *testing.T) {
	Poison(nil)
	if Poisoned(nil) {
		t.Error("nothing is poisoned")
	}
	for _, n := range []int{1, 2, 3, 7, 64, 1000} {
		b := make([]byte, n+2)
		Poison(b[1 : n+1])
		if got, want := Poisoned(b[1:n+1]), Enabled || Race; got != want {
			t.Errorf("%d bytes: poisoned %v, want %v", n, got, want)
		}
		if b[0] != 0 || b[n+1] != 0 {
			t.Errorf("%d bytes: a neighbour was touched", n)
		}
		fill(b)
		if !bytes.Equal(b, bytes.Repeat([]byte{0xdb}, n+2)) {
			t.Errorf("fill of %d bytes: % x", n+2, b)
		}
		b[n] = 0
		if Poisoned(b) {
			t.Errorf("%d bytes: a late write went unseen", n)
		}
	}
}

func TestTracker(t *testing.T) {
	var tr Tracker
	takeForTest(&tr, 5)
	takeForTest(&tr, 5)
	tr.Acquire(2)
	tr.Release(5)
	var b strings.Builder
	if !Enabled {
		if tr.Held() != 0 || tr.WriteLeaks(&b) != 0 || b.Len() != 0 {
			t.Error("a plain build tracks")
		}
		return
	}
	if tr.Held() != 2 || tr.WriteLeaks(&b) != 2 {
		t.Errorf("%d held, want 2", tr.Held())
	}
	out := b.String()
	two, five := strings.Index(out, "reference to 2,"), strings.Index(out, "reference to 5,")
	if two < 0 || five < two || !strings.Contains(out[five:], "takeForTest") || !strings.Contains(out, "invariants_test.go:") {
		t.Errorf("leaks printed as\n%s", out)
	}
	if strings.Contains(out, "runtime.Callers") || strings.Contains(out, "(*Tracker)") {
		t.Errorf("the tracker's own frames are printed:\n%s", out)
	}
	tr.Release(5)
	tr.Release(2)
	if tr.Held() != 0 {
		t.Errorf("%d held at the end", tr.Held())
	}
	if got := panicText(func() { tr.Release(5) }); got != "invariant violated: release of 5, which is not held" {
		t.Errorf("release too many: panic %q", got)
	}
}

//go:noinline
func takeForTest(tr *Tracker, key uint64) { tr.Acquire(key) }
