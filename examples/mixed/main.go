package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
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
		fmt.Fprintln(os.Stderr, "mixed:", err)
		os.Exit(1)
	}
}

// format is messages with a 4-byte length, unless they begin as a request of HTTP does.
type format struct{ strparser.Length }

func (f format) Parse(v *strparser.View) (int, error) {
	if h := v.Head(); len(h) > 0 && h[0] >= 'A' && h[0] <= 'Z' {
		return 0, strparser.ErrDecline
	}
	return f.Length.Parse(v)
}

// handed is a net.Listener of connections that others have accepted.
type handed struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h *handed) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (h *handed) Addr() net.Addr { return h.addr }

// take is Options.OnDecline.
func (h *handed) take(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.closed:
		c.Close()
	}
}

// drainTime is how long peers may take to read their last replies.
const drainTime = 5 * time.Second

// run serves addr until ctx ends, and then drains the connections.
func run(ctx context.Context, addr string, out io.Writer) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	defer ln.Close()
	web := &handed{addr: ln.Addr(), conns: make(chan net.Conn), closed: make(chan struct{})}
	m, err := mux.New(mux.Options{Format: format{strparser.Length32}, OnDecline: web.take})
	if err != nil {
		return err
	}
	defer m.Close()
	m.Handle(func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		from.Send(msg) // moves: no byte is copied
		return mux.Done
	})
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%d connections of messages\n", m.Psocks())
	})}
	for _, note := range m.Loops()[0].Notes() {
		fmt.Fprintln(out, note) // why io_uring is not used, for one
	}
	fmt.Fprintln(out, "listening", ln.Addr())
	served := make(chan error, 2)
	go func() { served <- m.Serve(ln) }()
	go func() { served <- server.Serve(web) }()
	first := error(nil)
	select {
	case first = <-served: // the listener has failed
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err = errors.Join(m.Shutdown(drain), server.Shutdown(drain))
	if first == nil {
		first = <-served
	}
	for _, e := range []error{first, <-served} {
		if !errors.Is(e, mux.ErrClosed) && !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}
