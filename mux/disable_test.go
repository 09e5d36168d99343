//go:build linux

package mux_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/kcm-go/kcm/mux"
)

// waiting reports what becomes of a Recv and of a Next in goroutines of their own.
func waiting(s *mux.Socket) (got chan uint32, errs chan error) {
	got, errs = make(chan uint32, 10), make(chan error, 2)
	go func() {
		r, err := s.Recv(context.Background())
		if err == nil {
			got <- number(r.Msg)
			r.Done()
		}
		errs <- err
	}()
	go func() {
		rd := s.Reader()
		defer rd.Close()
		r, err := rd.Next(context.Background())
		if err == nil {
			got <- number(r.Msg)
		}
		errs <- err
	}()
	return got, errs
}

// While a socket is disabled its readers wait, whatever comes, and others get the messages;
// they go on when it is enabled, and end when it or the Mux is closed.
func TestReadersOfADisabledSocketWait(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		m := newMux(t, o, nil)
		off, on := openSocket(t, m), openSocket(t, m)
		got, errs := waiting(off)
		off.SetRecvDisabled(true)
		off.SetRecvDisabled(true) // no effect
		if !off.RecvDisabled() || on.RecvDisabled() {
			t.Errorf("disabled: %v and %v, want true and false", off.RecvDisabled(), on.RecvDisabled())
		}
		_, c := attach(t, m)
		for i := range uint32(4) {
			writeNumbers(t, c, i, i+1)
			r, n := recv(t, on)
			if n != i {
				t.Errorf("message %d, want %d", n, i)
			}
			r.Done()
		}
		if _, ok := off.TryRecv(); ok || len(got) > 0 {
			t.Error("a disabled socket gives a message")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := off.Recv(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Recv of a disabled socket: %v, want Canceled", err)
		}
		on.SetRecvDisabled(true)
		off.SetRecvDisabled(false)
		writeNumbers(t, c, 4, 6)
		all := []uint32{within(t, "a message", got), within(t, "a message", got)}
		slices.Sort(all)
		if !slices.Equal(all, upTo(4, 6)) {
			t.Errorf("messages %d, want 4 and 5", all)
		}
		for range 2 {
			if err := within(t, "the end of a reader", errs); err != nil {
				t.Error(err)
			}
		}
		_, errs = waiting(on)
		off.Close()
		off.SetRecvDisabled(true) // a closed one stays what it is
		if off.RecvDisabled() {
			t.Error("a closed socket has been disabled")
		}
		on.Close()
		for range 2 {
			if err := within(t, "the end of a reader", errs); !errors.Is(err, mux.ErrClosed) {
				t.Errorf("receiving from a closed socket: %v, want ErrClosed", err)
			}
		}
		last, err := m.OpenSocket(mux.SocketOptions{RecvDisabled: true})
		if err != nil {
			t.Fatal(err)
		}
		_, errs = waiting(last)
		m.Stats()
		m.Close()
		for range 2 {
			if err := within(t, "the end of a reader", errs); !errors.Is(err, mux.ErrClosed) {
				t.Errorf("receiving from a closed Mux: %v, want ErrClosed", err)
			}
		}
	})
}

// A Reader is at the first message of a batch when its socket is disabled: the others are
// handled elsewhere, in order.
func TestReaderOfADisabledSocketGivesBackItsBatch(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		m := newMux(t, o, nil)
		first := openSocket(t, m)
		rd := first.Reader()
		defer rd.Close()
		_, c := attach(t, m)
		writeNumbers(t, c, 0, 10)
		queued(t, m, 10)
		if r, err := rd.Next(t.Context()); err != nil || number(r.Msg) != 0 {
			t.Fatalf("Next: %v", err)
		}
		first.SetRecvDisabled(true)
		second := openSocket(t, m)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := rd.Next(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Next of a disabled socket: %v, want Canceled", err)
		}
		var got []uint32
		for range 9 {
			r, n := recv(t, second)
			got = append(got, n)
			r.Done()
		}
		if !slices.Equal(got, upTo(1, 10)) {
			t.Errorf("messages %d, want 1 to 9", got)
		}
		second.Close()
		first.SetRecvDisabled(false)
		writeNumbers(t, c, 10, 12)
		for i := range uint32(2) {
			if r, err := rd.Next(t.Context()); err != nil || number(r.Msg) != 10+i {
				t.Fatalf("Next of the socket that was enabled: %v", err)
			}
		}
	})
}

// Disabling and enabling the workers of a connection in turn loses nothing and keeps its
// order.
//
// Proves I13.
func TestWorkersAreDisabledAndEnabled(t *testing.T) {
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		t.Run(policy.String(), func(t *testing.T) {
			m := newMux(t, mux.Options{Policy: policy, QueueBytes: 4 << 10}, nil)
			const n = 2000
			var handled atomic.Uint32
			w := startWorkers(t, m, 3, func(r *mux.Received) mux.Verdict {
				if k := number(r.Msg); k != handled.Load() {
					t.Errorf("message %d is handled after %d others", k, handled.Load())
				}
				handled.Add(1)
				return reply(r)
			})
			socks := w.Sockets()
			if len(socks) != 3 {
				t.Fatalf("%d sockets of 3 workers", len(socks))
			}
			_, c := attach(t, m)
			go func() {
				for i := range uint32(n) {
					if _, err := c.Write(numbered(i)); err != nil {
						t.Error(err)
						return
					}
				}
			}()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for i := 0; handled.Load() < n; i++ {
					socks[i%3].SetRecvDisabled(i&1 == 0)
				}
				for _, s := range socks {
					s.SetRecvDisabled(false)
				}
			}()
			if got := readNumbers(t, c, n); !slices.Equal(got, upTo(0, n)) {
				t.Error("the replies are not those to all messages in order")
			}
			<-ended
			if err := w.Close(); err != nil {
				t.Error(err)
			}
			if len(w.Sockets()) != 0 {
				t.Error("closed workers have sockets")
			}
		})
	}
}
