package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestEcho starts the server, exchanges datagrams with it from two sockets, and ends it as a
// signal would.
func TestEcho(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, "127.0.0.1:0", w)
		w.CloseWithError(err)
		ended <- err
	}()
	lines := bufio.NewScanner(r)
	addr := ""
	for addr == "" && lines.Scan() {
		addr, _ = strings.CutPrefix(lines.Text(), "listening ")
		if addr == lines.Text() {
			addr = "" // a note
		}
	}
	if addr == "" {
		t.Fatal(<-ended)
	}
	const count = 50
	var c [2]net.Conn
	for i := range c {
		var err error
		if c[i], err = net.Dial("udp", addr); err != nil {
			t.Fatal(err)
		}
		defer c[i].Close()
		c[i].SetDeadline(time.Now().Add(10 * time.Second))
	}
	for i := range count {
		for j := range c {
			fmt.Fprintf(c[j], "datagram %d of %d", i, j)
		}
	}
	b := make([]byte, 100)
	for i := range count {
		for j := range c {
			n, err := c[j].Read(b)
			if want := fmt.Sprintf("datagram %d of %d", i, j); err != nil || string(b[:n]) != want {
				t.Fatalf("%q, %v, want %q", b[:n], err, want)
			}
		}
	}
	cancel()
	if !lines.Scan() {
		t.Fatal("nothing is said at the end")
	}
	if want := fmt.Sprintf("%d datagrams received and %d sent; 0 did not fit the queue, 0 were lost by the system", 2*count, 2*count); lines.Text() != want {
		t.Errorf("%q, want %q", lines.Text(), want)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestNoAddress: what cannot be listened on is an error.
func TestNoAddress(t *testing.T) {
	if err := run(t.Context(), "127.0.0.1:no", io.Discard); err == nil {
		t.Error("no error")
	}
}
