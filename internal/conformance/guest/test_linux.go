package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// testTime is how long one test program may take. It has a limit of its own, which says more.
const testTime = time.Hour

// listTests returns the directories of the tests, below treeDir.
func listTests() ([]string, error) {
	text, err := os.ReadFile(testsList)
	return strings.Fields(string(text)), err
}

// runTest runs the test program of the directory, which is where it runs, and prints each line of what it
// says behind "= ".
func runTest(name string, out io.Writer) error {
	dir := filepath.Join(treeDir, name)
	args, err := os.ReadFile(filepath.Join(dir, "kcm.args"))
	if err != nil {
		return err
	}
	if err := ready(); err != nil {
		return err
	}
	said := &lines{out: out}
	cmd := exec.Command(filepath.Join(dir, "kcm.test"))
	if len(args) > 0 {
		cmd.Args = append(cmd.Args, strings.Split(string(args), "\n")...)
	}
	cmd.Env = append(os.Environ(), "KCM_OWN_MACHINE=1") // tests may change its settings
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, said, said
	cmd.WaitDelay = time.Second // for what it leaves running
	err = within(cmd, testTime)
	said.end()
	return err
}

// ready makes the machine what tests expect of a host.
func ready() error {
	if err := loopbackUp(); err != nil {
		return err
	}
	if err := os.MkdirAll("/etc", 0o755); err != nil {
		return err
	}
	return os.WriteFile("/etc/hosts", []byte("127.0.0.1 localhost\n"), 0o644)
}

// lines writes "= " before each line.
type lines struct {
	out  io.Writer
	part []byte // a line that has not ended
}

func (l *lines) Write(b []byte) (int, error) {
	l.part = append(l.part, b...)
	for {
		line, rest, ended := bytes.Cut(l.part, []byte("\n"))
		if !ended {
			return len(b), nil
		}
		if _, err := l.out.Write(append(append([]byte("= "), line...), '\n')); err != nil {
			return 0, err
		}
		l.part = rest
	}
}

// end ends the last line.
func (l *lines) end() {
	if len(l.part) > 0 {
		_, _ = l.Write([]byte("\n")) // the lab finds that the report ends early
	}
}
