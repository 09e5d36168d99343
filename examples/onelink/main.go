package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
)

type config struct {
	connect string // "": the other side is here
	workers int
	jobs    int // of the other side here
}

func main() {
	var c config
	flag.StringVar(&c.connect, "connect", "", "`address` to get jobs from; without it they are made here")
	flag.IntVar(&c.workers, "workers", 4, "how `many` workers share the connection")
	flag.IntVar(&c.jobs, "jobs", 12, "how `many` jobs are made")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal has its ordinary effect
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "onelink:", err)
		os.Exit(1)
	}
}

// run has the workers do jobs until the other side closes the connection, or ctx ends.
func run(ctx context.Context, c config, out io.Writer) error {
	if c.workers < 1 {
		return fmt.Errorf("%d workers: %w", c.workers, syscall.EINVAL)
	}
	if c.connect != "" {
		return report(ctx, c, out)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.connect = ln.Addr().String()
	dealt := make(chan error, 1)
	go func() { dealt <- dealOnce(ln, numbers(c.jobs), out) }()
	err = report(ctx, c, out)
	ln.Close()
	if e := <-dealt; err == nil && ctx.Err() == nil { // else it was to stop
		err = e
	}
	return err
}

// report has the workers work, and prints what each did.
func report(ctx context.Context, c config, out io.Writer) error {
	done, err := work(ctx, c.connect, c.workers, factorise)
	for i, n := range done {
		fmt.Fprintf(out, "worker %d did %d jobs\n", i, n)
	}
	return err
}

// dealOnce deals jobs to the first who connects, and prints the results.
func dealOnce(ln net.Listener, jobs [][]byte, out io.Writer) error {
	c, err := ln.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintln(out, "one connection:", c.RemoteAddr(), "->", c.LocalAddr())
	return deal(c, jobs, func(result []byte) { fmt.Fprintf(out, "%s\n", result) })
}
