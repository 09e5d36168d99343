package mux

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"sync"
	"syscall"

	"github.com/kcm-go/kcm/affinity"
	"github.com/kcm-go/kcm/internal/watch"
)

// Work handles a message on a worker. It may block: other workers go on, and so
// does the connection's loop. But it must not wait for what waits for it: Detach of its
// own connection, Shutdown, Workers.Close. r and its message are lent until it returns,
// unless Reply, Send or Take moved the message. Of the verdicts Pass means Done here.
type Work func(r *Received) Verdict

// Workers are goroutines that receive messages and run a Work function on each.
//
// They end with Close, or when the Mux is closed, which does not wait for them: call
// Close or Wait after that to know that no Work function runs any more.
type Workers struct {
	mux     *Mux
	work    Work
	sockets []*Socket
	readers []*Reader
	wg      sync.WaitGroup
}

// Workers starts n workers, each with a socket of its own, that handle the messages
// passed to them: every message when the Mux has no Handler, else those for which it
// returned Pass.
//
// With Options.PinWorkers each has a thread bound to a CPU by affinity's plan, behind
// the loops. A worker that waits for messages sleeps on a futex when there are a CPU
// and a P (GOMAXPROCS) for every loop and worker, else in the Go runtime: see package
// park. Give GOMAXPROCS at least one more than there are loops, which keep a P each
// while they sleep.
//
// Errors: EINVAL for n below 1, ErrClosed, and what keeps a thread from being pinned.
func (m *Mux) Workers(n int, work Work) (*Workers, error) {
	if n < 1 || work == nil {
		return nil, fmt.Errorf("workers: %d of them, want at least one and a function: %w", n, syscall.EINVAL)
	}
	w := &Workers{mux: m, work: work}
	cpus, err := m.workerCPUs(n)
	if err != nil {
		return nil, fmt.Errorf("workers: %w", err)
	}
	m.mu.Lock()
	m.workers += n
	futex := len(m.loops)+m.workers <= min(runtime.NumCPU(), runtime.GOMAXPROCS(0))
	m.mu.Unlock()
	m.steer.scarce.Store(runtime.GOMAXPROCS(0) <= len(m.loops))
	for range n {
		s, err := m.Socket()
		if err != nil {
			_ = w.Close() // err says more
			return nil, fmt.Errorf("workers: %w", err)
		}
		w.sockets = append(w.sockets, s)
		rd := newReader(s, futex)
		rd.inner = true
		w.readers = append(w.readers, rd)
	}
	ready := make(chan error, n)
	for i, rd := range w.readers {
		cpu := affinity.NoCPU
		if cpus != nil {
			cpu = cpus[i]
		}
		w.wg.Add(1)
		go w.run(rd, cpu, ready)
	}
	for range n {
		if e := <-ready; err == nil {
			err = e
		}
	}
	if err != nil {
		_ = w.Close() // err says more
		return nil, fmt.Errorf("workers: %w", err)
	}
	return w, nil
}

// workerCPUs returns where affinity's plan puts n workers behind the loops, nil when
// they are not to be pinned.
func (m *Mux) workerCPUs(n int) ([]int, error) {
	if !m.opt.PinWorkers || affinity.OffByEnv() {
		return nil, nil
	}
	top, err := affinity.Discover()
	if err != nil {
		return nil, err
	}
	loops := len(m.loops)
	plan := top.Plan(affinity.Request{Loops: loops + n})
	cpus := make([]int, n)
	for i := range cpus {
		cpus[i] = plan.Slots[loops+i].CPU
	}
	return cpus, nil
}

func (w *Workers) run(rd *Reader, cpu int, ready chan<- error) {
	defer w.wg.Done()
	w.label(rd)
	w.mux.steer.enroll(rd)
	defer rd.Close()
	if cpu != affinity.NoCPU {
		runtime.LockOSThread() // for life: the mask stays on the thread
		if err := affinity.Pin(cpu); err != nil {
			ready <- fmt.Errorf("pin to CPU %d: %w", cpu, err)
			return
		}
	}
	ready <- nil
	for w.serve(rd) {
	}
}

// serve handles messages until the reader is stopped, or a handler panics: then it
// returns true.
func (w *Workers) serve(rd *Reader) (again bool) {
	m := w.mux
	if !m.opt.CrashOnPanic {
		defer func() {
			if v := recover(); v != nil {
				mustSurvive(v)
				p := rd.r.From
				cause := &PanicError{Value: v, Stack: debug.Stack()}
				rd.out.flush()     // replies to messages before
				p.dead.Store(true) // none to those behind, which the peer could take for this one's
				p.onLoop(func() { p.leave(cause, false) })
				again = true
			}
		}()
	}
	ctx := context.Background()
	reject := m.opt.OnReject
	for {
		r, err := rd.Next(ctx)
		if err != nil {
			return false
		}
		var v Verdict
		if reject != nil && rd.overdue {
			m.steer.rejected.Add(1)
			v = reject(r)
		} else {
			v = w.do(r)
		}
		switch v {
		case Drop:
			m.steer.drops.Add(1)
		case End:
			r.From.flow.over.Store(true)
			r.From.Drain()
		}
	}
}

// do runs the Work function, in a region kcm.work of an execution trace if one is being
// taken.
func (w *Workers) do(r *Received) Verdict {
	if trace.IsEnabled() {
		defer trace.StartRegion(context.Background(), "kcm.work").End()
	}
	return w.work(r)
}

// label gives the calling goroutine its labels in profiles. Goroutines that a Work function
// starts inherit them.
func (w *Workers) label(rd *Reader) {
	label(watch.LabelMux, w.mux.Name(), watch.LabelWorker, strconv.Itoa(rd.socket.index))
}

// labelLoop adds the name of the Mux to a loop's. Loop's goroutine.
func labelLoop(mux, loop string) { label(watch.LabelMux, mux, watch.LabelLoop, loop) }

func label(pairs ...string) {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(pairs...)))
}

// Close stops the workers, each after the message it is at, and waits for them.
// Messages they have not handled go to other sockets or wait for the next; Shutdown
// waits for them as well. It must not be called in a Work function, which would wait for
// itself; on a loop's thread, which a worker may wait for, it returns EDEADLK and does
// nothing. Closing twice is legal.
func (w *Workers) Close() error {
	if w.mux.onThread() {
		return fmt.Errorf("workers: close: %w", ErrDeadlock)
	}
	for _, rd := range w.readers {
		rd.stop()
	}
	w.wg.Wait()
	for _, s := range w.sockets {
		_ = s.Close() // reports nothing
	}
	w.mux.mu.Lock()
	w.mux.workers -= len(w.readers)
	w.readers, w.sockets = nil, nil
	w.mux.mu.Unlock()
	return nil
}

// Sockets returns the sockets of the workers, one for each: to disable one with
// [Socket.SetRecvDisabled], for example. After Close there are none.
func (w *Workers) Sockets() []*Socket {
	w.mux.mu.Lock()
	defer w.mux.mu.Unlock()
	return slices.Clone(w.sockets)
}

// Wait waits until the workers have ended: they do when the Mux is closed. Before that
// it does not return. On a loop's thread it returns EDEADLK.
func (w *Workers) Wait() error {
	if w.mux.onThread() {
		return fmt.Errorf("workers: wait: %w", ErrDeadlock)
	}
	w.wg.Wait()
	return nil
}
