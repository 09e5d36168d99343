package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/kcm-go/kcm/affinity"
	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/ring"
)

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// wrongOption makes a usage error of one that names an option, and leaves others.
func wrongOption(err error) error {
	var o *bench.OptionError
	if errors.As(err, &o) {
		return &usageError{fmt.Errorf("-%w", o)}
	}
	return err
}

// parse parses args, none of which may be left over. For -h it prints what the
// flags are to stdout and returns flag.ErrHelp.
func parse(f *flag.FlagSet, args []string, stdout io.Writer, about string) error {
	err := parseFirst(f, args, stdout, about)
	if err == nil && f.NArg() > 0 {
		err = &usageError{fmt.Errorf("unexpected argument %q", f.Arg(0))}
	}
	return err
}

// parseFirst is parse for commands that take arguments after the flags.
func parseFirst(f *flag.FlagSet, args []string, stdout io.Writer, about string) error {
	if c, ok := stdout.(*catcher); ok {
		c.flags = f
		return flag.ErrHelp
	}
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(stdout, "%s\n", about)
		f.SetOutput(stdout)
		f.PrintDefaults()
		return err
	case err != nil:
		return &usageError{err}
	}
	return nil
}

// text is a flag.Value made of a parser and a printer.
type text[T any] struct {
	v     *T
	parse func(string) (T, error)
	print func(T) string
}

func (t text[T]) Set(s string) error {
	v, err := t.parse(s)
	if err == nil {
		*t.v = v
	}
	return err
}

func (t text[T]) String() string {
	if t.v == nil {
		return "" // the flag package's own zero value
	}
	return t.print(*t.v)
}

// backendFlag defines -backend.
func backendFlag(f *flag.FlagSet, b *ring.Backend) {
	f.Var(text[ring.Backend]{b, ring.ParseBackend, ring.Backend.String}, "backend",
		"`auto, uring or epoll`; auto takes io_uring where it works")
}

// pinFlag defines -pin.
func pinFlag(f *flag.FlagSet, pin *bool) {
	top, err := affinity.Discover()
	f.BoolVar(pin, "pin", err == nil && top.Allowed.Count() >= 2,
		"pin each loop to a core of its own; KCM_AFFINITY=off overrides it")
}

// frameFlag defines -frame.
func frameFlag(f *flag.FlagSet, frame *bench.Frame) {
	f.Var(text[bench.Frame]{frame, bench.ParseFrame, bench.Frame.String}, "frame",
		"framing of messages, `lenBITS[le][,inclusive][,offset=N]`: a length field of so many bits, big endian unless le, that counts the header too if inclusive, behind N zero bytes, then the payload")
}

// classFlag defines -class, which may be given several times. What a class does not say
// is that of -size and -service, wherever on the command line they are; so its values are
// read by finishClasses.
func classFlag(f *flag.FlagSet, list *[]string) {
	f.Func("class", "a kind of messages, `\"NAME PERCENT% [size=SIZES] [service=TIMES]\"`, several times; together they are all messages", func(s string) error {
		_, err := bench.ParseKind(s, bench.Kind{})
		*list = append(*list, s)
		return err
	})
}

// finishClasses reads the values of classFlag.
func finishClasses(list []string, w *bench.Workload) error {
	for _, s := range list {
		k, err := bench.ParseKind(s, bench.Kind{Size: w.Size, Service: w.Service})
		if err != nil {
			return &usageError{fmt.Errorf("-class %s: %w", s, err)}
		}
		w.Kinds = append(w.Kinds, k)
	}
	return nil
}

// replayFlag defines -replay.
func replayFlag(f *flag.FlagSet, v **bench.Values) {
	f.Func("replay", "open loop: send at the times in `file`, a line each, in nanoseconds from the start (-record writes such a file), in place of -rate", func(s string) (err error) {
		*v, err = bench.ReadReplay(s)
		return err
	})
}

// serverFlags are those of serve that run has too, for its embedded server; the
// rest (-backend, -pin, -frame) mean more there.
var serverFlags = []string{"listen", "loops", "policy", "workers", "pin-workers", "spin", "features", "max-message"}

// defineServer defines serverFlags.
func defineServer(f *flag.FlagSet, o *bench.ServerOptions, listen string) {
	f.StringVar(&o.Listen, "listen", listen, "where to listen: `host:port or unix:/path`")
	f.IntVar(&o.Loops, "loops", 0, "loops of the server; 0: one per physical core, leaving some for others")
	f.Var(text[bench.Dispatch]{&o.Dispatch, bench.ParseDispatch, bench.Dispatch.String}, "policy",
		"who handles messages: `inline, idle or fifo`: the connection's loop, the first worker that is idle, or workers by turns as the kernel has it; idle when there are -workers")
	f.IntVar(&o.Workers, "workers", 0, "number of workers")
	f.BoolVar(&o.PinWorkers, "pin-workers", false, "pin each worker to a CPU of its own, behind the loops")
	f.DurationVar(&o.Spin, "spin", 0, "longest time a loop of the server looks for work before it sleeps")
	f.StringVar(&o.Features, "features", "", "features of the server's loops to switch, a `list` such as no-sqarray=off,huge-pages=off: to measure what they give")
	o.MaxMessage = bench.DefaultMaxMessage
	f.Var(text[int]{&o.MaxMessage, bench.ParseBytes, printBytes}, "max-message", "largest payload the server takes, in `bytes`, KiB or MiB")
}

// dispatchFlags completes what the flags say about dispatching: workers alone mean
// the policy idle.
func dispatchFlags(f *flag.FlagSet, o *bench.ServerOptions) {
	policy := false
	f.Visit(func(set *flag.Flag) { policy = policy || set.Name == "policy" })
	if !policy && o.Workers > 0 {
		o.Dispatch = bench.Idle
	}
}

// printBytes writes a number of bytes the short way.
func printBytes(n int) string {
	switch {
	case n > 0 && n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	case n > 0 && n%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprint(n)
}

// checkAddress returns a usage error for an address of a flag that is none.
func checkAddress(name, address string) error {
	if _, _, err := bench.SplitAddress(address); err != nil {
		return &usageError{fmt.Errorf("-%s %s: %w", name, address, err)}
	}
	return nil
}

// defineLoad defines the flags of a workload.
func defineLoad(f *flag.FlagSet, w *bench.Workload) {
	defineArrivals(f, w)
	f.IntVar(&w.Depth, "depth", 1, "messages in flight on each connection, closed loop")
	w.Size = bench.Sizes{Min: 64, Max: 64}
	f.Var(text[bench.Sizes]{&w.Size, bench.ParseSizes, bench.Sizes.String}, "size",
		"payload of a message: `bytes`, KiB or MiB, a range MIN-MAX, exp:MEAN[,MIN-MAX], lognormal:MEDIAN,SIGMA[,MIN-MAX], bimodal:SIZE,SIZE,PERCENT% (that share has the second, larger size) or file:NAME, a size on each line")
	f.Var(text[bench.Service]{&w.Think, bench.ParseService, bench.Service.String}, "think",
		"closed loop: how long to wait after a reply before the next message, `TIME` or another form of -service")
	f.Var(text[bench.Churn]{&w.Churn, bench.ParseChurn, bench.Churn.String}, "churn",
		"end each connection after so many messages, or with the first after so long, and make it anew: a `number or TIME`; 0: never")
	f.Var(text[bench.Mode]{&w.Mode, bench.ParseMode, bench.Mode.String}, "service-mode",
		"how the server passes the service time: `spin, sleep or auto`, which sleeps from 100us on")
}

// defineArrivals defines the flags that say when messages come and how much work they
// are.
func defineArrivals(f *flag.FlagSet, w *bench.Workload) {
	f.IntVar(&w.Conns, "conns", 64, "connections")
	f.Float64Var(&w.Rate, "rate", 0, "messages per second over all connections, open loop; 0: closed loop")
	f.Var(text[bench.Arrival]{&w.Arrival, bench.ParseArrival, bench.Arrival.String}, "arrival", "distances of messages in an open loop: `fixed or poisson`")
	f.Var(text[bench.Profile]{&w.Profile, bench.ParseProfile, bench.Profile.String}, "profile",
		"open loop: how the rate changes: `steady`; bursty:ON,OFF, nothing for OFF and more for ON, with -rate as the mean; ramp:RATE, from that to -rate in the measured time; step:RATE,TIME, -rate from that time of it on")
	f.IntVar(&w.Batch, "batch", 1, "messages of a connection that are sent together, in one write")
	replayFlag(f, &w.Replay)
	f.Var(text[bench.Service]{&w.Service, bench.ParseService, bench.Service.String}, "service",
		"work of each message: `TIME`, TIME-TIME (uniform), bimodal:TIME,TIME,PERCENT% (that share takes the second, longer time), exp:TIME (the mean), lognormal:TIME,SIGMA (the median) or file:NAME, a time on each line; 0: none")
	f.DurationVar(&w.Duration, "duration", 5*time.Second, "how long to measure")
	f.DurationVar(&w.Warmup, "warmup", time.Second, "how long to send before that")
	f.Uint64Var(&w.Seed, "seed", 1, "of sizes, service times and Poisson arrivals")
}
