package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/bench"
)

// TestJobHasFlagsOfRun holds the arguments of the Kubernetes Job against the flags there
// are. What Kubernetes puts in is put in here.
func TestJobHasFlagsOfRun(t *testing.T) {
	text := strings.NewReplacer("$(JOB_COMPLETION_INDEX)", "2", "@START_AT", "@1700000000").Replace(content(t, "../../docs/kcmbench-job.yaml"))
	f := flagsOf("run")
	given := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^ +- -([a-z-]+)=(\S+)`).FindAllStringSubmatch(text, -1) {
		given[m[1]] = true
		if err := f.Set(m[1], m[2]); err != nil {
			t.Errorf("-%s: %v", m[1], err)
		}
	}
	for _, name := range []string{"target", "rate", "seed", "start-at", "json"} {
		if !given[name] {
			t.Errorf("no -%s among %v", name, given)
		}
	}
}

// TestSSHScript has the script start two generators on hosts that are this machine, by a
// command ssh that runs what it is told.
func TestSSHScript(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("no bash")
	}
	dir := t.TempDir()
	program, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"ssh":      "#!/bin/sh\necho \"$2\" >> " + dir + "/hosts\nexec sh -c \"$3\"\n", // ssh -n HOST COMMAND
		"kcmbench": "#!/bin/sh\nexec env " + asProgram + "=1 " + program + " \"$@\"\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, "serve", "-listen", "127.0.0.1:0", "-loops", "1")
	line, err := s.out.ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening ")
	if !ok {
		t.Fatalf("the server says %q, %v", line, err)
	}
	out := filepath.Join(dir, "all.json")
	cmd := exec.Command(bash, "../../docs/kcmbench-ssh.sh", out, "one two", "-target", addr, "-rate", "500", "-conns", "2",
		"-service", "bimodal:5us,50us,10%", "-duration", "300ms", "-warmup", "0s", "-pin=false", "-verdict=false", "-max-clock-error", "0")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "LEAD=4")
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	rep, err := bench.ReadReport(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Parts) != 2 || rep.Rate != 1000 || rep.Messages == 0 || rep.Parts[0].BeganUnixMillis != rep.Parts[1].BeganUnixMillis {
		t.Errorf("%s", text)
	}
	hosts := strings.Fields(content(t, filepath.Join(dir, "hosts")))
	if got := fmt.Sprint(hosts); got != "[one two]" && got != "[two one]" {
		t.Errorf("hosts %s", got)
	}
}
