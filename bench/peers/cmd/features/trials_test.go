//go:build linux

package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// Every trial runs, or says what the kernel lacks, and what it prints can be read.
func TestTrials(t *testing.T) {
	cc := "cc"
	if _, err := exec.LookPath(cc); err != nil {
		t.Skip(err)
	}
	t.Setenv("CC", cc)
	rep, text, _, err := runFake(t, "ok", "-parts", "trials", "-pairs", "1", "-trial", "1ms")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, trial := range trials {
		var sampled, skipped bool
		for _, s := range rep.Samples {
			sampled = sampled || s.Feature == trial.name
		}
		for _, s := range rep.Skipped {
			skipped = skipped || strings.HasPrefix(s.Server, trial.name+", ")
		}
		if !sampled && !skipped {
			t.Errorf("trial %s: neither figures nor a reason", trial.name)
		}
	}
	for _, s := range rep.Samples {
		if s.Value <= 0 {
			t.Errorf("sample %+v", s)
		}
	}
	if strings.Contains(text, "FAILED") {
		t.Errorf("bundles are corrupt here:\n%s", text)
	}
}

// The list of trials in C is the one here.
func TestTrialNames(t *testing.T) {
	cc := "cc"
	if _, err := exec.LookPath(cc); err != nil {
		t.Skip(err)
	}
	t.Setenv("CC", cc)
	root, err := rig.FindRoot()
	if err != nil {
		t.Fatal(err)
	}
	b := rig.Builder{Root: root, Dir: t.TempDir()}
	bin, err := b.Trials(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin, "nosuch").CombinedOutput()
	if err == nil {
		t.Error("a trial that does not exist runs")
	}
	_, list, _ := strings.Cut(string(out), "trials: ")
	if got, want := strings.TrimSpace(list), strings.Join(trialNames(), " "); got != want {
		t.Errorf("trials in C: %s, here: %s", got, want)
	}
}
