package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/kcm-go/kcm/bench"
)

const aboutRun = `kcmbench run sends messages, checks every reply to the last byte, and prints rate and
latency. Without -target it starts an echo server in its own process.

  kcmbench run -depth 16                                  the highest rate: closed loop
  kcmbench run -rate 20000 -arrival poisson               latency at a rate: open loop
  kcmbench run -target 10.0.0.2:7000 -rate 20000 -json out.json -hdr out.hlog
  kcmbench run -rate 5000 -service bimodal:10us,2ms,1% -workers 4 -order=false

What the words mean:
  closed loop  each connection keeps -depth messages in flight, and sends the next when a
               reply has come: a server that stops delays few messages, and hides it
  open loop    with -rate or -replay: messages are due at times fixed beforehand, whatever
               the server does, and latency counts from those
  p99          99 of 100 messages took as long or less
  from send    latency from when a message was sent, not from when it was due
  lateness     from when it was due to when it was sent
  warm-up      messages sent before the measured time; checked, but in no figure
  verdict      whether the figures are those of the server: not if the generator was late by
               its own fault, or its threads had no time left

Exit status 1 means that the run failed, a message was lost, changed or duplicated, or
the generator and not the server was the limit (-verdict=false: the report alone says
so): its threads had no time left, or sent too many messages later than -max-lateness.
130 means that it was interrupted; what was measured until then is reported.

With -service each message says how long the server is to work on it, in the first 5
bytes of its payload: microseconds, 4 bytes big endian, then 0 to spin or 1 to sleep.
The server in this process does so; another one must know (kcmbench serve -work
message).

-series, -hdr and the series of the JSON have the measured time in intervals: the replies
that came in each, warm-up left out. Their files are whole at any moment, also if the run
is interrupted. kcmbench report makes pages of the JSON, kcmbench merge sums up several.

-record writes a line for each measured message that was answered, after a line of
names: intended_ns,service_ns,class,conn,latency_ns. kcmbench ideal -trace reads it.

The keys of the JSON that -json writes:
  schema (1), messages, messages_total (with warm-up), seconds, messages_per_second,
  mb_per_second, errors, lost, unsent, corrupt, duplicate, broken, failure,
  latency_us {p50, p90, p99, p99_9, p99_99, max, mean}, and in an open loop
  latency_actual_us (from sending) and lateness_us, out_of_range, classes with -service
  [{name, service_us, share, messages, latency_us, size}], conns, depth, size, rate, arrival,
  seed, warmup_seconds, service, service_mode, order, frame, target, env {...}, server
  {backend, loops, cpus, cpu_ns_per_message, ...}, policy and workers when embedded,
  generator {...}, allocs_per_message, kinds, profile, replay, batch, think, churn,
  idle, generator_spin_us, reconnects, connect_us, verdict {valid, reasons}, series [{unix_ms, from_seconds,
  to_seconds, messages, messages_per_second, latency_us, latency_actual_us, lateness_us, in_flight,
  errors}], histograms {latency, actual, lateness, class:NAME: {count, over, max_ns,
  sum_ns, v2}}, began_unix_ms, clock {synchronised, max_error_us, estimated_error_us},
  parts of what merge added up. docs/kcmbench-schema.json is their JSON Schema.

Flags:`

func runRun(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c bench.Config
	var out outputs
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	complete := defineConfig(f, &c)
	defineOutputs(f, &out, &c.Interval)
	defineStart(f, &c)
	if err := parse(f, args, stdout, aboutRun); err != nil {
		return err
	}
	c.Record = out.record != ""
	if err := complete(); err != nil {
		return err
	}
	if isTerminal(stderr) {
		c.Progress = func(p bench.Progress) {
			printProgress(stderr, p)
		}
	}
	if err := out.begin(&c); err != nil {
		return err
	}
	rep, err := bench.Run(ctx, c)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errInterrupted
	}
	if rep == nil {
		_ = out.end(nil) // err says more
		return wrongOption(err)
	}
	if out.json == "-" {
		out.stdout, stdout = stdout, io.Discard
	}
	if e := rep.WriteText(stdout); err == nil {
		err = e
	}
	if e := out.end(rep); err == nil {
		err = e
	}
	return err
}

// defineConfig defines the flags that say what is measured and against what. After they
// have been parsed, complete makes c what they say and checks it.
func defineConfig(f *flag.FlagSet, c *bench.Config) (complete func() error) {
	f.StringVar(&c.Target, "target", "", "server to measure, `host:port or unix:/path`; empty: one in this process")
	defineLoad(f, &c.Workload)
	order := f.Bool("order", true, "replies of a connection must come in order; false: they may come in any")
	f.IntVar(&c.Threads, "threads", 1, "loops of the generator")
	f.DurationVar(&c.Spin, "generator-spin", 0, "longest time the generator looks for replies before it sleeps: latencies are then without its waking up")
	f.IntVar(&c.Idle, "idle", 0, "connections to make beside -conns, on which nothing is sent")
	backendFlag(f, &c.Backend)
	pinFlag(f, &c.Pin)
	frameFlag(f, &c.Frame)
	var classes []string
	classFlag(f, &classes)
	f.DurationVar(&c.Drain, "timeout", bench.DefaultDrain, "how long to wait for a connection, and in the end for missing replies")
	f.DurationVar(&c.MaxLateness, "max-lateness", bench.DefaultMaxLateness, "open loop: how late the generator may send 1 message of 100")
	verdict := f.Bool("verdict", true, "fail if the generator and not the server was the limit; false: say so in the report alone")
	defineServer(f, &c.Server, "127.0.0.1:0")
	return func() error {
		if err := finishClasses(classes, &c.Workload); err != nil {
			return err
		}
		c.Unordered = !*order
		c.AnyVerdict = !*verdict
		c.Server.Backend, c.Server.Pin, c.Server.Unordered = c.Backend, c.Pin, c.Unordered
		dispatchFlags(f, &c.Server)
		if err := checkRun(f, c); err != nil {
			return err
		}
		enoughProcs(c.Server.Loops, c.Threads, c.Server.Workers)
		return nil
	}
}

func checkRun(f *flag.FlagSet, c *bench.Config) error {
	if c.Threads < 1 {
		return &usageError{fmt.Errorf("-threads %d: want at least 1", c.Threads)}
	}
	if c.Target == "" {
		if err := checkAddress("listen", c.Server.Listen); err != nil {
			return err
		}
		return wrongOption(c.Check())
	}
	var idle error
	f.Visit(func(set *flag.Flag) {
		if idle == nil && slices.Contains(serverFlags, set.Name) {
			idle = &usageError{fmt.Errorf("-%s is for the server in this process, which -target leaves out", set.Name)}
		}
	})
	if idle != nil {
		return idle
	}
	return wrongOption(c.Check())
}

// isTerminal reports whether w is one, so that nobody's log is filled with progress.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isTTY(f.Fd())
}
