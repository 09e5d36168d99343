package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// generatorSlack is what the generator may take beyond warm-up and duration:
// start, connections, the last replies.
const generatorSlack = 20 * time.Second

// sample is what one run of one server gave.
type sample struct {
	Server      string  `json:"server"`
	Round       int     `json:"round"`
	CPUNanos    float64 `json:"cpu_ns_per_message"`
	PerSecond   float64 `json:"messages_per_second"`
	Messages    int64   `json:"messages"`    // exchanged while CPU time was counted
	CPUDuration int64   `json:"cpu_time_ns"` // of the server in that time
}

// skip is a server that did not take part, and why.
type skip struct {
	Server string `json:"server"`
	Reason string `json:"reason"`
}

// failure is one run that gave no sample.
type failure struct {
	Config string `json:"config"`
	Round  int    `json:"round"`
	Server string `json:"server"`
	Error  string `json:"error"`
}

// runner runs servers against the generator.
type runner struct {
	starter   *starter
	generator string // path of kcmbench
	serverCPU int
	genCPU    int
	duration  time.Duration
	warmup    time.Duration
	dir       string    // for files of the generator
	progress  io.Writer // one line per round
}

// check starts every server once and returns those that listen. The rest is
// skipped, such as io_uring servers where the kernel refuses io_uring. A server
// that listens and then does not end as it should is an error.
func (r *runner) check(ctx context.Context, servers []server) (able []server, skipped []skip, err error) {
	for _, s := range servers {
		c, err := r.startServer(s)
		if err != nil {
			skipped = append(skipped, skip{s.name, err.Error()})
			continue
		}
		_, err = c.listening(ctx)
		ended := c.stop()
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err != nil:
			skipped = append(skipped, skip{s.name, err.Error()})
		case ended != nil:
			return nil, nil, fmt.Errorf("%s: %w", s.name, ended)
		default:
			able = append(able, s)
		}
	}
	return able, skipped, nil
}

// rounds runs every server pairs times under load cfg. The order of round i is
// that of round i-1 rotated by one.
func (r *runner) rounds(ctx context.Context, cfg config, servers []server, pairs int) ([]sample, []failure, error) {
	var samples []sample
	var failures []failure
	for round := range pairs {
		fmt.Fprintf(r.progress, "%s: round %d of %d\n", cfg, round+1, pairs)
		for i := range servers {
			s := servers[(i+round)%len(servers)]
			one, err := r.once(ctx, cfg, s)
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
			if err != nil {
				fmt.Fprintf(r.progress, "%s: round %d: %s: %v\n", cfg, round+1, s.name, err)
				failures = append(failures, failure{cfg.String(), round, s.name, err.Error()})
				continue
			}
			one.Server, one.Round = s.name, round
			samples = append(samples, one)
		}
	}
	return samples, failures, nil
}

// once measures one server in a process of its own.
func (r *runner) once(ctx context.Context, cfg config, s server) (_ sample, err error) {
	srv, err := r.startServer(s)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, srv.stop()) }()
	addr, err := srv.listening(ctx)
	if err != nil {
		return sample{}, err
	}

	file := filepath.Join(r.dir, "run.json")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return sample{}, err
	}
	pid := srv.cmd.Process.Pid
	before, err := readCPU("/proc", pid)
	if err != nil {
		return sample{}, err
	}
	gen, err := r.starter.start(r.genCPU, nil, r.generator, "run",
		"-target", addr, "-conns", strconv.Itoa(cfg.Conns), "-depth", strconv.Itoa(cfg.Depth),
		"-size", strconv.Itoa(cfg.Size), "-duration", r.duration.String(), "-warmup", r.warmup.String(),
		"-json", file)
	if err != nil {
		return sample{}, err
	}
	if err := gen.wait(ctx, r.warmup+r.duration+generatorSlack); err != nil {
		return sample{}, err
	}
	after, err := readCPU("/proc", pid)
	if err != nil {
		return sample{}, err
	}
	rate, messages, err := readResult(file)
	if err != nil {
		return sample{}, fmt.Errorf("generator: %w", err)
	}
	cpu := after.since(before)
	return sample{
		CPUNanos:    float64(cpu) / float64(messages),
		PerSecond:   rate,
		Messages:    messages,
		CPUDuration: int64(cpu),
	}, nil
}

func (r *runner) startServer(s server) (*child, error) {
	return r.starter.start(r.serverCPU, []string{"GOMAXPROCS=1"}, s.argv...)
}

// readResult reads what the generator measured: messages per second in the
// measured time, and all messages it exchanged.
func readResult(file string) (rate float64, messages int64, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, err
	}
	var res struct {
		PerSecond float64 `json:"messages_per_second"`
		Messages  int64   `json:"messages"`
		Total     int64   `json:"messages_total"` // with warm-up
		Errors    int64   `json:"errors"`
	}
	if err := json.Unmarshal(b, &res); err != nil {
		return 0, 0, fmt.Errorf("%s: %w", file, err)
	}
	switch {
	case res.Errors != 0:
		return 0, 0, fmt.Errorf("%d errors", res.Errors)
	case res.Messages <= 0 || res.PerSecond <= 0:
		return 0, 0, fmt.Errorf("no messages (%d, %v per second)", res.Messages, res.PerSecond)
	}
	return res.PerSecond, max(res.Messages, res.Total), nil
}
