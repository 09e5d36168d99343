//go:build linux

package mux_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// state returns the lines of WriteState, blanks made one.
func state(t *testing.T, m *mux.Mux) (lines []string) {
	t.Helper()
	var b strings.Builder
	if err := m.WriteState(&b); err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(b.String()) {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	return lines
}

// line returns the one line that begins with the words.
func line(t *testing.T, lines []string, words string) (found string) {
	t.Helper()
	n := 0
	for _, l := range lines {
		if strings.HasPrefix(l, words) {
			found = l
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d lines begin with %q in\n%s", n, words, strings.Join(lines, "\n"))
	}
	return found
}

// absorb is a Work function that a test can find by its name.
func absorb(entered chan<- struct{}, leave <-chan struct{}) {
	entered <- struct{}{}
	<-leave
}

// A worker that does not come back: what waits behind it, whose message it has, and where
// in the program it is.
func TestWriteStateOfAStuckWorker(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		entered, leave := make(chan struct{}, 3), make(chan struct{})
		m, addr := server(t, mux.Options{Name: "shop", Loops: 1, Ring: ring.Options{Backend: b}}, nil)
		w, err := m.Workers(2, func(*mux.Received) mux.Verdict { absorb(entered, leave); return mux.Done })
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		defer close(leave)
		c := dial(t, addr)
		for range 3 {
			if _, err := c.Write(frame([]byte("take long"))); err != nil {
				t.Fatal(err)
			}
		}
		within(t, "a message", entered)
		until(t, "the others have come", func() bool { return m.Stats().RxMessages == 3 })
		x := state(t, m)
		if got, want := line(t, x, "mux "), `mux "shop": running, policy idle, 1 connections, 1 listeners, 2 workers`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got := line(t, x, "waiting for readers"); !strings.HasSuffix(got, "readers: 2, at work: 1") {
			t.Errorf("%s", got)
		}
		got := line(t, x, "0 open ")
		if want := fmt.Sprintf(" shop/0 3 0 0 0 0 %v; 3 messages passed and not handled, of which behind others ", c.LocalAddr()); !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
		var workers int
		for _, l := range x {
			if strings.HasPrefix(l, `goroutine {"kcm_mux":"shop", "kcm_worker":`) {
				workers++
			}
		}
		if workers != 2 || !strings.Contains(strings.Join(x, "\n"), "mux_test.absorb+") {
			t.Errorf("%d workers, want 2, one of which is in absorb:\n%s", workers, strings.Join(x, "\n"))
		}
		if got := line(t, x, `loop "shop/0": `); !strings.Contains(got, m.Loops()[0].Backend()+", turn ") {
			t.Errorf("%s", got)
		}
		line(t, x, "listener ")
	})
}

// endless is a Handler that a test can find by its name.
func endless(entered chan<- struct{}, leave <-chan struct{}) mux.Verdict {
	entered <- struct{}{}
	<-leave
	return mux.Done
}

// A loop that does not come back is known by its stack; the others are asked all the same.
func TestWriteStateOfAStuckLoop(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	m := newMux(t, mux.Options{Name: "shop", Loops: 2}, func(*mux.Psock, *sgmsg.Message) mux.Verdict {
		return endless(entered, leave)
	})
	stuck, c := attach(t, m)
	other, _ := attach(t, m)
	if stuck.Loop() == other.Loop() {
		t.Fatal("both connections are on one loop")
	}
	if _, err := c.Write(frame([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	within(t, "the handler", entered)
	begun := time.Now()
	x := state(t, m)
	if d := time.Since(begun); d > 15*time.Second {
		t.Errorf("it took %v", d)
	}
	name := stuck.Loop().Options().Name
	line(t, x, fmt.Sprintf("loop %q: %s, does not answer for 1s", name, stuck.Loop().Backend()))
	line(t, x, "github.com/kcm-go/kcm/mux_test.endless+")
	if got, want := line(t, x, "of loop"), fmt.Sprintf("of loop %q, which does not answer, 1 connections", name); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	line(t, x, fmt.Sprintf("loop %q: %s, turn ", other.Loop().Options().Name, other.Loop().Backend()))
	line(t, x, fmt.Sprintf("%d open ", other.Index()))
	close(leave)
	until(t, "it answers", func() bool { return m.Stats().RxMessages == 1 })
	x = state(t, m)
	line(t, x, "0 open ")
	line(t, x, "1 open ")
}

// Sockets that send, connections that are reserved or made to wait, pools that fail.
func TestWriteStateOfSendersAndPools(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1, MaxMessage: 8 << 20}, nil)
	s := openSocket(t, m)
	c, srv := loopback(t)
	small(t, c)
	attachConn(t, m, srv)
	sendBytes(t, s, frame(make([]byte, 8<<20-4)), 0) // blocks on the way
	waits := openSocket(t, m)
	sendBytes(t, waits, frame(nil), 0)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	p, err := m.Pool(mux.PoolOptions{Addresses: []string{ln.Addr().String()}, Conns: 1, RetryMin: time.Hour, RetryMax: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the attempt has failed", func() bool { return p.Health()[0].Failures == 1 })
	until(t, "it is on the way", func() bool { return m.Snapshot().Psocks[0].TxBytes > 0 })
	x := state(t, m)
	for _, want := range []string{
		"sent by sockets and not accepted: 2 messages; connections for them: 1, free: 0; sockets that wait for one: 1",
		"0 dgram 0 0 0 1 " + fmt.Sprint(8<<20+256) + "; sends on connection 0",
		"1 dgram 0 0 0 1 " + fmt.Sprint(4+256) + "; waits for a connection",
	} {
		if got := line(t, x, want); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := line(t, x, "0 open "); !strings.HasSuffix(got, "; reserved by socket 0") {
		t.Errorf("%s", got)
	}
	if got := line(t, x, "pool 0: "+ln.Addr().String()+" waiting for "); !strings.Contains(got, "; failed 1 times: ") || !strings.Contains(got, "connection refused") {
		t.Errorf("%s", got)
	}
}

// From many goroutines while connections come and go, and until after the end.
func TestWriteStateWhileMuchHappens(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, addr := server(t, mux.Options{Name: "shop", Loops: 2, Ring: ring.Options{Backend: b}}, nil)
		w, err := m.Workers(2, func(r *mux.Received) mux.Verdict { r.Reply(r.Msg); return mux.Done })
		if err != nil {
			t.Fatal(err)
		}
		var clients, watchers sync.WaitGroup
		ctx, stop := context.WithCancel(context.Background())
		for range 2 {
			watchers.Go(func() {
				for ctx.Err() == nil {
					line(t, state(t, m), `mux "shop": running`)
				}
			})
		}
		for i := range 4 {
			clients.Go(func() {
				for range 10 {
					c, err := net.Dial("tcp", addr)
					if err == nil {
						err = errors.Join(pipeline(c, uint64(i), 5, 2, 1<<10), c.Close())
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		clients.Wait()
		stop()
		watchers.Wait()
		w.Close()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		var x []string
		until(t, "Serve has returned", func() bool {
			x = state(t, m)
			return strings.Contains(x[0], ", 0 listeners, ")
		})
		line(t, x, `mux "shop": closed, policy idle, 0 connections, 0 `)
		if got := line(t, x, `loop "shop/1": `); !strings.HasSuffix(got, ", ended") {
			t.Errorf("%s", got)
		}
	})
}

// A handler may write the state of its own Mux.
func TestWriteStateInAHandler(t *testing.T) {
	got := make(chan []string, 1)
	m := newMux(t, mux.Options{Name: "shop", Loops: 2}, func(p *mux.Psock, _ *sgmsg.Message) mux.Verdict {
		got <- state(t, p.Mux())
		return mux.Done
	})
	_, c := attach(t, m)
	if _, err := c.Write(frame([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	x := within(t, "the state", got)
	line(t, x, "0 open ")
	for i, l := range m.Loops() {
		line(t, x, fmt.Sprintf("loop \"shop/%d\": %s, turn ", i, l.Backend()))
	}
}
