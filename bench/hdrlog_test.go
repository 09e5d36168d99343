package bench

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestLogWriter reads back what it writes, and looks at the head and the tags.
func TestLogWriter(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 678_900_000, time.UTC)
	var b bytes.Buffer
	w := NewLogWriter(&b)
	for k := range 2 {
		i := Interval{
			Start: begin.Add(time.Duration(k) * 250 * time.Millisecond), From: time.Duration(k) * 250 * time.Millisecond,
			To:      time.Duration(k+1) * 250 * time.Millisecond,
			Latency: NewHist(), Classes: []*Hist{NewHist()}, Names: []string{"a b,c\n"},
		}
		i.Latency.Record(2_000_000)
		if err := w.Write(&i); err != nil {
			t.Fatal(err)
		}
	}
	text := b.String()
	for _, want := range []string{
		"#[StartTime: 1767323045.678 (seconds since epoch), 2026-01-02T03:04:05.678Z]\n",
		"\n0.000,0.250,2.", "\n0.250,0.250,2.", "\nTag=class:a_b_c_,0.250,0.250,0.000,HISTF",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("not once %q in\n%s", want, text)
		}
	}
	lines, err := readLog(&b)
	if err != nil || len(lines) != 4 || lines[2].from != 1767323045.678+0.25 || lines[2].hist.Count() != 1 || lines[3].hist.Count() != 0 {
		t.Errorf("%+v, %v", lines, err)
	}
}

// TestHgrmOfNothing has no line of figures, as the project's JavaScript has none.
func TestHgrmOfNothing(t *testing.T) {
	var b strings.Builder
	if err := NewHist().WriteHgrm(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "(1-Percentile)\n\n#[Mean") || strings.Contains(b.String(), "NaN") {
		t.Error(b.String())
	}
}
