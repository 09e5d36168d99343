package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/kcm-go/kcm/ring"
)

func main() {
	addr := flag.String("listen", "127.0.0.1:7000", "`address` to receive datagrams at")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal has its ordinary effect
	if err := run(ctx, *addr, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "udpecho:", err)
		os.Exit(1)
	}
}

// echo sends datagrams back. Its methods are called on the loop's thread.
type echo struct {
	refused uint64 // the queue was full, as it is when the socket has long been
	cause   error  // what ended the endpoint
	closed  chan struct{}
}

func (e *echo) Datagrams(p *ring.Packet, d []ring.Datagram) {
	for i := range d {
		if d[i].Truncated {
			continue // half a datagram is none
		}
		back := d[i].Back()
		if p.Send(&d[i].Msg, &back) != nil {
			e.refused++ // the message is still lent, and released behind this call
		}
	}
}

func (e *echo) PacketError(*ring.Packet, *ring.PacketError) {} // the peer has gone: counted
func (e *echo) Sendable(*ring.Packet)                       {}
func (e *echo) Closed(_ *ring.Packet, cause error) {
	e.cause = cause
	close(e.closed)
}

// run serves addr until ctx ends, and then sends what is queued.
func run(ctx context.Context, addr string, out io.Writer) error {
	// Buffers of this size hold what the system has joined; see ring.PacketOptions.
	l, err := ring.New(ring.Options{Buffers: 256, BufferSize: 128 << 10, RegionBytes: -1})
	if err != nil {
		return err
	}
	if err := l.Start(); err != nil {
		return err
	}
	defer l.Close()

	e := &echo{closed: make(chan struct{})}
	var p *ring.Packet
	var perr error
	if err := l.Do(func() {
		if p, perr = l.ListenPacket("udp", addr, e, ring.PacketOptions{}); perr != nil {
			return
		}
		for _, note := range append(l.Notes(), p.Notes()...) {
			fmt.Fprintln(out, note) // why io_uring is not used, for one
		}
		fmt.Fprintln(out, "listening", p.LocalAddr())
	}); err != nil {
		return err
	}
	if perr != nil {
		return perr
	}
	select {
	case <-e.closed: // the socket has failed
	case <-ctx.Done():
		l.Post(func() { p.Drain(nil) })
		<-e.closed
	}
	err = l.Do(func() {
		st := p.Stats()
		fmt.Fprintf(out, "%d datagrams received and %d sent; %d did not fit the queue, %d were lost by the system\n",
			st.In, st.Out, e.refused, st.Lost)
	})
	return errors.Join(e.cause, err)
}
