//go:build linux

package main

import (
	"errors"
	"flag"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/framing"
	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// TestRun: a table for each size and set, with a line for each way that runs in it.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"-rounds", "2", "-time", "1us"}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	sections := strings.Split(text, "\n### ")
	if len(sections) != 5 {
		t.Fatalf("%d tables in\n%s", len(sections)-1, text)
	}
	for i, want := range []string{"64 B, read", "64 B, in place", "1024 B, read", "1024 B, in place"} {
		section := sections[i+1]
		if !strings.HasPrefix(section, "Messages of "+want+"\n") {
			t.Errorf("table %d is not %q:\n%s", i, want, section)
		}
		set := framing.Read
		if i%2 == 1 {
			set = framing.InPlace
		}
		for _, c := range framing.Contestants() {
			line := regexp.MustCompile(`(?m)^\| ` + c.Name + ` +\| +\d+\.\d\d \|`)
			if got := line.MatchString(section); got != c.Runs(set) {
				t.Errorf("%s, %s: has a line: %v", want, c.Name, got)
			}
		}
		if n := strings.Count(text, "- "+want+": "); n != 1 {
			t.Errorf("%d targets for %s", n, want)
		}
	}
	if !strings.Contains(text, "That is less than 95 %") {
		t.Error("two rounds are called enough")
	}
}

func TestRunSome(t *testing.T) {
	var out strings.Builder
	args := []string{"-rounds", "1", "-time", "1us", "-sizes", "128", "-sets", "read", "-ways", "by hand,netpoll"}
	if err := run(t.Context(), args, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if strings.Count(text, "###") != 1 || !strings.Contains(text, "| netpoll") || strings.Contains(text, "\n| kcm") || strings.Contains(text, "Asked of kcm") {
		t.Errorf("%s", text)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range []string{"-rounds 0", "-time 0s", "-sizes x", "-sizes 63", "-sets there", "-ways tcp", "more"} {
		if err := run(t.Context(), strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%s: no error", args)
		}
	}
	if err := run(t.Context(), []string{"-nonsense"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("%v", err)
	}
}

// rows makes a table of these ways, each with the same figure in all of 9 rounds.
func rows(allocs float64, nanos map[string]float64) table {
	t := table{size: 64, set: framing.Read}
	for _, c := range framing.Contestants() {
		v, ok := nanos[c.Name]
		if !ok {
			continue
		}
		e := &entry{way: c, nanos: rig.Rounds{}}
		for round := range 9 {
			e.nanos[round] = v
		}
		if c.Kind == framing.Ours {
			e.allocs = allocs
		}
		t.entries = append(t.entries, e)
	}
	return t
}

// TestTarget: kcm is compared with the best of its peers, and not with what is done by hand.
func TestTarget(t *testing.T) {
	for _, c := range []struct {
		allocs float64
		nanos  map[string]float64
		want   string
	}{
		{0, map[string]float64{"kcm": 4, "bufio-peek": 9, "gnet-peek": 8, "by hand": 3},
			"0.500 [0.500, 0.500] of gnet-peek: met; 0.00 allocations per 1000 messages: met"},
		{0.001, map[string]float64{"kcm": 4, "bufio-peek": 7, "gnet-peek": 8},
			"0.571 [0.571, 0.571] of bufio-peek: MISSED; 1.00 allocations per 1000 messages: MISSED"},
		{0, map[string]float64{"kcm": 4, "by hand": 3}, ""},
		{0, map[string]float64{"netpoll": 4}, ""},
	} {
		text := rows(c.allocs, c.nanos).target()
		if c.want == "" && text != "" || !strings.Contains(text, c.want) {
			t.Errorf("%v: %s, want %s", c.nanos, text, c.want)
		}
	}
}

// TestBeyond: what the read costs is taken off within rounds.
func TestBeyond(t *testing.T) {
	a, b := &entry{nanos: rig.Rounds{0: 5, 1: 9, 2: 7}}, &entry{nanos: rig.Rounds{0: 1, 1: 4, 3: 100}}
	if got := beyond(a, b); got != 4.5 {
		t.Errorf("%v, want 4.5", got)
	}
}
