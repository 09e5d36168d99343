package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/strparser"
)

type config struct {
	addr, root string
	workers    int
	delay      time.Duration // DelayTarget; 0: none is too long
}

func main() {
	var c config
	flag.StringVar(&c.addr, "listen", "127.0.0.1:7000", "`address` to accept connections on")
	flag.StringVar(&c.root, "root", ".", "`directory` below which files may be named")
	flag.IntVar(&c.workers, "workers", 8, "how `many` files are read at a time")
	flag.DurationVar(&c.delay, "delay", 0, "the `time` requests may wait before the server counts as overloaded; 0 for any")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal has its ordinary effect
	if err := run(ctx, c, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "workers:", err)
		os.Exit(1)
	}
}

const (
	drainTime = 5 * time.Second // for the last files to be read, and the last replies
	maxName   = 4096            // PATH_MAX of Linux
)

// run serves c.addr until ctx ends, and then drains the connections.
func run(ctx context.Context, c config, out io.Writer) error {
	root, err := os.OpenRoot(c.root)
	if err != nil {
		return err
	}
	defer root.Close()
	ln, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	opt := mux.Options{
		Format:      strparser.Length32,
		MaxMessage:  strparser.Length32.HeaderLen() + maxName,
		DelayTarget: c.delay,
	}
	if c.delay != 0 {
		opt.OnReject = func(r *mux.Received) mux.Verdict { return reply(r, []byte("overloaded")) }
	}
	m, err := mux.New(opt)
	if err != nil {
		return err
	}
	defer m.Close()
	workers, err := m.Workers(c.workers, func(r *mux.Received) mux.Verdict {
		r.Msg.TrimFront(strparser.Length32.HeaderLen())
		text, err := sum(root, string(r.Msg.AppendTo(nil)))
		if err != nil {
			text = "error: " + err.Error()
		}
		return reply(r, []byte(text))
	})
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
	if e := <-served; !errors.Is(e, mux.ErrClosed) {
		return e
	}
	if err == nil { // else some may be reading for ever
		workers.Wait()
	}
	st := m.Stats()
	fmt.Fprintf(out, "requests %d, rejected %d, slow %d\n", st.Received, st.Rejected, st.Slow)
	fmt.Fprintf(out, "waited for a worker: mean %v, 99%% within %v, longest %v\n",
		st.Delay.Mean(), st.Delay.Quantile(0.99), st.Delay.Max)
	return err
}

// reply answers with a text. A peer that cannot be answered would wait for ever, so its
// connection ends.
func reply(r *mux.Received, text []byte) mux.Verdict {
	if err := r.ReplyPayload(text); err != nil {
		return mux.End
	}
	return mux.Done
}

// sum reads the file and returns its size and its SHA-256. The error does not repeat
// the name.
func sum(root *os.Root, name string) (string, error) {
	f, err := root.Open(name) // refuses what is outside of the root, by symbolic links too
	if err != nil {
		return "", cause(err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return "", cause(err)
	}
	return fmt.Sprintf("%d %x", n, h.Sum(nil)), nil
}

// cause returns what is wrong with a file without its path.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
