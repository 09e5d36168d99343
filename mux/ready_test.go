//go:build linux

package mux_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// Two sockets and a context in one select, as a program would: each message is received once,
// by whoever looks, and nothing is left when the senders have ended.
func TestSelectOverSockets(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
			t.Run(policy.String(), func(t *testing.T) {
				m := newMux(t, mux.Options{Policy: policy, QueueBytes: 4 << 10, Ring: ring.Options{Backend: b}}, nil)
				x, y := openSeqpacket(t, m), openSeqpacket(t, m)
				const conns, n = 3, 400
				for range conns {
					_, c := attach(t, m)
					go func() {
						for i := range uint32(n) {
							if _, err := c.Write(numbered(i)); err != nil {
								t.Error(err)
								return
							}
						}
					}()
				}
				ctx, done := context.WithCancel(t.Context())
				defer done()
				var received atomic.Int32
				got := func() {
					if received.Add(1) == conns*n {
						done()
					}
				}
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						p := make([]byte, 5)
						for {
							select {
							case <-ctx.Done():
								return
							case <-x.Readable():
								for r, ok := x.TryRecv(); ok; r, ok = x.TryRecv() {
									r.Done()
									got()
								}
							case <-y.Readable():
								for {
									_, flags, err := y.RecvMsg(ctx, p, mux.DontWait)
									if err == syscall.EAGAIN {
										break
									}
									if err != nil {
										t.Error(err)
										return
									}
									if flags&mux.EOR != 0 {
										got()
									}
								}
							}
						}
					})
				}
				wg.Wait()
				if k := received.Load(); k != conns*n {
					t.Errorf("%d of %d messages were received", k, conns*n)
				}
			})
		}
	})
}

// The end of a socket, and of the Mux, is told.
func TestReadableTellsTheEnd(t *testing.T) {
	m := newMux(t, mux.Options{}, nil)
	s, other := openSocket(t, m), openSocket(t, m)
	ready := s.Readable()
	if len(ready) != 0 || s.Readable() != ready {
		t.Error("there is a token for nothing, or a second channel")
	}
	s.Close()
	within(t, "a token", ready)
	if _, _, err := s.RecvMsg(t.Context(), nil, mux.DontWait); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("RecvMsg of a closed socket: %v, want ErrClosed", err)
	}
	ready = other.Readable()
	m.Close()
	within(t, "a token", ready)
	if _, ok := other.TryRecv(); ok {
		t.Error("a message of a closed Mux")
	}
	late := openSocket(t, newMux(t, mux.Options{}, nil))
	late.Close()
	within(t, "the token of a socket closed before", late.Readable())
}
