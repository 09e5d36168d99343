package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asked are words and what the last of them may be; the words are separated by one space.
var asked = []struct{ line, want string }{
	{"", "compare completion ideal merge probe report run serve slo sweep -..."},
	{"s", "serve slo sweep"},
	{"sw", "sweep"},
	{"-pol", "-policy"},
	{"-policy ", "fifo idle inline"},
	{"-policy i", "idle inline"},
	{"-policy=i", "-policy=idle -policy=inline"},
	{"--policy=f", "--policy=fifo"},
	{"run --poli", "--policy"},
	{"run -conns 3 -arrival p", "poisson"},
	{"run -conns=3 -arr", "-arrival"},
	{"run -order=", "-order=false -order=true"},
	{"run -order -siz", "-size"},
	{"run -conns ", ""},
	{"run -json ", ":files"},
	{"run -json=o", ":files"},
	{"serve -work m", "message"},
	{"ideal -discipline ", "both fcfs ps"},
	{"probe -", "-json"},
	{"slo -p99.", "-p99.9 -p99.99"},
	{"sweep -over back", "backend="},
	{"sweep -over backend=uring,e", "backend=uring,epoll"},
	{"sweep -over=arrival=", "-over=arrival=fixed -over=arrival=poisson"},
	{"sweep -over json", ""},
	{"sweep -over rate=1", ""},
	{"compare A", ":files"},
	{"report -o x ", ":files"},
	{"merge A B", ":files"},
	{"compare -pai", "-pairs"},
	{"completion ", "bash fish zsh"},
	{"completion z", "zsh"},
	{"frobnicate -", ""},
	{"-frobnicate=", ""},
}

func TestCompletion(t *testing.T) {
	for _, c := range asked {
		_, stdout, stderr := invoke(t, append([]string{"completion", "--"}, strings.Split(c.line, " ")...)...)
		got := strings.Fields(stdout)
		want := strings.Fields(c.want)
		if i := slices.Index(want, "-..."); i >= 0 { // flags of run
			if len(got) < i+20 || slices.ContainsFunc(got[i:], func(s string) bool { return !strings.HasPrefix(s, "-") }) {
				t.Errorf("%q: %s", c.line, got)
			}
			got, want = got[:i], want[:i]
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || stderr != "" {
			t.Errorf("%q: %s %s, want %s", c.line, got, stderr, want)
		}
	}
}

// Every flag of every command is completed, and so is the program's own name for it.
func TestCompletionOfAll(t *testing.T) {
	for name := range commands() {
		f := flagsOf(name)
		if f == nil {
			t.Errorf("%s: no flags", name)
			continue
		}
		_, help, _ := invoke(t, name, "-h")
		n := 0
		for line := range strings.Lines(help) {
			flag, ok := strings.CutPrefix(line, "  -") // as PrintDefaults has it
			if !ok || !strings.Contains(help, "Flags:") || strings.Index(help, line) < strings.Index(help, "Flags:") {
				continue
			}
			n++
			flag = "-" + strings.Fields(flag)[0]
			if got := candidates([]string{name, flag}); !slices.Contains(got, flag) {
				t.Errorf("%s %s: %s", name, flag, got)
			}
		}
		if n == 0 && name != "completion" {
			t.Errorf("%s: no flags in\n%s", name, help)
		}
	}
}

func TestCompletionUsage(t *testing.T) {
	for _, args := range [][]string{{"completion"}, {"completion", "tcsh"}, {"completion", "bash", "zsh"}} {
		if status, _, stderr := invoke(t, args...); status != 2 || stderr != "kcmbench completion: want bash, zsh or fish\n" {
			t.Errorf("%s: %d, %q", args, status, stderr)
		}
	}
}

// Bash asks the program and replaces what it takes for the last word, which = cuts.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	program := fmt.Sprintf("#!/bin/sh\n%s=1 exec %q \"$@\"\n", asProgram, os.Args[0])
	if err := os.WriteFile(filepath.Join(dir, "kcmbench"), []byte(program), 0o700); err != nil {
		t.Fatal(err)
	}
	_, script, _ := invoke(t, "completion", "bash")
	for _, c := range []struct{ line, want string }{
		{"kcmbench s", "serve slo sweep"},
		{"kcmbench run -policy ", "fifo idle inline"},
		{"kcmbench -policy=i", "idle inline"},
		{"kcmbench sweep -over arrival=fi", "fixed"},
		{"kcmbench sweep -over backend=uring,e", "uring,epoll"},
		{"kcmbench sweep -over arri", "arrival= nospace"},
		{"kcmbench run -json x", "default"},
		{"kcmbench run -conns ", ""},
	} {
		// compopt works only while bash itself completes.
		cmd := exec.CommandContext(t.Context(), bash, "--norc", "-c", script+`
compopt() { echo "$2"; }
COMP_LINE=$1 COMP_POINT=${#1}
_kcmbench kcmbench
printf '%s\n' "${COMPREPLY[@]}"
complete -p kcmbench >&2`, "bash", c.line)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		got := strings.Fields(string(out))
		want := strings.Fields(c.want)
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) || errs.String() != "complete -F _kcmbench kcmbench\n" {
			t.Errorf("%q: %v, %s, want %s; %s", c.line, err, got, want, &errs)
		}
	}
}
