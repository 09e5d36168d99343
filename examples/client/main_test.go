package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/leak"
	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

func TestMain(m *testing.M) { leak.Main(m) }

// patience is when a test that waits gives up.
const patience = 20 * time.Second

// serve starts a server with a handler, which end ends.
func serve(t *testing.T, addr string, h mux.Handler) (at string, end func()) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mux.New(mux.Options{Format: strparser.Length32, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	m.Handle(h)
	served := make(chan error, 1)
	go func() { served <- m.Serve(ln) }()
	end = func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, mux.ErrClosed) {
			t.Error(err)
		}
	}
	return ln.Addr().String(), end
}

// echo is examples/echo.
func echo(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
	from.Send(msg)
	return mux.Done
}

func numbered(n int) (lines string) {
	for i := range n {
		lines += fmt.Sprintf("line %d\n", i)
	}
	return lines
}

// The replies of two servers come in the order of the lines, and each line is asked once.
func TestRepliesAreInOrder(t *testing.T) {
	count := make([]int, 2)
	var addrs []string
	var ends []func()
	for i := range count {
		addr, end := serve(t, "127.0.0.1:0", func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			count[i]++
			return echo(from, msg)
		})
		addrs, ends = append(addrs, addr), append(ends, end)
	}
	var out, log bytes.Buffer
	lines := numbered(2000)
	err := run(t.Context(), config{servers: addrs, conns: 4, callers: 16, timeout: patience}, strings.NewReader(lines), &out, &log)
	for _, end := range ends {
		end()
	}
	if err != nil {
		t.Error(err)
	}
	if out.String() != lines {
		t.Errorf("the output has %d bytes, want %d, in order", out.Len(), len(lines))
	}
	if !strings.Contains(log.String(), "2000 lines, 0 without a reply") || strings.Count(log.String(), ": up for") == 0 {
		t.Errorf("the end: %q", log.String())
	}
	if count[0]+count[1] != 2000 {
		t.Errorf("the servers got %d requests", count)
	}
}

// A server is killed and comes back in the middle: no line is lost.
func TestServerIsKilledInTheMiddle(t *testing.T) {
	addr, end := serve(t, "127.0.0.1:0", echo)
	in, feed := io.Pipe()
	out, print := io.Pipe()
	var log bytes.Buffer
	ended := make(chan error, 1)
	go func() {
		err := run(t.Context(), config{servers: []string{addr}, conns: 2, callers: 8, timeout: patience}, in, print, &log)
		print.Close()
		ended <- err
	}()
	got := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(out)
		got <- string(b)
	}()
	lines := numbered(300)
	at := len(lines) / 2
	if _, err := io.WriteString(feed, lines[:at]); err != nil {
		t.Fatal(err)
	}
	end()
	_, end = serve(t, addr, echo)
	if _, err := io.WriteString(feed, lines[at:]); err != nil {
		t.Fatal(err)
	}
	feed.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("%v; %s", err, &log)
		}
	case <-time.After(patience):
		t.Fatal("the client did not end")
	}
	if s := <-got; s != lines {
		t.Errorf("the output has %d bytes, want %d, in order", len(s), len(lines))
	}
	end()
}

// A line without a reply has an error in its place: the time is over, or the connection.
func TestLinesWithoutAReply(t *testing.T) {
	hangUp := func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		if strings.Contains(string(msg.AppendTo(nil)), "die") {
			return mux.End
		}
		if !strings.Contains(string(msg.AppendTo(nil)), "wait") {
			from.Send(msg)
		}
		return mux.Done
	}
	addr, end := serve(t, "127.0.0.1:0", hangUp)
	defer end()
	for line, want := range map[string]string{
		"wait": "error: " + context.DeadlineExceeded.Error() + "\n",
		"die":  "error: mux: call: psock 0 ended with the reply outstanding: EOF\n",
		"live": "live\n",
	} {
		var out, log bytes.Buffer
		c := config{servers: []string{addr}, conns: 1, callers: 1, timeout: 500 * time.Millisecond, once: true}
		err := run(t.Context(), c, strings.NewReader(line), &out, &log)
		if out.String() != want || (err == nil) != (line == "live") {
			t.Errorf("%s: %q, %v; want %q", line, out.String(), err, want)
		}
	}
}

// What keeps the client from starting is said.
func TestCannotStart(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	for name, x := range map[string]struct {
		config
		want error
	}{
		"nobody listens": {config{servers: []string{ln.Addr().String()}, conns: 1, callers: 1, timeout: 50 * time.Millisecond}, syscall.ECONNREFUSED},
		"no connections": {config{servers: []string{"127.0.0.1:1"}, conns: -1, callers: 1, timeout: patience}, syscall.EINVAL},
	} {
		if err := run(t.Context(), x.config, strings.NewReader(""), io.Discard, io.Discard); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
}
