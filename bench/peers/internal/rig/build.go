package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// FindRoot returns the directory of the kcm module that holds the working
// directory.
func FindRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module github.com/kcm-go/kcm\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no module github.com/kcm-go/kcm here or above; use -root")
		}
		dir = parent
	}
}

// Builder makes the programs in Dir from the sources below Root, each once.
type Builder struct {
	Root string // directory of module github.com/kcm-go/kcm
	Dir  string

	built map[string]string // name to path
}

func (b *Builder) peersDir() string { return filepath.Join(b.Root, "bench", "peers") }

// Kcmbench builds the generator, which is the kcm server too, and returns its
// path.
func (b *Builder) Kcmbench(ctx context.Context) (string, error) {
	return b.make(ctx, "kcmbench", b.Root, "go", "build", "-o", "{}", "./cmd/kcmbench")
}

// Peer builds the server of all engines of package echo.
func (b *Builder) Peer(ctx context.Context) (string, error) {
	return b.make(ctx, "peer", b.peersDir(), "go", "build", "-tags", "iouringgo", "-ldflags=-checklinkname=0",
		"-o", "{}", "./cmd/peer")
}

// C builds the C server of that name with $CC, or cc.
func (b *Builder) C(ctx context.Context, name string) (string, error) {
	return b.make(ctx, "c-"+name, b.peersDir(), compiler(), "-O2", "-Wall", "-Wextra", "-o", "{}", filepath.Join("c", name+".c"))
}

// Trials builds the trials of c/trials with $CC, or cc.
func (b *Builder) Trials(ctx context.Context) (string, error) {
	sources, err := filepath.Glob(filepath.Join(b.peersDir(), "c", "trials", "*.c"))
	if err != nil {
		return "", err
	}
	if len(sources) == 0 {
		return "", fmt.Errorf("no trials below %s", b.peersDir())
	}
	argv := []string{compiler(), "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", "{}"}
	return b.make(ctx, "c-trials", b.peersDir(), append(argv, sources...)...)
}

func compiler() string {
	if cc := os.Getenv("CC"); cc != "" {
		return cc
	}
	return "cc"
}

// make runs a command in dir that makes the program name; the argument {} is
// where.
func (b *Builder) make(ctx context.Context, name, dir string, argv ...string) (string, error) {
	if path := b.built[name]; path != "" {
		return path, nil
	}
	path := filepath.Join(b.Dir, name)
	for i, arg := range argv {
		if arg == "{}" {
			argv[i] = path
		}
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	if b.built == nil {
		b.built = make(map[string]string)
	}
	b.built[name] = path
	return path, nil
}
