package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/strparser"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:7000", "`address` to accept connections on")
	workers := flag.Int("workers", 2, "how `many` digests are made at a time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal has its ordinary effect
	var s store
	if err := run(ctx, *addr, s.quick, *workers, s.slow, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "classify:", err)
		os.Exit(1)
	}
}

// drainTime is how long the last digests and the reading of their replies may take.
const drainTime = 5 * time.Second

// run serves addr until ctx ends, and then drains the connections. What quick returns
// Pass for is done by slow on n workers.
func run(ctx context.Context, addr string, quick mux.Handler, n int, slow mux.Work, out io.Writer) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	m, err := mux.New(mux.Options{Format: strparser.Length32, OrderedReplies: true})
	if err != nil {
		return err
	}
	defer m.Close()
	m.Handle(quick)
	workers, err := m.Workers(n, slow)
	if err != nil {
		return err
	}
	for _, note := range m.Loops()[0].Notes() {
		fmt.Fprintln(out, note) // why io_uring is not used, for one
	}
	fmt.Fprintln(out, "listening", ln.Addr())

	served := make(chan error, 1)
	go func() { served <- m.Serve(ln) }()
	select {
	case err := <-served: // the listener has failed
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err = m.Shutdown(drain)
	workers.Wait()
	if e := <-served; !errors.Is(e, mux.ErrClosed) {
		return e
	}
	return err
}
