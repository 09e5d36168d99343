package main

import (
	"context"

	"github.com/kcm-go/kcm/bench/peers/internal/rig"
	"github.com/kcm-go/kcm/ring"
)

// baseServer is the server with every feature as the default has it.
const baseServer = "default"

const (
	cpuPerMessage = "CPU ns/message"
	p50           = "p50 us"
)

// measureLibrary adds samples of the features to rep.
func measureLibrary(ctx context.Context, r *rig.Rig, rep *report, names []string, configs []config) error {
	server := func(name string, args ...string) rig.Server {
		argv := []string{r.Kcmbench, "serve", "-listen", "127.0.0.1:0", "-backend", "uring", "-loops", "1",
			"-pin=true", "-max-message", "16MiB"}
		return rig.Server{Name: name, Env: []string{"GOMAXPROCS=1"}, Argv: append(argv, args...)}
	}
	probe := ring.Probe()
	servers := []rig.Server{server(baseServer)}
	since := make(map[string]string)
	for _, name := range names {
		var offered bool
		since[name], offered = probed(probe, name)
		if !offered {
			rep.Skipped = append(rep.Skipped, rig.Skip{Server: name, Reason: "not offered by the kernel"})
			continue
		}
		servers = append(servers, server(name, featureOf(name).args...))
	}
	servers, skipped, err := r.Check(ctx, servers)
	if err != nil {
		return err
	}
	rep.Skipped = append(rep.Skipped, skipped...)
	if len(servers) == 0 || servers[0].Name != baseServer {
		return nil // the reason is among the skipped
	}
	for _, c := range configs {
		taking := servers[:1:1]
		for _, s := range servers[1:] {
			if c.alone() || !featureOf(s.Name).single {
				taking = append(taking, s)
			}
		}
		if len(taking) == 1 {
			continue
		}
		// The figures of the base, by round, belong to every feature.
		runs := make(map[string]map[int]rig.Run)
		failures, err := r.Rounds(ctx, c.String(), taking, func(round int, s rig.Server) error {
			run, err := r.Once(ctx, s, append(c.args(), r.Times()...)...)
			if err != nil {
				return err
			}
			if runs[s.Name] == nil {
				runs[s.Name] = make(map[int]rig.Run)
			}
			runs[s.Name][round] = run
			return nil
		})
		if err != nil {
			return err
		}
		rep.Failures = append(rep.Failures, failures...)
		for _, s := range taking[1:] {
			f := featureOf(s.Name)
			for round := range r.Pairs {
				for _, way := range []struct{ server, name string }{{baseServer, f.base}, {s.Name, f.other}} {
					run, ok := runs[way.server][round]
					if !ok {
						continue
					}
					one := sample{feature: f.name, since: since[f.name], library: f.library(),
						Load: c.String(), Way: way.name, base: way.server == baseServer, Round: round}
					rep.add(one, cpuPerMessage, run.CPUNanos())
					if c.alone() {
						rep.add(one, p50, run.Latency.P50)
					}
				}
			}
		}
	}
	return nil
}
