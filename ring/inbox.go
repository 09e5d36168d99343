package ring

import "sync/atomic"

// Task is something to be run on a loop's thread. It can be embedded so that
// posting it allocates nothing; a Task must not be posted again before it ran.
type Task struct {
	next *Task
	Run  func()
}

// inbox is how other goroutines reach the loop: a stack of tasks pushed
// with one compare-and-swap each and taken as a whole. Push and swap-all need no
// protection against ABA: a pushed node only ever points at what the head is at
// the moment of the swap.
type inbox struct{ head atomic.Pointer[Task] }

// closedInbox marks an inbox that takes nothing any more.
var closedInbox = new(Task)

func (b *inbox) push(t *Task) bool {
	for {
		h := b.head.Load()
		if h == closedInbox {
			return false
		}
		t.next = h
		if b.head.CompareAndSwap(h, t) {
			return true
		}
	}
}

func (b *inbox) empty() bool {
	h := b.head.Load()
	return h == nil || h == closedInbox
}

// take returns the tasks in the order in which they were pushed.
func (b *inbox) take() *Task { return reverse(b.head.Swap(nil)) }

// close refuses further tasks and returns those not yet taken.
func (b *inbox) close() *Task {
	h := b.head.Swap(closedInbox)
	if h == closedInbox {
		return nil
	}
	return reverse(h)
}

func reverse(t *Task) *Task {
	var out *Task
	for t != nil {
		t.next, out, t = out, t, t.next
	}
	return out
}
