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
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:7000", "`address` to accept connections on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal has its ordinary effect
	if err := run(ctx, *addr, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// drainTime is how long the peers may take to read their last replies.
const drainTime = 5 * time.Second

// run serves addr until ctx ends, and then drains the connections.
func run(ctx context.Context, addr string, out io.Writer) error {
	m, err := mux.New(mux.Options{Format: strparser.Length32})
	if err != nil {
		return err
	}
	defer m.Close()
	m.Handle(func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		from.Send(msg) // moves: no byte is copied
		return mux.Done
	})
	for _, note := range m.Loops()[0].Notes() {
		fmt.Fprintln(out, note) // why io_uring is not used, for one
	}

	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
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
	if e := <-served; !errors.Is(e, mux.ErrClosed) {
		return e
	}
	return err
}
