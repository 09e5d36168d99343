package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kcm-go/kcm/bench/peers/echo"
	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

// The servers whose ratios to all others are reported, unless a section has others.
var bases = []string{"kcm-uring", "kcm-epoll"}

// serverNames lists every server there is, in the order of the tables.
func serverNames() []string {
	return slices.Concat(bases, echo.Engines(), []string{"c-epoll", "c-uring"})
}

// split takes a server's name and its variant apart.
func split(name string) (server, variant string) {
	server, variant, _ = strings.Cut(name, "+")
	return server, variant
}

// choose checks a list of servers, with variants perhaps.
func choose(list []string) error {
	have := serverNames()
	for _, name := range list {
		if server, variant := split(name); variant != "" && slices.Contains(have, server) {
			if _, ok := variants[variant]; !ok {
				return fmt.Errorf("server %s: no variant %q, have %s", name, variant, strings.Join(slices.Sorted(maps.Keys(variants)), ", "))
			}
			have = append(have, name)
		}
	}
	return rig.Choose("server", list, have)
}

// build makes what the named servers need and returns them. A C server that
// cannot be built is skipped with a reason, for a machine may lack a compiler;
// any other failure is an error.
func build(ctx context.Context, b *rig.Builder, names []string, kcmbench string) ([]rig.Server, []rig.Skip, error) {
	var servers []rig.Server
	var skipped []rig.Skip
	for _, name := range names {
		full := name
		name, variant := split(name)
		v := variants[variant]
		s := rig.Server{Name: full, Idle: v.idle}
		procs := cmp.Or(v.procs, "1")
		s.Env = []string{"GOMAXPROCS=" + procs}
		switch {
		case slices.Contains(bases, name):
			s.Argv = []string{kcmbench, "serve", "-listen", "127.0.0.1:0",
				"-backend", strings.TrimPrefix(name, "kcm-"), "-loops", "1", "-spin", "0",
				"-pin=true", "-max-message", "16MiB"}
			s.Argv = append(s.Argv, v.kcm...)
		case strings.HasPrefix(name, "c-"):
			bin, err := b.C(ctx, strings.TrimPrefix(name, "c-"))
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			if err != nil {
				skipped = append(skipped, rig.Skip{Server: full, Reason: err.Error()})
				continue
			}
			s.Argv = []string{bin, "-listen", "127.0.0.1:0"}
		default:
			peer, err := b.Peer(ctx)
			if err != nil {
				return nil, nil, err
			}
			s.Argv = []string{peer, "-engine", name, "-listen", "127.0.0.1:0", "-procs", procs}
			s.Argv = append(s.Argv, v.peer...)
		}
		servers = append(servers, s)
	}
	return servers, skipped, nil
}
