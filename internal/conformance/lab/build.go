package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
)

// goBuild builds a program that needs no libraries, for the virtual machine.
func goBuild(ctx context.Context, path, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: go build %s: %w: %s", pkg, err, bytes.TrimSpace(out))
	}
	return nil
}
