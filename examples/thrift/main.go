package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

type config struct {
	listen, connect string // "": both sides are here
	workers         int
	clients         int
}

func main() {
	var c config
	flag.StringVar(&c.listen, "listen", "", "`address` to serve on, and not call")
	flag.StringVar(&c.connect, "connect", "", "`address` to call, and not serve")
	flag.IntVar(&c.workers, "workers", 2, "how `many` workers answer")
	flag.IntVar(&c.clients, "clients", 4, "how `many` clients call")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal has its ordinary effect
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "thrift:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, calls, or does both until the calls are answered.
func run(ctx context.Context, c config, out io.Writer) error {
	if c.workers < 1 {
		return fmt.Errorf("%d workers: %w", c.workers, syscall.EINVAL)
	}
	if c.connect != "" {
		return call(ctx, c.connect, c.clients, out)
	}
	addr := c.listen
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	fmt.Fprintln(out, "listening", ln.Addr())
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	called := make(chan error, 1)
	called <- nil
	if c.listen == "" {
		<-called
		go func() {
			called <- call(ctx, ln.Addr().String(), c.clients, out)
			stop()
		}()
	}
	answered, err := serve(ctx, ln, c.workers)
	ln.Close() // should it not have served at all
	if e := <-called; err == nil {
		err = e
	}
	for i, n := range answered {
		fmt.Fprintf(out, "worker %d answered %d calls\n", i, n)
	}
	return err
}

// call has n clients at a time call sum three times each, and prints what they get.
func call(ctx context.Context, addr string, n int, out io.Writer) error {
	lines, errs := make([]string, n), make([]error, n)
	var clients sync.WaitGroup
	for i := range n {
		clients.Go(func() { lines[i], errs[i] = callThrice(ctx, addr, i) })
	}
	clients.Wait()
	for i, line := range lines {
		fmt.Fprint(out, line)
		if errs[i] != nil {
			return fmt.Errorf("client %d: %w", i, errs[i])
		}
	}
	return nil
}

func callThrice(ctx context.Context, addr string, i int) (lines string, err error) {
	c, err := dial(addr)
	if err != nil {
		return "", err
	}
	defer c.close()
	numbers := []int64{int64(i)}
	for range 3 {
		numbers = append(numbers, int64(10*len(numbers)))
		s, err := c.sum(ctx, numbers)
		if err != nil {
			return lines, err
		}
		lines += fmt.Sprintf("client %d: the sum of %v is %d\n", i, numbers, s)
	}
	return lines, nil
}
