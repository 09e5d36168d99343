//go:build linux

package mux_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// allocatesNothing sends messages to in and gets as many bytes from out, until a
// steady state is reached, and then counts.
func allocatesNothing(t *testing.T, in, out net.Conn) {
	t.Helper()
	const batch, warm, rounds = 16, 200, 400
	msgs := bytes.Repeat(frame(make([]byte, 64)), batch)
	got := make([]byte, len(msgs))
	round := func() {
		if _, err := in.Write(msgs); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, got); err != nil {
			t.Fatal(err)
		}
	}
	for range warm {
		round()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n*100 > rounds*batch {
		t.Errorf("%d allocations for %d messages, want fewer than one for a hundred", n, rounds*batch)
	}
	if !bytes.Equal(got, msgs) {
		t.Error("the last replies are not what was sent")
	}
}

func skipIfChecksAllocate(t *testing.T) {
	if invariants.Race || invariants.Enabled {
		t.Skip("the checks of this build allocate")
	}
}

// The number of Ps decides how workers sleep: with few in the runtime, with many on
// futexes.
func TestWorkersAllocateNothing(t *testing.T) {
	skipIfChecksAllocate(t)
	for _, sleep := range []struct {
		name  string
		procs int
		ring.Backend
	}{{"runtime", 1, ring.URing}, {"futex", 8, ring.Epoll}} {
		for _, d := range dispatches {
			t.Run(sleep.name+"/"+d.name, func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(sleep.procs))
				o := d.Options
				o.Ring.Backend = sleep.Backend
				m := newMux(t, o, nil)
				startWorkers(t, m, 3, reply)
				_, c := attach(t, m)
				allocatesNothing(t, c, c)
			})
		}
	}
}

func TestRecvAllocatesNothing(t *testing.T) {
	skipIfChecksAllocate(t)
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		for _, cancellable := range []bool{false, true} {
			name := policy.String() + "/background"
			if cancellable {
				name = policy.String() + "/cancellable"
			}
			t.Run(name, func(t *testing.T) {
				m := newMux(t, mux.Options{Policy: policy, FlowCap: -1}, nil)
				s := openSocket(t, m)
				ctx := context.Background()
				if cancellable {
					var cancel func()
					ctx, cancel = context.WithCancel(ctx)
					defer cancel()
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					for {
						r, err := s.Recv(ctx)
						if err != nil {
							return
						}
						r.Reply(r.Msg)
						r.Done()
					}
				}()
				_, c := attach(t, m)
				allocatesNothing(t, c, c)
				s.Close()
				<-ended
			})
		}
	}
}

// A handler's Send to a connection of another loop.
func TestSendAcrossLoopsAllocatesNothing(t *testing.T) {
	skipIfChecksAllocate(t)
	each(t, func(t *testing.T, b ring.Backend) {
		var to *mux.Psock
		m := newMux(t, mux.Options{Loops: 2, Ring: ring.Options{Backend: b}}, func(_ *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			to.Send(msg)
			return mux.Done
		})
		var out net.Conn
		to, out = attach(t, m)
		from, in := attach(t, m)
		if from.Loop() == to.Loop() {
			t.Fatal("both connections are on one loop")
		}
		allocatesNothing(t, in, out)
	})
}
