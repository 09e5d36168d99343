//go:build linux

package mux_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

var endure = flag.Duration("endure", time.Second, "how long the test of a client whose server is killed goes on, on each back end; make endure")

const (
	killEvery     = 200 * time.Millisecond
	endureRate    = 20_000 // calls a second
	endureWorkers = 512
	endureTimeout = time.Second // of a call
)

// badServer answers calls by their tokens: at once, behind the next one, twice, or never.
type badServer struct {
	ring.Backend
	t        *testing.T
	requests atomic.Int64
}

func (s *badServer) start(addr string) (at string, end func()) {
	type request struct {
		from *mux.Psock
		msg  *sgmsg.Message
	}
	var held []request // the server has one loop, which this is of
	answer := func() {
		for _, r := range held {
			r.from.Send(r.msg)
		}
		held = held[:0]
	}
	_, at, kill := serveAt(s.t, addr, mux.Options{Loops: 1, Ring: ring.Options{Backend: s.Backend}}, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		s.requests.Add(1)
		token := getToken(msg)
		switch {
		case neverAnswered(token):
			return mux.Done
		case token%8 == 0:
			held = append(held, request{from, msg.Take()})
			return mux.Done
		case token%501 == 0:
			var twice sgmsg.Message
			if err := msg.Clone(&twice, 0, msg.Len()); err == nil {
				from.Send(&twice)
			}
		}
		from.Send(msg)
		answer()
		return mux.Done
	})
	return at, func() { kill(); answer() } // to connections that have ended: given back
}

func neverAnswered(token uint64) bool { return token%1009 == 1008 }

// tally is what became of calls.
type tally struct {
	mu                  sync.Mutex
	replies, lost, late int
	unbegun             int // calls that found no worker
	latencies           []time.Duration
	overrun             time.Duration // longest time by which a call has outlived its context
	causes              map[string]int
}

// end counts the end of a call, and returns what must not have happened.
func (y *tally) end(token, got uint64, resend bool, err error, took time.Duration) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.overrun = max(y.overrun, took-endureTimeout)
	var gone *mux.CallError
	switch {
	case err == nil && got != token:
		return fmt.Errorf("call %d got the reply to call %d", token, got)
	case err == nil && neverAnswered(token):
		return fmt.Errorf("call %d got a reply that nobody sent", token)
	case err == nil:
		y.replies++
		y.latencies = append(y.latencies, took)
	case err == context.DeadlineExceeded:
		y.late++
		if took < endureTimeout {
			return fmt.Errorf("call %d: %v after %v", token, err, took)
		}
	case errors.As(err, &gone) && !resend && gone.Cause != nil:
		y.lost++
		y.causes[gone.Cause.Error()]++
	default:
		return fmt.Errorf("call %d, Resend %v: %v", token, resend, err)
	}
	return nil
}

// A client with a pool makes calls at a steady rate while its server is killed and started
// again all the time: every call ends, with its own reply, with its context, or with an
// error that says what became of its connection, and none outlives its context. It is short
// in ordinary test runs, and takes -endure in make endure.
func TestCallsEndureAServerThatIsKilled(t *testing.T) {
	rate := endureRate
	if invariants.Race || invariants.Enabled {
		rate /= 10
	}
	each(t, func(t *testing.T, b ring.Backend) {
		srv := &badServer{Backend: b, t: t}
		addr, end := srv.start("127.0.0.1:0")
		m, cl := newClient(t, b, mux.ClientOptions{}, 4, addr)
		sum := &tally{causes: map[string]int{}}

		work := make(chan uint64, rate/4)
		var wg sync.WaitGroup
		for range endureWorkers {
			wg.Go(func() {
				var c mux.Call
				for token := range work {
					setToken(t, m, &c.Request, token)
					c.Resend = token%2 == 0
					begun := time.Now()
					ctx, cancel := context.WithTimeout(context.Background(), endureTimeout)
					err := cl.Do(ctx, &c)
					took := time.Since(begun)
					cancel()
					got := getToken(&c.Reply)
					c.Reply.Reset()
					c.Request.Reset() // if it was not sent
					if err := sum.end(token, got, c.Resend, err, took); err != nil {
						t.Error(err)
					}
				}
			})
		}

		pace, kill := time.NewTicker(time.Millisecond), time.NewTicker(killEvery)
		defer pace.Stop()
		defer kill.Stop()
		begun, token, kills := time.Now(), uint64(0), 0
		for time.Since(begun) < *endure {
			select {
			case <-pace.C:
				for due := uint64(time.Since(begun).Seconds() * float64(rate)); token < due; token++ {
					select {
					case work <- token:
					default:
						sum.unbegun++
					}
				}
			case <-kill.C:
				end()
				kills++
				_, end = srv.start(addr)
			}
		}
		lasted := time.Since(begun)
		close(work)
		finished := make(chan struct{})
		go func() { wg.Wait(); close(finished) }()
		within(t, "the calls that are out", finished)
		end()

		ended := sum.replies + sum.lost + sum.late
		if ended+sum.unbegun != int(token) && !t.Failed() {
			t.Errorf("%d calls have ended and %d found no worker, of %d", ended, sum.unbegun, token)
		}
		if n := cl.InFlight(); n != 0 {
			t.Errorf("%d calls are out", n)
		}
		if sum.overrun > 5*time.Second { // a busy machine may be late, no more
			t.Errorf("a call ended %v after its context", sum.overrun)
		}
		if sum.replies == 0 || kills == 0 {
			t.Errorf("%d replies, %d kills", sum.replies, kills)
		}
		slices.Sort(sum.latencies)
		at := func(q float64) time.Duration {
			if len(sum.latencies) == 0 {
				return 0
			}
			return sum.latencies[int(q*float64(len(sum.latencies)-1))].Round(10 * time.Microsecond)
		}
		st := m.Stats()
		t.Logf("%.1f s, %d kills: %d calls (%.0f/s), %d found no worker; the servers got %d requests",
			lasted.Seconds(), kills, ended, float64(ended)/lasted.Seconds(), sum.unbegun, srv.requests.Load())
		t.Logf("%d replies, %d connections ended with the reply outstanding %v, %d contexts, at most %v late; %d late replies",
			sum.replies, sum.lost, sum.causes, sum.late, max(0, sum.overrun).Round(time.Microsecond), cl.Orphans())
		t.Logf("latency of replies: half within %v, 99%% %v, 99.9%% %v, all %v; %d connections were opened",
			at(0.5), at(0.99), at(0.999), at(1), st.Opened)
	})
}
