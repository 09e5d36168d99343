package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

type config struct {
	servers []string
	conns   int           // connections, spread over the servers
	callers int           // requests at a time
	timeout time.Duration // of a request, and for the first connection
	once    bool          // no request is sent twice
}

func main() {
	var c config
	servers := flag.String("servers", "127.0.0.1:7000", "`addresses` of equal servers, with commas between them")
	flag.IntVar(&c.conns, "conns", 4, "how `many` connections to keep up")
	flag.IntVar(&c.callers, "callers", 64, "how `many` requests may be out at a time")
	flag.DurationVar(&c.timeout, "timeout", 5*time.Second, "the `time` a reply may take")
	flag.BoolVar(&c.once, "once", false, "send no request twice, though its connection died")
	flag.Parse()
	c.servers = strings.Split(*servers, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal has its ordinary effect
	if err := run(ctx, c, os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// The number is behind the length, in requests and replies.
const headBytes = 4 + 4

var number = strparser.IDField{Offset: 4, Width: 4}

// request is one line and what becomes of it.
type request struct {
	line  string
	reply string
	err   error
	done  chan struct{}
}

// run answers lines from in to out until there are no more or ctx ends, and then tells log
// about it.
func run(ctx context.Context, c config, in io.Reader, out, log io.Writer) error {
	m, err := mux.New(mux.Options{Format: strparser.Length32})
	if err != nil {
		return err
	}
	defer m.Close()
	client, err := m.Client(mux.ClientOptions{IDs: strparser.IDs{Request: number, Reply: number}})
	if err != nil {
		return err
	}
	pool, err := m.Pool(mux.PoolOptions{Addresses: c.servers, Conns: c.conns})
	if err != nil {
		return err
	}
	first, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := pool.Wait(first, 1); err != nil {
		return err // with the reason why there is no connection
	}

	work, order := make(chan *request), make(chan *request, c.callers)
	for range c.callers {
		go func() {
			var call mux.Call
			for r := range work {
				r.reply, r.err = ask(ctx, m, client, &call, r.line, c)
				close(r.done)
			}
		}()
	}
	read := make(chan error, 1)
	go func() {
		defer close(order)
		defer close(work)
		read <- readLines(ctx, in, work, order)
	}()

	w := bufio.NewWriter(out)
	lines, failed := 0, 0
	for r := range order {
		<-r.done
		lines++
		text := r.reply
		if r.err != nil {
			failed++
			text = "error: " + r.err.Error()
		}
		fmt.Fprintln(w, text) // Flush has the error
		if len(order) == 0 {
			w.Flush()
		}
	}
	err = w.Flush()
	for _, h := range pool.Health() {
		fmt.Fprintf(log, "%s: %v for %v", h.Address, h.State, h.For.Round(time.Millisecond))
		if h.Cause != nil {
			fmt.Fprintf(log, ", the last failure: %v", h.Cause)
		}
		fmt.Fprintln(log)
	}
	fmt.Fprintf(log, "%d lines, %d without a reply\n", lines, failed)
	if e := <-read; err == nil {
		err = e
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d lines had no reply", failed, lines)
	}
	return err
}

// readLines gives each line to a caller, and notes their order. A caller is free, or becomes
// so, as long as order has room.
func readLines(ctx context.Context, in io.Reader, work, order chan<- *request) error {
	lines := bufio.NewScanner(in)
	for ctx.Err() == nil && lines.Scan() {
		r := &request{line: lines.Text(), done: make(chan struct{})}
		order <- r
		work <- r
	}
	return lines.Err()
}

// ask makes one call.
func ask(ctx context.Context, m *mux.Mux, client *mux.Client, call *mux.Call, line string, c config) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	call.Resend = !c.once
	defer call.Request.Reset() // if it was not sent
	if err := frame(&call.Request, m.Loops()[0], line); err != nil {
		return "", err
	}
	if err := client.Do(ctx, call); err != nil {
		return "", err
	}
	defer call.Reply.Release()
	call.Reply.TrimFront(headBytes)
	return string(call.Reply.AppendTo(nil)), nil
}

// frame makes a message of the line, with room for its number.
func frame(msg *sgmsg.Message, al sgmsg.Allocator, line string) error {
	msg.Reset()
	var head [headBytes]byte
	binary.BigEndian.PutUint32(head[:], uint32(headBytes-4+len(line)))
	if err := msg.AppendCopy(al, head[:], headBytes+len(line)); err != nil {
		return err
	}
	return msg.AppendCopy(al, []byte(line), 0)
}
