package bench

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// echoes accepts connections until the test ends, and answers what comes with itself. It
// tells when each got its first byte.
func echoes(t *testing.T) (addr string, first <-chan time.Time, conns <-chan net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	times, made := make(chan time.Time, 16), make(chan net.Conn, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			made <- c
			go func() {
				defer c.Close()
				b := make([]byte, 4096)
				for k := 0; ; k++ {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if k == 0 {
						times <- time.Now()
					}
					if _, err := c.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String(), times, made
}

// agreed is a run that starts at a time.
func agreed(target string, in time.Duration) Config {
	c := short(target)
	c.Conns, c.Rate = 1, 1000
	c.StartAt, c.MaxClockError = time.Now().Add(in), -1
	return c
}

func TestRunStartsAtTheTimeAgreed(t *testing.T) {
	addr, first, _ := echoes(t)
	c := agreed(addr, 200*time.Millisecond)
	c.Warmup = 30 * time.Millisecond
	rep, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if at := <-first; at.Before(c.StartAt) {
		t.Errorf("the first message came %v before the time agreed", c.StartAt.Sub(at))
	}
	if want := c.StartAt.Add(c.Warmup).UnixMilli(); rep.BeganUnixMillis != want {
		t.Errorf("measuring began at %d, want %d", rep.BeganUnixMillis, want)
	}
}

func TestRunThatCannotStart(t *testing.T) {
	addr, _, conns := echoes(t)
	_, err := Run(t.Context(), agreed(addr, -time.Second))
	if err == nil || !strings.HasPrefix(err.Error(), "start at an agreed time: that was 1") {
		t.Errorf("in the past: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-conns
		cancel()
	}()
	rep, err := Run(ctx, agreed(addr, time.Hour))
	if !errors.Is(err, context.Canceled) || rep != nil {
		t.Errorf("interrupted: %v", err)
	}

	go func() { (<-conns).Close() }()
	rep, err = Run(t.Context(), agreed(addr, time.Hour))
	if err == nil || rep != nil || !strings.Contains(err.Error(), "before the start: ") {
		t.Errorf("a connection that ended: %v", err)
	}
}

func TestClockFault(t *testing.T) {
	const bound = 100 * time.Millisecond
	for _, c := range []struct {
		clock *Clock
		want  string
	}{
		{nil, "does not say how right its clock is"},
		{&Clock{MaxError: 1}, "not synchronised"},
		{&Clock{Synchronised: true, MaxError: 100_001}, "may be off by 100.001ms, allowed are 100ms"},
		{&Clock{Synchronised: true, MaxError: 100_000}, ""},
	} {
		err := clockFault(c.clock, bound)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.clock, err, c.want)
		}
	}
	// What this machine's is, a run says the same.
	c := agreed("127.0.0.1:1", time.Hour)
	c.MaxClockError = time.Nanosecond
	if _, err := Run(t.Context(), c); err == nil || !strings.HasPrefix(err.Error(), "start at an agreed time: ") {
		t.Errorf("%v", err)
	}
}
