package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/kcm-go/kcm/bench/peers/echo"
	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

const (
	base = "kcm-idle" // whose ratios to all others are reported
	fifo = "kcm-fifo"
)

// serverNames lists the servers that have workers, in the order of the tables.
func serverNames() []string {
	return slices.Concat([]string{base, fifo}, echo.Dispatchers())
}

// GOMAXPROCS of servers on one CPU unless -procs says otherwise. A loop of kcm keeps a P
// while it sleeps, so its workers need another. The others are better off with one.
const (
	kcmProcs  = 2
	peerProcs = 1
)

// build makes the named servers with workers that do what messages ask for.
// procs is their GOMAXPROCS, 0 for what is best for each.
func build(ctx context.Context, r *rig.Rig, names []string, procs int) ([]rig.Server, error) {
	var servers []rig.Server
	for _, name := range names {
		s := rig.Server{Name: name, Env: goMaxProcs(cmp.Or(procs, peerProcs))}
		if policy, ok := strings.CutPrefix(name, "kcm-"); ok {
			s.Env = goMaxProcs(cmp.Or(procs, kcmProcs))
			s.Argv = kcm(r, "-workers", strconv.Itoa(workers), "-policy", policy, "-order=false", "-work", "message")
		} else {
			var err error
			if s.Argv, err = peer(ctx, r, name, workers, "-work", "message"); err != nil {
				return nil, err
			}
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func goMaxProcs(n int) []string { return []string{"GOMAXPROCS=" + strconv.Itoa(n)} }

// kcm is the command line of a kcm server.
func kcm(r *rig.Rig, args ...string) []string {
	return append([]string{r.Kcmbench, "serve", "-listen", "127.0.0.1:0", "-loops", "1", "-spin", "0"}, args...)
}

// peer is the command line of an engine of package echo.
func peer(ctx context.Context, r *rig.Rig, engine string, workers int, args ...string) ([]string, error) {
	path, err := r.Build.Peer(ctx)
	if err != nil {
		return nil, err
	}
	return append([]string{path, "-engine", engine, "-listen", "127.0.0.1:0", "-workers", strconv.Itoa(workers)}, args...), nil
}
