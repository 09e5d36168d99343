package mux

import (
	"testing"
	"time"
)

func TestBackoffGrowsWithinItsBounds(t *testing.T) {
	const ms = time.Millisecond
	want := []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1000 * ms, 1000 * ms, 1000 * ms}
	least, most := newBackoff(50*ms, time.Second), newBackoff(50*ms, time.Second)
	least.random = func(int64) int64 { return 0 }
	most.random = func(n int64) int64 { return n - 1 }
	any := newBackoff(50*ms, time.Second)
	for i, d := range want {
		if got := least.failed(0); got != d/2 {
			t.Errorf("failure %d: at least %v, want %v", i+1, got, d/2)
		}
		if got := most.failed(0); got != d {
			t.Errorf("failure %d: at most %v, want %v", i+1, got, d)
		}
		if got := any.failed(0); got < d/2 || got > d {
			t.Errorf("failure %d: %v, want %v to %v", i+1, got, d/2, d)
		}
	}
	if any.failures != len(want) {
		t.Errorf("%d failures, want %d", any.failures, len(want))
	}
}

// The largest delay is never passed, however many failures there are, and it may be as
// small as the least.
func TestBackoffDoesNotOverflow(t *testing.T) {
	b := newBackoff(3*time.Nanosecond, 1<<62)
	one := newBackoff(1, 1)
	for range 1000 {
		if d := b.failed(0); d <= 0 || d > 1<<62 {
			t.Fatalf("a delay of %v after %d failures", d, b.failures)
		}
		if d := one.failed(0); d != 1 {
			t.Fatalf("a delay of %v", d)
		}
	}
}

func TestBackoffBeginsAnewAfterAConnectionThatStood(t *testing.T) {
	b := newBackoff(50*time.Millisecond, time.Second)
	for range 3 {
		b.failed(0)
	}
	if b.last != 200*time.Millisecond {
		t.Fatalf("the delay is %v", b.last)
	}
	if b.row(200*time.Millisecond) != 3 || b.row(200*time.Millisecond+1) != 0 {
		t.Errorf("rows of %d and %d", b.row(200*time.Millisecond), b.row(200*time.Millisecond+1))
	}
	if b.failed(200 * time.Millisecond); b.failures != 4 || b.last != 400*time.Millisecond {
		t.Errorf("one that stood for as long as the delay: %d failures, %v", b.failures, b.last)
	}
	if b.failed(401 * time.Millisecond); b.failures != 1 || b.last != 50*time.Millisecond {
		t.Errorf("one that stood for longer: %d failures, %v", b.failures, b.last)
	}
}
