//go:build linux

package mux_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// quick is a pool that comes back soon.
func quick(conns int, addrs ...string) mux.PoolOptions {
	return mux.PoolOptions{Addresses: addrs, Conns: conns, RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond}
}

func newPool(t *testing.T, m *mux.Mux, o mux.PoolOptions) *mux.Pool {
	t.Helper()
	c, err := m.Pool(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// stand waits until n connections of the pool do.
func stand(t *testing.T, c *mux.Pool, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Wait(ctx, n); err != nil {
		t.Fatalf("%v; %+v", err, c.Health())
	}
}

// serveAt is a server that can be ended, on a port of the caller's choice.
func serveAt(t *testing.T, addr string, o mux.Options, h mux.Handler) (m *mux.Mux, at string, end func()) {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if o.Format == nil {
		o.Format = strparser.Length32
	}
	if m, err = mux.New(o); err != nil {
		t.Fatal(err)
	}
	m.Handle(h)
	served := make(chan error, 1)
	go func() { served <- m.Serve(ln) }()
	return m, ln.Addr().String(), func() {
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-served; err != mux.ErrClosed {
			t.Errorf("Serve returned %v, want ErrClosed", err)
		}
	}
}

// A server is ended and started again on its port: all connections stand again.
func TestPoolOutlivesAServer(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		o := mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}
		_, addr, end := serveAt(t, "127.0.0.1:0", o, echo)
		m := newMux(t, mux.Options{Loops: 2, Ring: ring.Options{Backend: b}}, echo)
		c := newPool(t, m, quick(4, addr))
		for range 5 {
			stand(t, c, 4)
			end()
			until(t, "the client has seen it", func() bool {
				m.Stats()
				for _, h := range c.Health() {
					if h.State == mux.ConnUp {
						return false
					}
				}
				return true
			})
			for i, h := range c.Health() {
				if h.Cause == nil || h.Psock != nil || h.Failures < 1 || h.Address != addr {
					t.Errorf("connection %d: %+v", i, h)
				}
			}
			_, _, end = serveAt(t, addr, o, echo)
		}
		stand(t, c, 4)
		end()
	})
}

// Names are resolved, over IP of either version or one, and unix sockets are found.
func TestPoolResolvesNames(t *testing.T) {
	_, addr := server(t, mux.Options{Loops: 1}, echo)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/s"
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	local := newMux(t, mux.Options{Loops: 1}, echo)
	go local.Serve(ln)
	m := newMux(t, mux.Options{Loops: 1}, echo)
	for _, o := range []mux.PoolOptions{
		{Network: "tcp4", Addresses: []string{"localhost:" + port}},
		{Network: "tcp4", Addresses: []string{addr}},
		{Addresses: []string{"localhost:" + port, addr}, Conns: 2, RetryMin: time.Millisecond},
		{Network: "unix", Addresses: []string{path}},
	} {
		c := newPool(t, m, o)
		stand(t, c, len(o.Addresses))
		for i, h := range c.Health() {
			if h.Address != o.Addresses[i] || h.Psock.RemoteAddr() == nil {
				t.Errorf("%+v: %+v", o, h)
			}
		}
		c.Close()
	}
}

// What cannot be resolved is a failure like others, and Wait tells of it.
func TestPoolTellsWhyNothingStands(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	m := newMux(t, mux.Options{Loops: 1}, echo)
	for _, x := range []struct {
		network, address, want string
	}{
		{"tcp", "localhost:no-such-service", "no-such-service"},
		{"tcp", "no port", "missing port"},
		{"tcp6", "127.0.0.1:1", "127.0.0.1"},
		{"unix", t.TempDir() + "/none", "no such file"},
		{"tcp", gone.Addr().String(), "refused"},
	} {
		o := quick(1, x.address)
		o.Network = x.network
		c := newPool(t, m, o)
		until(t, "an attempt fails", func() bool { m.Stats(); return c.Health()[0].Cause != nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		err := c.Wait(ctx, 1)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s %s: %v, want the context's error and %q", x.network, x.address, err, x.want)
		}
		if h := c.Health()[0]; h.Failures == 0 || !strings.Contains(h.Cause.Error(), x.want) {
			t.Errorf("%s %s: %+v", x.network, x.address, h)
		}
		c.Close()
	}
}

// Close while the kernel is connecting: the connection ends and is told to nobody.
func TestPoolClosesWhileDialling(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		addr := fullListener(t)
		m := newMux(t, mux.Options{
			Loops: 1, Ring: ring.Options{Backend: b},
			OnOpen:  func(*mux.Psock) { t.Error("OnOpen for a connection that never stood") },
			OnClose: func(*mux.Psock, error) { t.Error("OnClose for a connection that never stood") },
		}, echo)
		c := newPool(t, m, quick(2, addr))
		until(t, "the dials are under way", func() bool { return m.Stats().Psocks == 2 })
		waited := make(chan error, 1)
		go func() { waited <- c.Wait(context.Background(), 1) }()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := within(t, "Wait", waited); !errors.Is(err, mux.ErrClosed) {
			t.Errorf("Wait: %v, want ErrClosed", err)
		}
		until(t, "nothing is left", func() bool { return m.Stats().Psocks == 0 })

		o := quick(1, addr)
		o.DialTimeout = 10 * time.Millisecond
		c = newPool(t, m, o)
		until(t, "the attempt is given up", func() bool { m.Stats(); return errors.Is(c.Health()[0].Cause, syscall.ETIMEDOUT) })
	})
}

// What was given to a connection before Close of its pool is sent, and the peer sees an
// orderly end.
func TestPoolDrainsItsConnections(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		type end struct {
			err      error
			messages int
		}
		ends := make(chan end, 1)
		messages := 0 // on the server's loop
		_, addr := server(t, mux.Options{
			Loops: 1, Ring: ring.Options{Backend: b},
			OnClose: func(_ *mux.Psock, err error) { ends <- end{err, messages} },
		}, func(*mux.Psock, *sgmsg.Message) mux.Verdict { messages++; return mux.Done })
		m := newMux(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, echo)
		c := newPool(t, m, quick(1, addr))
		stand(t, c, 1)
		p := c.Health()[0].Psock
		for range 100 {
			if err := p.SendPayload(make([]byte, 10<<10)); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		if e := within(t, "the server's end", ends); e.err != nil || e.messages != 100 {
			t.Errorf("the server got %d messages and %v", e.messages, e.err)
		}
		until(t, "nothing is left", func() bool { return m.Stats().Psocks == 0 })
	})
}

// A loop that ends takes its connections with it for good, and who waits is told.
func TestPoolOnALoopThatEnds(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		_, addr := server(t, mux.Options{Loops: 1}, echo)
		var loops []*ring.Loop
		for range 2 {
			l, err := ring.New(ring.Options{Backend: b})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			loops = append(loops, l)
		}
		m, err := mux.New(mux.Options{Format: strparser.Length32, On: loops})
		if err != nil {
			t.Fatal(err)
		}
		c := newPool(t, m, quick(4, addr))
		stand(t, c, 4)
		loops[1].Close()
		if err := c.Wait(t.Context(), 4); !errors.Is(err, mux.ErrClosed) {
			t.Errorf("Wait for all: %v, want ErrClosed", err)
		}
		stand(t, c, 2)
		for i, h := range c.Health() {
			if (h.State == mux.ConnEnded) != (i%2 == 1) || h.State == mux.ConnEnded && !errors.Is(h.Cause, mux.ErrClosed) {
				t.Errorf("connection %d: %+v", i, h)
			}
		}
		loops[0].Close()
		if err := c.Wait(t.Context(), 1); !errors.Is(err, mux.ErrClosed) {
			t.Errorf("Wait for one: %v, want ErrClosed", err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestPoolOptionsThatCannotWorkAreRefused(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1}, echo)
	one := []string{"127.0.0.1:1"}
	for _, o := range []mux.PoolOptions{
		{}, {Addresses: one, Network: "udp"}, {Addresses: one, Conns: -1}, {Addresses: one, DialTimeout: -1},
		{Addresses: one, RetryMin: -1}, {Addresses: one, RetryMin: time.Second, RetryMax: time.Millisecond},
	} {
		if _, err := m.Pool(o); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v, want EINVAL", o, err)
		}
	}
	c := newPool(t, m, quick(1, one...))
	if err := c.Wait(t.Context(), 2); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Wait for more than there are: %v, want EINVAL", err)
	}
	if err := m.Loops()[0].Do(func() {
		if err := c.Wait(context.Background(), 1); !errors.Is(err, mux.ErrDeadlock) {
			t.Errorf("Wait on a loop: %v, want EDEADLK", err)
		}
	}); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Pool(quick(1, one...)); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("of a closed Mux: %v, want ErrClosed", err)
	}
}

// The end of a Mux is that of its pools: also of connections that wait for their next
// attempt, which no loop has anything of.
func TestPoolEndsWithItsMuxWhileItWaits(t *testing.T) {
	for name, end := range map[string]func(m *mux.Mux) error{
		"close":    (*mux.Mux).Close,
		"shutdown": func(m *mux.Mux) error { return m.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMux(t, mux.Options{Loops: 2}, echo)
			o := quick(2, "127.0.0.1:1")
			o.RetryMin, o.RetryMax = time.Hour, time.Hour
			c := newPool(t, m, o)
			until(t, "both wait", func() bool {
				h := c.Health()
				return h[0].Failures == 1 && h[1].Failures == 1
			})
			if err := end(m); err != nil {
				t.Error(err)
			}
			for i, h := range c.Health() {
				if h.State != mux.ConnEnded || !errors.Is(h.Cause, syscall.ECONNREFUSED) {
					t.Errorf("connection %d: %+v", i, h)
				}
			}
			if t.Failed() {
				return // Wait would not return
			}
			if err := c.Wait(context.Background(), 1); !errors.Is(err, mux.ErrClosed) {
				t.Errorf("Wait: %v, want ErrClosed", err)
			}
		})
	}
}
