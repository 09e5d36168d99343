package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const modulePath = "github.com/kcm-go/kcm/"

// BuildGuest builds the guest program and returns its path, in cache.
func BuildGuest(ctx context.Context, cache string) (string, error) {
	path := filepath.Join(cache, "guest")
	return path, goBuild(ctx, path, modulePath+"internal/conformance/guest", "build")
}

// BuildTest builds the test program of a package, which is given by its directory in the module,
// and returns its path, in cache.
func BuildTest(ctx context.Context, cache, pkg string) (string, error) {
	path := filepath.Join(cache, strings.ReplaceAll(pkg, "/", "-")+".test")
	return path, goBuild(ctx, path, modulePath+pkg, "test", "-c")
}

// goBuild builds a program that needs no libraries, for the virtual machine.
func goBuild(ctx context.Context, path, pkg string, command ...string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append(command, "-trimpath", "-ldflags=-s -w", "-o", path, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: go %s %s: %w: %s", command[0], pkg, err, bytes.TrimSpace(out))
	}
	return nil
}
