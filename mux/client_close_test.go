//go:build linux

package mux_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// doing makes a call in a goroutine.
func doing(t *testing.T, m *mux.Mux, cl *mux.Client, ctx context.Context, token uint64) <-chan error {
	ended := make(chan error, 1)
	go func() {
		var c mux.Call
		setToken(t, m, &c.Request, token)
		err := cl.Do(ctx, &c)
		if err == nil && getToken(&c.Reply) != token {
			err = errors.New("another call's reply")
		}
		c.Reply.Reset()
		c.Request.Reset()
		ended <- err
	}()
	return ended
}

// CloseWithDrain of a client, and Shutdown of its Mux, wait for the calls that are out and
// let none begin.
func TestClientIsClosedBehindItsCalls(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		for name, end := range map[string]func(*mux.Mux, *mux.Client, context.Context) error{
			"client": func(_ *mux.Mux, cl *mux.Client, ctx context.Context) error { return cl.CloseWithDrain(ctx) },
			"Mux":    func(m *mux.Mux, _ *mux.Client, ctx context.Context) error { return m.Shutdown(ctx) },
		} {
			t.Run(name, func(t *testing.T) {
				addr, held, release := holding(t, b)
				m, cl := newClient(t, b, mux.ClientOptions{}, 1, addr)
				first, second := doing(t, m, cl, t.Context(), 1), doing(t, m, cl, t.Context(), 2)
				until(t, "the requests are there", func() bool { m.Stats(); return held() == 2 })
				ended := make(chan error, 1)
				go func() { ended <- end(m, cl, t.Context()) }()
				until(t, "no call is taken", func() bool {
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					defer cancel()
					return errors.Is(<-doing(t, m, cl, ctx, 3), mux.ErrClosed)
				})
				select {
				case err := <-ended:
					t.Fatalf("it has ended with calls out: %v", err)
				default:
				}
				release()
				for _, call := range []<-chan error{first, second} {
					if err := within(t, "the call", call); err != nil {
						t.Error(err)
					}
				}
				if err := within(t, name, ended); err != nil {
					t.Error(err)
				}
			})
			t.Run(name+" in a hurry", func(t *testing.T) {
				addr, held, _ := holding(t, b)
				m, cl := newClient(t, b, mux.ClientOptions{}, 1, addr)
				call := doing(t, m, cl, t.Context(), 1)
				until(t, "the request is there", func() bool { m.Stats(); return held() == 1 })
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				if err := end(m, cl, ctx); err != context.DeadlineExceeded {
					t.Errorf("%v, want what the context says", err)
				}
				if err := within(t, "the call", call); !errors.Is(err, mux.ErrClosed) {
					t.Errorf("the call: %v, want ErrClosed", err)
				}
			})
		}
	})
}

// Shutdown does not wait for calls that no connection takes.
func TestShutdownWithCallsThatCannotLeave(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1}, nil)
	cl, err := m.Client(mux.ClientOptions{IDs: tokenIDs})
	if err != nil {
		t.Fatal(err)
	}
	call := doing(t, m, cl, t.Context(), 1)
	until(t, "the call is out", func() bool { m.Stats(); return cl.InFlight() == 1 })
	if err := m.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := within(t, "the call", call); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("the call: %v, want ErrClosed", err)
	}
}
