package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/kcm-go/kcm/bench"
)

const aboutServe = `kcmbench serve answers every message with itself. It prints "listening ADDR" once it
accepts. SIGINT and SIGTERM make it answer what has arrived, print its counters and
end with status 0.

  kcmbench serve -listen 127.0.0.1:7000
  kcmbench serve -listen unix:/tmp/kcm.sock -work message -workers 4 -order=false
  kcmbench serve -backend epoll -loops 1 -service 50us

What the words mean:
  loop      a thread that waits for its connections, reads, and answers
  policy    who handles a message: its loop (inline), the first worker that is idle, or
            workers by turns as the kernel has it (fifo)
  spin      a loop looks for work for so long before it sleeps

With -workers it gives itself one P (GOMAXPROCS) more than it has loops, at least, for a
loop keeps its own while it sleeps; the environment variable GOMAXPROCS overrides that.

Flags:`

// drainTime is how long a server that was told to end waits for slow peers.
const drainTime = 5 * time.Second

// enoughProcs raises GOMAXPROCS, unless the environment sets it, so that there is a P
// for workers while every loop, of the server and of the generator, keeps one.
func enoughProcs(server, generator, workers int) {
	loops := max(server, 1) + generator
	if workers > 0 && os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) <= loops {
		runtime.GOMAXPROCS(loops + 1)
	}
}

func runServe(ctx context.Context, args []string, stdout, _ io.Writer) error {
	var o bench.ServerOptions
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	defineServer(f, &o, "127.0.0.1:7000")
	f.Var(text[bench.Work]{&o.Work, bench.ParseWork, bench.Work.String}, "work",
		"what to do before an answer: `fixed or message`; fixed is work for -service, message what the message's first 5 payload bytes say (microseconds, 4 bytes big endian; 0 to spin, 1 to sleep)")
	f.DurationVar(&o.Service, "service", 0, "time to work on each message before it is answered")
	order := f.Bool("order", true, "workers handle each connection's messages one by one; false: at the same time, and answer in any order")
	garbage := 0
	f.Var(text[int]{&garbage, bench.ParseBytes, printBytes}, "garbage", "beside serving, allocate `bytes`, KiB or MiB per second, as the rest of a program would, with 64 MiB in use")
	backendFlag(f, &o.Backend)
	pinFlag(f, &o.Pin)
	frameFlag(f, &o.Frame)
	if err := parse(f, args, stdout, aboutServe); err != nil {
		return err
	}
	if err := checkAddress("listen", o.Listen); err != nil {
		return err
	}
	o.Unordered = !*order
	dispatchFlags(f, &o)
	enoughProcs(o.Loops, 0, o.Workers)
	s, err := bench.NewServer(o)
	if err != nil {
		return wrongOption(err)
	}
	if garbage > 0 {
		defer bench.StartGarbage(garbage).Stop()
	}
	p := s.Placement()
	fmt.Fprintf(stdout, "listening %s\n%s\n", s.Addr(), p)
	for _, n := range p.Notes {
		fmt.Fprintf(stdout, "note: %s\n", n)
	}
	select {
	case <-ctx.Done():
	case err := <-s.Done():
		return fmt.Errorf("%s: %w", s.Addr(), err)
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err = s.Shutdown(drain)
	c := s.Counters()
	each := func(n uint64) string {
		if c.Messages == 0 {
			return "-"
		}
		return fmt.Sprintf("%.4f", float64(n)/float64(c.Messages))
	}
	fmt.Fprintf(stdout, "connections %d\nmessages %d\nbytes %d\nturns %d (%s per message)\nenters %d (system calls of the loops, %s per message)\nallocations %s per message\n",
		c.Conns, c.Messages, c.Bytes, c.Turns, each(c.Turns), c.Syscalls, each(c.Syscalls), each(c.Mallocs))
	if err != nil {
		return fmt.Errorf("%s: drain: %w", s.Addr(), err)
	}
	return nil
}
