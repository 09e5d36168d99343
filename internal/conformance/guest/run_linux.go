package main

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/conformance"
	"github.com/kcm-go/kcm/internal/conformance/kernel"
)

// namespace gives a process a network namespace of its own, whose statistics are zero.
func namespace() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
}

// runScript runs the script and prints its outcomes as they come.
func runScript(path string, out io.Writer) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	s, err := conformance.ParseScript(string(text))
	if err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	var failed error
	conformance.Play(kernel.New(), s, func(_ int, outcome string) {
		if _, err := fmt.Fprintf(out, "= %s\n", outcome); err != nil && failed == nil {
			failed = err
		}
	})
	return failed
}

// loopbackUp makes the addresses 127.0.0.1 and ::1 work.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}
