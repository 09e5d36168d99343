package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// generatorSlack is what the generator may take beyond warm-up and duration:
// start, connections, the last replies.
const generatorSlack = 20 * time.Second

// Server is one contestant: it prints "listening ADDR" once it accepts, and
// ends at SIGTERM with exit code 0.
type Server struct {
	Name string
	Argv []string
	Env  []string // added to the environment
	Idle int      // connections to hold beside those of the generator
}

// Skip is a server that did not take part, and why.
type Skip struct {
	Server string `json:"server"`
	Reason string `json:"reason"`
}

// Failure is one run that gave no sample.
type Failure struct {
	Config string `json:"config"` // the load
	Round  int    `json:"round"`
	Server string `json:"server"`
	Error  string `json:"error"`
}

// Rig runs servers. Its methods are for one goroutine.
type Rig struct {
	Options            // with CPUs and paths found
	Build    Builder   // of servers
	Progress io.Writer // one line per round

	starter *Starter
}

// Open picks CPUs, looks for the module and builds the generator. Close frees
// what it took.
func Open(ctx context.Context, o Options, progress io.Writer) (_ *Rig, err error) {
	r := &Rig{Options: o, Progress: progress}
	if err := r.pickCPUs(); err != nil {
		return nil, err
	}
	if r.Root == "" {
		if r.Root, err = FindRoot(); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return nil, err
	}
	r.Build = Builder{Root: r.Root, Dir: dir}
	r.starter = NewStarter()
	if r.Kcmbench == "" {
		if r.Kcmbench, err = r.Build.Kcmbench(ctx); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// Close ends what was started and removes what was built.
func (r *Rig) Close() error {
	r.starter.Close()
	return os.RemoveAll(r.Build.Dir)
}

// Check starts every server once and returns those that listen. The rest is
// skipped, such as io_uring servers where the kernel refuses io_uring. A server
// that listens and then does not end as it should is an error.
func (r *Rig) Check(ctx context.Context, servers []Server) (able []Server, skipped []Skip, err error) {
	for _, s := range servers {
		c, err := r.start(s)
		if err != nil {
			skipped = append(skipped, Skip{s.Name, err.Error()})
			continue
		}
		_, err = c.Listening(ctx)
		ended := c.Stop()
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err != nil:
			skipped = append(skipped, Skip{s.Name, err.Error()})
		case ended != nil:
			return nil, nil, fmt.Errorf("%s: %w", s.Name, ended)
		default:
			able = append(able, s)
		}
	}
	return able, skipped, nil
}

// Rounds calls once for every server in each of the Pairs rounds of a load. The
// order of a round is that of the round before rotated by one, so that drift of
// the machine meets all servers alike. What once returns is a Failure and the
// rest goes on, but for a context that has ended.
func (r *Rig) Rounds(ctx context.Context, load string, servers []Server, once func(round int, s Server) error) ([]Failure, error) {
	var failures []Failure
	for round := range r.Pairs {
		fmt.Fprintf(r.Progress, "%s: round %d of %d\n", load, round+1, r.Pairs)
		for i := range servers {
			s := servers[(i+round)%len(servers)]
			err := once(round, s)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				fmt.Fprintf(r.Progress, "%s: round %d: %s: %v\n", load, round+1, s.Name, err)
				failures = append(failures, Failure{load, round, s.Name, err.Error()})
			}
		}
	}
	return failures, nil
}

// Times are -duration and -warmup as arguments of the generator.
func (o *Options) Times() []string {
	return []string{"-duration", o.Duration.String(), "-warmup", o.Warmup.String()}
}

// Run is what one run of one server gave.
type Run struct {
	Result
	CPU time.Duration // of the server, while the generator ran
}

// Messages is how many messages were exchanged while CPU time was counted.
func (r *Run) Messages() int64 { return max(r.Measured, r.Total) }

// CPUNanos is the server's CPU time per message, in nanoseconds.
func (r *Run) CPUNanos() float64 { return float64(r.CPU) / float64(r.Messages()) }

// Once runs one server in a process of its own under a load, which is given as
// arguments of kcmbench run. A server that was too slow gives a *BehindError.
func (r *Rig) Once(ctx context.Context, s Server, load ...string) (_ Run, err error) {
	srv, err := r.start(s)
	if err != nil {
		return Run{}, err
	}
	defer func() { err = errors.Join(err, srv.Stop()) }()
	addr, err := srv.Listening(ctx)
	if err != nil {
		return Run{}, err
	}
	if s.Idle > 0 {
		others, err := connect(ctx, srv.PID(), addr, s.Idle)
		if err != nil {
			return Run{}, err
		}
		defer others.close()
	}
	before, err := readCPU("/proc", srv.PID())
	if err != nil {
		return Run{}, err
	}
	var run Run
	err = r.generate(ctx, &run.Result, append([]string{"run", "-verdict=false", "-target", addr}, load...))
	if err != nil {
		return Run{}, err
	}
	after, err := readCPU("/proc", srv.PID())
	if err != nil {
		return Run{}, err
	}
	run.CPU = after.since(before)
	return run, nil
}

// Output runs a program on the server's CPU until it ends, at most limit, and returns
// what it printed, up to 1 MiB. A program that fails is an error.
func (r *Rig) Output(ctx context.Context, limit time.Duration, argv ...string) (string, error) {
	c, err := r.starter.Start(r.ServerCPU, nil, argv...)
	if err != nil {
		return "", err
	}
	if err := c.Wait(ctx, limit); err != nil {
		return "", err
	}
	return c.Stdout(), nil
}

// Ideal has kcmbench compute what a load would be to servers that cost nothing;
// args are those of kcmbench ideal.
func (r *Rig) Ideal(ctx context.Context, args ...string) (*Ideal, error) {
	var ideal Ideal
	if err := r.generate(ctx, &ideal, append([]string{"ideal"}, args...)); err != nil {
		return nil, err
	}
	return &ideal, nil
}

// generate runs kcmbench on the generator's CPU and reads its result.
func (r *Rig) generate(ctx context.Context, result checker, args []string) error {
	file := filepath.Join(r.Build.Dir, "run.json")
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	gen, err := r.starter.Start(r.GenCPU, nil, append(append([]string{r.Kcmbench}, args...), "-json", file)...)
	if err != nil {
		return err
	}
	ended := gen.Wait(ctx, lasts(args)+generatorSlack)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := readResult(file, result); err != nil {
		return fmt.Errorf("generator: %w", errors.Join(ended, err))
	}
	return ended
}

// lasts returns how long the load is to last that args ask for.
func lasts(args []string) (d time.Duration) {
	for i, a := range args[1:] {
		if args[i] == "-duration" || args[i] == "-warmup" {
			if more, err := time.ParseDuration(a); err == nil { // else the generator says so
				d += more
			}
		}
	}
	return d
}

func (r *Rig) start(s Server) (*Child, error) {
	return r.starter.Start(r.ServerCPU, s.Env, s.Argv...)
}
