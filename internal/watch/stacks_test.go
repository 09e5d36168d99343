package watch

import (
	"context"
	"runtime/pprof"
	"strings"
	"testing"
)

func stay(ready chan<- struct{}, leave <-chan struct{}) {
	ready <- struct{}{}
	<-leave
}

// Of all goroutines those with the label are written, with what they are at.
func TestStacks(t *testing.T) {
	ready, leave := make(chan struct{}), make(chan struct{})
	for _, labels := range []pprof.LabelSet{
		pprof.Labels(LabelMux, `a "b"`, LabelWorker, "3"),
		pprof.Labels(LabelMux, `a "b"`, LabelLoop, "l"),
		pprof.Labels(LabelMux, "other", LabelWorker, "4"),
	} {
		go pprof.Do(context.Background(), labels, func(context.Context) { stay(ready, leave) })
		<-ready
	}
	defer close(leave)
	for _, c := range []struct{ name, with, want string }{
		{`a "b"`, LabelWorker, `{"kcm_mux":"a \"b\"", "kcm_worker":"3"}`},
		{"other", "", `{"kcm_mux":"other", "kcm_worker":"4"}`},
		{"other", LabelLoop, ""},
		{"nobody", "", ""},
	} {
		var b strings.Builder
		if err := Stacks(&b, "> ", LabelMux, c.name, c.with); err != nil {
			t.Fatal(err)
		}
		got := b.String()
		if c.want == "" {
			if got != "" {
				t.Errorf("%q with %q: %s", c.name, c.with, got)
			}
			continue
		}
		if !strings.HasPrefix(got, "> goroutine "+c.want+"\n") || strings.Count(got, "goroutine ") != 1 ||
			!strings.Contains(got, ">   github.com/kcm-go/kcm/internal/watch.stay+") || !strings.Contains(got, "stacks_test.go:") {
			t.Errorf("%q with %q:\n%s", c.name, c.with, got)
		}
	}
}
