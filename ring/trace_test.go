//go:build linux

package ring

import (
	"bytes"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/uring"
)

// traced returns a trace of fn.
func traced(t *testing.T, fn func()) string {
	t.Helper()
	var b bytes.Buffer
	if err := trace.Start(&b); err != nil {
		t.Skipf("a trace is being taken already: %v", err)
	}
	fn()
	trace.Stop()
	return b.String()
}

// While a trace is taken it has the loop's name and its turns, also one that is taken after
// another; and nothing of it is left when it is over.
func TestTrace(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Name: "traced loop"})
		ask := func() {
			t.Helper()
			for range 3 {
				if err := l.Do(func() {}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 2 {
			tr := traced(t, ask)
			for _, want := range []string{"kcm.loop", "kcm.turn", "kcm_loop", "traced loop"} {
				if !strings.Contains(tr, want) {
					t.Errorf("the trace has no %q", want)
				}
			}
			ask()
			if err := l.Do(func() {
				if l.tracer != (tracer{}) {
					t.Errorf("left when the trace is over: %+v", l.tracer)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Loops that are driven by hand may change goroutines between turns, and regions may not.
func TestNoTraceByHand(t *testing.T) {
	b := newBed(t, small())
	if tr := traced(t, func() { b.turn(); b.turn() }); strings.Contains(tr, "kcm.turn") {
		t.Error("the trace has turns of a loop that is driven by hand")
	}
}

// A loop's goroutine has the loop's name in profiles.
func TestLabel(t *testing.T) {
	start(t, Options{Backend: Epoll, Name: "labelled loop"})
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), `# labels: {"kcm_loop":"labelled loop"}`); n != 1 {
		t.Errorf("%d goroutines are labelled, want 1, in\n%s", n, b.String())
	}
}

// idle is a backend on which nothing happens and a wait takes no time.
type idle struct{ backend.Backend }

func (idle) Wait([]backend.Event, time.Duration) (int, error) { return 0, nil }
func (idle) Now() time.Duration                               { return 0 }

// BenchmarkTurn is a turn in which there is nothing to do, without its system call.
func BenchmarkTurn(b *testing.B) {
	l, err := NewWith(func(c backend.Config) (backend.Backend, error) {
		be, err := open(Epoll, uring.AllSwitches)(c)
		return idle{be}, err
	}, small())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	for b.Loop() {
		l.Turn()
	}
}
