//go:build linux

package mux_test

import (
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/sgmsg"
)

// A sample of a Mux is what its Stats and those of its loops say.
func TestSampler(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 2}, echo)
	s := mux.NewSampler(m)
	_, c := attach(t, m)
	if err := pipeline(c, 1, 20, 4, 1<<10); err != nil {
		t.Fatal(err)
	}
	x, fresh := s.Sample(20 * time.Second)
	if !fresh || x.Stats != m.Stats() || x.Stats.RxMessages != 20 {
		t.Errorf("fresh: %v, %+v, want %+v with 20 messages", fresh, x.Stats, m.Stats())
	}
	var in uint64
	for i, l := range x.Loops {
		if want := m.Loops()[i]; l.Name != want.Options().Name || l.Backend != want.Backend() || len(l.Notes) != len(want.Notes()) {
			t.Errorf("loop %d is %+v, want %q on %s", i, l, want.Options().Name, want.Backend())
		}
		in += l.Stats.BytesIn
	}
	if len(x.Loops) != 2 || in != x.Stats.RxBytes || in == 0 {
		t.Errorf("%d loops that received %d bytes, want 2 and %d", len(x.Loops), in, x.Stats.RxBytes)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if x, fresh = s.Sample(20 * time.Second); !fresh || x.Stats.Closed != 1 {
		t.Errorf("after Close: fresh: %v, %+v", fresh, x.Stats)
	}
}

// While a handler does not return a sample is the last one; any number of callers cost
// one goroutine. Afterwards samples are taken again.
func TestSamplerDoesNotWaitForAStuckLoop(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	m := newMux(t, mux.Options{Loops: 1}, func(*mux.Psock, *sgmsg.Message) mux.Verdict {
		entered <- struct{}{}
		<-leave
		return mux.Done
	})
	s := mux.NewSampler(m)
	_, c := attach(t, m)
	if x, fresh := s.Sample(20 * time.Second); !fresh || x.Stats.Opened != 1 || x.Stats.RxMessages != 0 {
		t.Fatalf("fresh: %v, %+v", fresh, x.Stats)
	}
	if _, err := c.Write(frame([]byte("stuck"))); err != nil {
		t.Fatal(err)
	}
	within(t, "the handler", entered)
	for range 10 {
		if x, fresh := s.Sample(time.Millisecond); fresh || x.Stats.Opened != 1 || x.Stats.RxMessages != 0 || len(x.Loops) != 1 {
			t.Errorf("fresh: %v, %+v", fresh, x)
		}
	}
	close(leave)
	until(t, "a sample is taken", func() bool {
		x, fresh := s.Sample(20 * time.Second)
		return fresh && x.Stats.RxMessages == 1
	})
}

// A handler may take a sample: it does not wait for itself.
func TestSamplerOnALoop(t *testing.T) {
	got := make(chan mux.Sample, 1)
	var s *mux.Sampler
	m := newMux(t, mux.Options{Loops: 1}, func(*mux.Psock, *sgmsg.Message) mux.Verdict {
		x, fresh := s.Sample(20 * time.Second)
		if !fresh {
			t.Error("not fresh")
		}
		got <- x
		return mux.Done
	})
	s = mux.NewSampler(m)
	_, c := attach(t, m)
	if _, err := c.Write(frame([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if x := within(t, "a sample", got); x.Stats.RxMessages != 1 || x.Loops[0].Stats.Streams != 1 {
		t.Errorf("%+v", x)
	}
}
