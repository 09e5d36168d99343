//go:build !linux

package rig

import (
	"errors"
	"os/exec"
	"runtime"
)

func (s *Starter) run() {
	for start := range s.starts {
		start()
	}
}

func pinThread(int) error { return errors.ErrUnsupported }

func isolate(*exec.Cmd) {}

func AllowedCPUs() ([]int, error) { return nil, errors.ErrUnsupported }

// Machine describes what the numbers were measured on.
func Machine() string { return runtime.GOOS + ", " + runtime.GOARCH + ", " + runtime.Version() }

func siblings(int, int) bool { return false }
