package echo

import (
	"sync"
)

// worker handles the jobs of one channel, in their order. It blocks in the write
// to a client that does not read its replies, which is what this shape does.
type worker struct {
	jobs  *jobs
	queue <-chan *job
	work  bool
	dirty []*job // answered, their replies not yet flushed
}

// run ends when the channel is closed and empty.
//
// A reply is written as soon as its message is done if another message is to be
// worked on next, or none is there. It waits only for messages that cost
// nothing, and leaves together with theirs: with no work in the messages a write
// carries a batch, with work there is one for each.
func (w *worker) run() {
	for {
		b, ok := w.next()
		if !ok {
			return
		}
		if w.work {
			if do := workOf(b.frame); do != (work{}) {
				w.flush()
				do.do()
			}
		}
		b.conn.add(b.frame)
		w.dirty = append(w.dirty, b)
		if len(w.dirty) == cap(w.dirty) {
			w.flush()
		}
	}
}

// next returns the next job. Replies do not wait while the worker does.
func (w *worker) next() (b *job, ok bool) {
	select {
	case b, ok = <-w.queue:
		return b, ok
	default:
	}
	w.flush()
	b, ok = <-w.queue
	return b, ok
}

// flush writes the replies that wait. A connection may be there several times;
// the first time writes them all.
func (w *worker) flush() {
	for _, b := range w.dirty {
		b.conn.flush()
		b.conn.pending.Done()
		w.jobs.put(b)
	}
	clear(w.dirty)
	w.dirty = w.dirty[:0]
}

const (
	queueLen = 1024 // jobs that may wait for a worker, so readers stop reading
	batchLen = 256  // replies a worker keeps until it writes
)

// startWorkers starts n workers on each queue. stop closes the queues and
// returns when the workers have ended.
func startWorkers(j *jobs, queues []chan *job, n int, work bool) (stop func()) {
	var done sync.WaitGroup
	for _, queue := range queues {
		for range n {
			w := &worker{jobs: j, queue: queue, work: work, dirty: make([]*job, 0, batchLen)}
			done.Go(w.run)
		}
	}
	return func() {
		for _, queue := range queues {
			close(queue)
		}
		done.Wait()
	}
}
