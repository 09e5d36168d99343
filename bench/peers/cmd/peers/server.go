package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kcm-go/kcm/bench/peers/echo"
)

// server is one contestant.
type server struct {
	name string
	argv []string
}

// The servers whose ratios to all others are reported.
var bases = []string{"kcm-uring", "kcm-epoll"}

// serverNames lists every server there is, in the order of the tables.
func serverNames() []string {
	return slices.Concat(bases, echo.Engines(), []string{"c-epoll", "c-uring"})
}

// parseServers reads a comma-separated list of server names.
func parseServers(list string) ([]string, error) {
	names := strings.Split(list, ",")
	for i, name := range names {
		if !slices.Contains(serverNames(), name) {
			return nil, fmt.Errorf("servers: no server %q, have %s", name, strings.Join(serverNames(), ","))
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("servers: %s is there twice", name)
		}
	}
	return names, nil
}

// builder makes the programs in dir from the sources below root.
type builder struct {
	root string // directory of module github.com/kcm-go/kcm
	dir  string
}

// findRoot returns the directory of the kcm module that holds the working
// directory.
func findRoot() (string, error) {
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

func (b builder) peersDir() string { return filepath.Join(b.root, "bench", "peers") }

// kcmbench builds the generator, which is the kcm server too.
func (b builder) kcmbench(ctx context.Context) (string, error) {
	out := filepath.Join(b.dir, "kcmbench")
	return out, b.run(ctx, b.root, "go", "build", "-o", out, "./cmd/kcmbench")
}

// peer builds the server of all engines. See package echo for the flags.
func (b builder) peer(ctx context.Context) (string, error) {
	out := filepath.Join(b.dir, "peer")
	return out, b.run(ctx, b.peersDir(), "go", "build", "-tags", "iouringgo", "-ldflags=-checklinkname=0",
		"-o", out, "./cmd/peer")
}

// c builds the C server of that name with $CC, or cc.
func (b builder) c(ctx context.Context, name string) (string, error) {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	out := filepath.Join(b.dir, "c-"+name)
	return out, b.run(ctx, b.peersDir(), cc, "-O2", "-Wall", "-Wextra", "-o", out, filepath.Join("c", name+".c"))
}

func (b builder) run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// servers builds what the named servers need and returns them. A C server that
// cannot be built is skipped with a reason, for a machine may lack a compiler;
// any other failure is an error.
func (b builder) servers(ctx context.Context, names []string, kcmbench string) ([]server, []skip, error) {
	var servers []server
	var skipped []skip
	peer := ""
	for _, name := range names {
		s := server{name: name}
		switch {
		case slices.Contains(bases, name):
			s.argv = []string{kcmbench, "serve", "-listen", "127.0.0.1:0",
				"-backend", strings.TrimPrefix(name, "kcm-"), "-loops", "1", "-spin", "0",
				"-pin=true", "-max-message", "16MiB"}
		case strings.HasPrefix(name, "c-"):
			bin, err := b.c(ctx, strings.TrimPrefix(name, "c-"))
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			if err != nil {
				skipped = append(skipped, skip{name, err.Error()})
				continue
			}
			s.argv = []string{bin, "-listen", "127.0.0.1:0"}
		default:
			if peer == "" {
				var err error
				if peer, err = b.peer(ctx); err != nil {
					return nil, nil, err
				}
			}
			s.argv = []string{peer, "-engine", name, "-listen", "127.0.0.1:0", "-procs", "1"}
		}
		servers = append(servers, s)
	}
	return servers, skipped, nil
}
