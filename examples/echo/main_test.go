package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestEcho starts the server, exchanges messages on two connections at once, and
// ends it as a signal would while one connection is still open.
func TestEcho(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, "127.0.0.1:0", w)
		w.CloseWithError(err)
		ended <- err
	}()
	addr := ""
	for lines := bufio.NewScanner(r); addr == "" && lines.Scan(); {
		addr, _ = strings.CutPrefix(lines.Text(), "listening ")
		if addr == lines.Text() {
			addr = "" // a note
		}
	}
	if addr == "" {
		t.Fatalf("the server did not start: %v", <-ended)
	}

	long := append([]byte{0, 1, 0, 0}, bytes.Repeat([]byte("0123456789abcdef"), 4096)...)
	first, second := dial(t, addr), dial(t, addr)
	exchange(t, first, []byte("\x00\x00\x00\x05hello\x00\x00\x00\x00\x00\x00\x00\x01!"))
	exchange(t, second, long)
	exchange(t, first, long)

	// A peer that has finished gets its replies and then the end of the stream.
	if _, err := second.Write([]byte("\x00\x00\x00\x03bye")); err != nil {
		t.Fatal(err)
	}
	if err := second.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(second); err != nil || string(rest) != "\x00\x00\x00\x03bye" {
		t.Fatalf("last reply: %q, %v", rest, err)
	}

	cancel()
	if rest, err := io.ReadAll(first); err != nil || len(rest) > 0 {
		t.Errorf("at the end: %q, %v; want the end of the stream", rest, err)
	}
	first.Close() // else the server waits for it, for a second
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the server did not end")
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("the server still accepts connections")
	}
}

// TestAddressInUse checks that a failure to listen is reported and not waited on.
func TestAddressInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	err = run(t.Context(), ln.Addr().String(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("got %v, want an error that names %s", err, ln.Addr())
	}
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// exchange sends whole messages and expects them back.
func exchange(t *testing.T, c net.Conn, sent []byte) {
	t.Helper()
	if _, err := c.Write(sent); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes came back changed", len(sent))
	}
}
