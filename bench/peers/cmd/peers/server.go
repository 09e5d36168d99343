package main

import (
	"context"
	"slices"
	"strings"

	"github.com/kcm-go/kcm/bench/peers/echo"
	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// The servers whose ratios to all others are reported.
var bases = []string{"kcm-uring", "kcm-epoll"}

// serverNames lists every server there is, in the order of the tables.
func serverNames() []string {
	return slices.Concat(bases, echo.Engines(), []string{"c-epoll", "c-uring"})
}

// build makes what the named servers need and returns them. A C server that
// cannot be built is skipped with a reason, for a machine may lack a compiler;
// any other failure is an error.
func build(ctx context.Context, b *rig.Builder, names []string, kcmbench string) ([]rig.Server, []rig.Skip, error) {
	var servers []rig.Server
	var skipped []rig.Skip
	for _, name := range names {
		s := rig.Server{Name: name, Env: []string{"GOMAXPROCS=1"}}
		switch {
		case slices.Contains(bases, name):
			s.Argv = []string{kcmbench, "serve", "-listen", "127.0.0.1:0",
				"-backend", strings.TrimPrefix(name, "kcm-"), "-loops", "1", "-spin", "0",
				"-pin=true", "-max-message", "16MiB"}
		case strings.HasPrefix(name, "c-"):
			bin, err := b.C(ctx, strings.TrimPrefix(name, "c-"))
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			if err != nil {
				skipped = append(skipped, rig.Skip{Server: name, Reason: err.Error()})
				continue
			}
			s.Argv = []string{bin, "-listen", "127.0.0.1:0"}
		default:
			peer, err := b.Peer(ctx)
			if err != nil {
				return nil, nil, err
			}
			s.Argv = []string{peer, "-engine", name, "-listen", "127.0.0.1:0", "-procs", "1"}
		}
		servers = append(servers, s)
	}
	return servers, skipped, nil
}
