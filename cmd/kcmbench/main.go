package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `kcmbench measures kcm, and any other echo server that speaks length-prefixed messages.

	kcmbench run [flags]     send, check and time messages; the default
	kcmbench serve [flags]   run the echo server alone
	kcmbench slo [flags]     look for the highest rate that meets a target of latency
	kcmbench sweep [flags]   do a run for each value of a flag
	kcmbench compare A B     say whether two sides differ, from many runs of each
	kcmbench ideal [flags]   simulate the queue of a load, without other costs
	kcmbench report FILE...  make a page of results
	kcmbench merge FILE...   add up the results of several generators
	kcmbench probe [-json]   say what this machine offers
	kcmbench completion SH   print a script for bash, zsh or fish that completes all this

The first things to try, with a server in the same process:

	kcmbench                                        # the highest rate
	kcmbench -rate 20000 -arrival poisson           # latency at a rate
	kcmbench slo -p99 500us -arrival poisson        # the rate at a latency
	kcmbench sweep -over rate=5000,10000,20000,40000,80000
	kcmbench compare -pairs 10 -a "-backend uring" -b "-backend epoll"

Run "kcmbench COMMAND -h" for the flags of a command, and what its words mean.
`

// command runs one of the commands until it is done or ctx ends.
type command func(ctx context.Context, args []string, stdout, stderr io.Writer) error

// commands returns them by name.
func commands() map[string]command {
	return map[string]command{"run": runRun, "serve": runServe, "slo": runSLO, "sweep": runSweep, "compare": runCompare,
		"ideal": runIdeal, "probe": runProbe, "report": runReport, "merge": runMerge, "completion": runCompletion}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		// A second signal ends the process at once, but not one that comes with the
		// first: a shell sends to the process and to its group.
		time.Sleep(time.Second)
		stop()
	}()
	os.Exit(dispatch(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// dispatch returns the exit status.
func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	name := "run"
	if len(args) > 0 {
		switch {
		case args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help":
			fmt.Fprint(stdout, usage)
			return 0
		case !strings.HasPrefix(args[0], "-"):
			name, args = args[0], args[1:]
		}
	}
	run, ok := commands()[name]
	if !ok {
		fmt.Fprintf(stderr, "kcmbench: no command %q: want %s\n", name, strings.Join(slices.Sorted(maps.Keys(commands())), ", "))
		return 2
	}
	err := run(ctx, args, stdout, stderr)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	text, _, _ := strings.Cut(err.Error(), "\n") // a panic's stack would follow
	fmt.Fprintf(stderr, "kcmbench %s: %s\n", name, text)
	if errors.Is(err, errInterrupted) {
		return 128 + int(syscall.SIGINT) // as a shell has it
	}
	var wrong *usageError
	if errors.As(err, &wrong) {
		return 2
	}
	return 1
}
