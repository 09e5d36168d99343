//go:build linux

package mux_test

import (
	"bufio"
	"io"

	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
)

// roundTrips makes n connections ask one thing after the other until stop says so,
// and counts the answers, whose first payload byte must be one of those in answers.
func roundTrips(t *testing.T, m *mux.Mux, conns int, stop func() bool, answers string) map[byte]int {
	t.Helper()
	var mu sync.Mutex
	count := map[byte]int{}
	var wg sync.WaitGroup
	for range conns {
		_, c := attach(t, m)
		wg.Go(func() {
			br := bufio.NewReader(c)
			msg, got := frame([]byte{'?'}), make([]byte, 5)
			for !stop() {
				if _, err := c.Write(msg); err != nil {
					t.Error(err)
					return
				}
				if _, err := io.ReadFull(br, got); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				count[got[4]]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for b := range count {
		if !slices.Contains([]byte(answers), b) {
			t.Errorf("answer %q, want one of %q", b, answers)
		}
	}
	return count
}

func answer(r *mux.Received, with string) mux.Verdict {
	if err := r.ReplyPayload([]byte(with)); err != nil {
		panic(err)
	}
	return mux.Done
}

// Two connections are handled in a moment; eight whose work takes longer than they
// may wait stand in the queue, and some of them are told so.
func TestOverdueMessagesAreRejected(t *testing.T) {
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		t.Run(policy.String(), func(t *testing.T) {
			const target = 4 * time.Millisecond
			var rejected atomic.Uint64
			o := mux.Options{Policy: policy, DelayTarget: target, DelayInterval: 3 * target}
			o.OnReject = func(r *mux.Received) mux.Verdict {
				if r.Waited() < target || !r.Overdue() {
					t.Errorf("rejected after %v, overdue %v", r.Waited(), r.Overdue())
				}
				rejected.Add(1)
				return answer(r, "n")
			}
			m := newMux(t, o, nil)
			startWorkers(t, m, 1, func(r *mux.Received) mux.Verdict {
				if r.Overdue() {
					t.Error("an overdue message was given to the Work function")
				}
				block(target / 2)
				return answer(r, "y")
			})
			count := roundTrips(t, m, 8, func() bool { return rejected.Load() >= 10 }, "yn")
			st := m.Stats()
			if n := rejected.Load(); n < 10 || st.Rejected != n || count['n'] != int(n) {
				t.Errorf("%d rejected, %d counted, %d told", n, st.Rejected, count['n'])
			}
			if count['y'] == 0 || st.Received != uint64(count['y']+count['n']) {
				t.Errorf("%d handled and %d rejected of %d", count['y'], count['n'], st.Received)
			}
			if st.Delay.Count != st.Received || st.Delay.Max < target || st.Delay.Quantile(1) < target || st.Delay.Mean() == 0 {
				t.Errorf("delays %+v", st.Delay)
			}
		})
	}
}

// A queue that is too long for less than DelayInterval is a burst: nothing is
// rejected, although messages waited longer than DelayTarget.
func TestABurstIsNotRejected(t *testing.T) {
	const target = time.Millisecond
	m := newMux(t, mux.Options{
		DelayTarget: target, DelayInterval: time.Hour,
		OnReject: func(r *mux.Received) mux.Verdict { return answer(r, "n") },
	}, nil)
	g := newGate(t)
	startGate(t, m, 1, g)
	_, c := attach(t, m)
	_, other := attach(t, m)
	writeNumbers(t, c, 0, 1)
	<-g.reached
	writeNumbers(t, other, 1, 30)
	queued(t, m, 29)
	for from := m.Loops()[0].Now(); m.Loops()[0].Now() < from+2*target; {
	}
	g.open()
	if got := readNumbers(t, other, 29); !slices.Equal(got, upTo(1, 30)) {
		t.Errorf("replies to %d", got)
	}
	if st := m.Stats(); st.Rejected != 0 || st.Delay.Max < target {
		t.Errorf("%d rejected, the longest wait was %v; want none and at least %v", st.Rejected, st.Delay.Max, target)
	}
}

func TestSlowHandlersAreCounted(t *testing.T) {
	for _, slow := range []time.Duration{5 * time.Millisecond, -1} {
		m := newMux(t, mux.Options{SlowHandler: slow}, nil)
		startWorkers(t, m, 1, func(r *mux.Received) mux.Verdict {
			if number(r.Msg) == 0 {
				block(6 * time.Millisecond)
			}
			return reply(r)
		})
		_, c := attach(t, m)
		const n = 5
		for range n {
			writeNumbers(t, c, 0, 1)
			readNumbers(t, c, 1)
			writeNumbers(t, c, 1, 2)
			readNumbers(t, c, 1)
		}
		until(t, "handled", func() bool { return m.Stats().Received == 2*n })
		switch got := m.Stats().Slow; {
		case slow < 0 && got != 0:
			t.Errorf("%d calls counted as slow with the count off", got)
		case slow > 0 && (got < n || got == 2*n):
			t.Errorf("%d calls counted as slow, want %d", got, n)
		}
	}
}

// block does what work may and a handler on a loop may not.
func block(d time.Duration) { <-time.After(d) }
