//go:build linux

package rig

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A child that nobody stops dies with the thread that started it.
func TestChildEnds(t *testing.T) {
	cpus, err := AllowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	s := NewStarter()
	c, err := s.Start(cpus[0], nil, "sh", "-c", `echo listening here; exec sleep 1000`)
	if err != nil {
		t.Fatal(err)
	}
	addr, err := c.Listening(t.Context())
	if addr != "here" || err != nil {
		t.Fatalf("listening = %q, %v", addr, err)
	}
	s.Close()
	<-c.done
	if ws, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v, want killed", c.err)
	}
	if err := c.Wait(t.Context(), 0); err == nil {
		t.Error("wait reports no failure")
	}
}

func TestChildErrors(t *testing.T) {
	cpus, err := AllowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	s := NewStarter()
	defer s.Close()
	if _, err := s.Start(cpus[0], nil, "/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("start of nothing: %v", err)
	}
	if _, err := s.Start(100000, nil, "true"); err == nil || !strings.Contains(err.Error(), "pin to CPU 100000") {
		t.Errorf("start on no CPU: %v", err)
	}
	c, err := s.Start(cpus[0], nil, "sh", "-c", "echo why >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Listening(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 3: why") {
		t.Errorf("listening: %v, want exit status and standard error", err)
	}
	c, err = s.Start(cpus[0], nil, "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(t.Context(), time.Millisecond); err == nil || !strings.Contains(err.Error(), "still running after 1ms") {
		t.Errorf("wait: %v", err)
	}
	select {
	case <-c.done:
	default:
		t.Error("wait leaves the process behind")
	}
}

func TestChildIgnoresTermination(t *testing.T) {
	cpus, err := AllowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	s := NewStarter()
	defer s.Close()
	c, err := s.Start(cpus[0], nil, "sh", "-c", `trap "" TERM; echo listening here; exec sleep 1000`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Listening(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.stopLimit = 10 * time.Millisecond
	if err := c.Stop(); err == nil || !strings.Contains(err.Error(), "ignores SIGTERM for 10ms") {
		t.Errorf("stop: %v", err)
	}
	select {
	case <-c.done:
	default:
		t.Error("stop leaves the process behind")
	}
}
