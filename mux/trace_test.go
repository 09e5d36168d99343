//go:build linux

package mux_test

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"testing"

	"github.com/kcm-go/kcm/mux"
)

// Loops and workers have the name of their Mux in profiles; messages of workers are
// regions of a trace.
func TestLabelsAndTrace(t *testing.T) {
	got := make(chan struct{}, 1)
	m := newMux(t, mux.Options{Name: "shop", Loops: 2}, nil)
	w, err := m.Workers(2, func(*mux.Received) mux.Verdict { got <- struct{}{}; return mux.Done })
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var goroutines bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&goroutines, 1); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		for _, want := range []string{
			fmt.Sprintf(`{"kcm_loop":"shop/%d", "kcm_mux":"shop"}`, i),
			fmt.Sprintf(`{"kcm_mux":"shop", "kcm_worker":"%d"}`, i),
		} {
			if strings.Count(goroutines.String(), want) != 1 {
				t.Errorf("not once: %s", want)
			}
		}
	}
	if t.Failed() {
		t.Log(goroutines.String())
	}

	var tr bytes.Buffer
	if err := trace.Start(&tr); err != nil {
		t.Skipf("a trace is being taken already: %v", err)
	}
	_, c := attach(t, m)
	c.Write(frame([]byte("x")))
	within(t, "the message", got)
	w.Close() // after its region has ended
	trace.Stop()
	for _, want := range []string{"kcm.work", "kcm.turn"} {
		if !strings.Contains(tr.String(), want) {
			t.Errorf("the trace has no %s", want)
		}
	}
}
