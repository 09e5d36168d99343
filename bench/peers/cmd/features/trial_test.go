package main

import (
	"strings"
	"testing"
)

const bundles = `sample|send-bundles|4 x 64 B|SENDMSG|CPU ns/op|0|1000
sample|send-bundles|4 x 64 B|bundle|CPU ns/op|0|1100
sample|send-bundles|4 x 64 B|bundle|CPU ns/op|1|2400
sample|send-bundles|4 x 64 B|SENDMSG|CPU ns/op|1|2000
note|send-bundles|self-test|passed
skip|send-bundles|other|not offered: Invalid argument
skip|send-bundles|other|not offered: Invalid argument
sample|send-bundles|a cost|bundle|CPU ns/op|0|50
`

func TestParseTrial(t *testing.T) {
	var rep report
	if err := parseTrial(bundles, "send-bundles", &rep); err != nil {
		t.Fatal(err)
	}
	rep.summarize()
	if len(rep.Samples) != 5 || len(rep.Rows) != 2 || len(rep.Skipped) != 1 {
		t.Fatalf("%d samples, rows %+v, skipped %+v", len(rep.Samples), rep.Rows, rep.Skipped)
	}
	// The base is the way that comes first, whatever the order of later rounds.
	r := rep.Rows[0]
	if r.Base != "SENDMSG" || r.BaseAt != 1500 || r.Way != "bundle" || r.At != 1750 || r.Since != "6.10" {
		t.Errorf("row %+v", r)
	}
	if q := r.Ratio; q == nil || q.Median < 1.1499 || q.Median > 1.1501 || q.Lo != 1.1 || q.Hi != 1.2 {
		t.Errorf("ratio %+v, want 1.15 [1.1, 1.2]", r.Ratio)
	}
	if r := rep.Rows[1]; r.Load != "a cost" || r.Base != "bundle" || r.BaseAt != 50 || r.Way != "" || r.Ratio != nil {
		t.Errorf("row of one way %+v", r)
	}
	text := rep.markdown()
	for _, want := range []string{
		"| SENDMSG: 1500 | bundle: 1750 | 1.150 [1.100, 1.200] |", "|    bundle: 50 |            - |                    - |",
		"- send-bundles, self-test: passed\n", "- send-bundles, other: not offered: Invalid argument\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// A ratio is only of rounds that have both.
func TestRoundsWithoutBase(t *testing.T) {
	var rep report
	for _, f := range []struct {
		way   string
		round int
		v     float64
	}{{"on", 0, 10}, {"off", 1, 100}, {"off", 2, 40}, {"on", 2, 20}} {
		rep.add(sample{feature: "x", Load: "l", Way: f.way, base: f.way == "on", Round: f.round}, cpuPerMessage, f.v)
	}
	rep.summarize()
	if len(rep.Rows) != 1 || rep.Rows[0].Ratio == nil || rep.Rows[0].Ratio.Median != 2 || rep.Rows[0].Ratio.Pairs != 1 {
		t.Errorf("rows %+v, want one with the ratio 2 of one round", rep.Rows)
	}
	// Without a base there is nothing to say.
	alone := report{Samples: rep.Samples[1:3]}
	if alone.summarize(); len(alone.Rows) != 0 {
		t.Errorf("rows %+v without a base", alone.Rows)
	}
}

func TestParseTrialErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "printed nothing"},
		{"hello\n", "is not of trial"},
		{"sample|msg-ring|l|w|u|0|1\n", "is not of trial"},
		{"sample|send-zc|l|w|u|0\n", "is of no kind"},
		{"sample|send-zc|l|w|u|x|1\n", "invalid syntax"},
		{"sample|send-zc|l|w|u|0|NaN\n", "no figure"},
		{"sample|send-zc|l|w|u|0|inf\n", "no figure"},
		{"sample|send-zc|l|w|u|0|-1\n", "no figure"},
		{"other|send-zc|l|w\n", "is of no kind"},
	} {
		rep := report{}
		text := tt.text
		if text != "" {
			text = "note|send-zc|l|first\n" + text
		}
		err := parseTrial(text, "send-zc", &rep)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
		if len(rep.Samples)+len(rep.Notes)+len(rep.Skipped) != 0 {
			t.Errorf("%q: added %+v", tt.text, rep)
		}
	}
	if err := parseTrial(bundles, "nosuch", &report{}); err == nil {
		t.Error("a trial that does not exist is accepted")
	}
}
