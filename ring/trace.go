package ring

import (
	"context"
	"runtime/pprof"
	"runtime/trace"

	"github.com/kcm-go/kcm/internal/watch"
)

// tracer marks the turns of a loop in execution traces (runtime/trace). While no trace is
// being taken it does nothing, and a turn pays one atomic load.
//
// A region kcm.turn reaches from the end of a wait to the next wait: what the loop does
// between two sleeps, or two looks. All are in one task, kcm.loop, whose log has the loop's
// name; a trace that begins anew has a task of its own. Loop's goroutine.
type tracer struct {
	ctx    context.Context
	task   *trace.Task
	region *trace.Region
}

// turn begins a region. A trace is being taken.
func (t *tracer) turn(name string) {
	if t.task == nil {
		t.ctx, t.task = trace.NewTask(context.Background(), "kcm.loop")
		trace.Log(t.ctx, watch.LabelLoop, name)
	}
	t.region = trace.StartRegion(t.ctx, "kcm.turn")
}

// rest ends it, and the task if the trace is over.
func (t *tracer) rest(over bool) {
	if t.region != nil {
		t.region.End()
		t.region = nil
	}
	if t.task != nil && (over || !trace.IsEnabled()) {
		t.task.End()
		*t = tracer{}
	}
}

// label gives the calling goroutine, the loop's, its label in profiles. Goroutines that
// handlers start inherit it.
func (l *Loop) label() {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(watch.LabelLoop, l.opt.Name)))
}
