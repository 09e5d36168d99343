package epoll

import (
	"fmt"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// queue holds events that are due and had no place in a Wait yet.
type queue struct {
	ev   []backend.Event
	head int
}

func (q *queue) push(e backend.Event) {
	if q.head > 0 && len(q.ev) == cap(q.ev) {
		q.ev = q.ev[:copy(q.ev, q.ev[q.head:])]
		q.head = 0
	}
	q.ev = append(q.ev, e)
}

func (q *queue) flush(out []backend.Event) int {
	n := copy(out, q.ev[q.head:])
	if q.head += n; q.head == len(q.ev) {
		q.ev, q.head = q.ev[:0], 0
	}
	return n
}

// emit delivers an event: in this Wait if there is one with room, else in a
// later one. An operation has at most one event in due, its last, so the two
// ways do not change the order of its events.
func (b *epoll) emit(e backend.Event) {
	if b.n < len(b.out) {
		b.out[b.n] = e
		b.n++
		return
	}
	b.due.push(e)
}

// fail ends an operation with an error.
func (b *epoll) fail(k backend.Key, e syscall.Errno) {
	b.emit(backend.Event{Key: k, Res: -int32(e)})
}

// Wait delivers what is due, asks epoll, and serves the ready descriptors, each
// once.
func (b *epoll) Wait(events []backend.Event, timeout time.Duration) (int, error) {
	b.stats.Waits++
	n := b.due.flush(events)
	if n == len(events) {
		return n, nil
	}
	// Events of operations that ended at once, Sends mostly, need no system
	// call to be delivered. Every second Wait asks epoll all the same, so that
	// they cannot shut out the rest for ever.
	if n > 0 && b.ready.len == 0 && !b.skipped {
		b.skipped = true
		return n, nil
	}
	b.skipped = false

	b.out, b.n, b.woken = events, n, false
	err := b.turn(timeout)
	n, b.out, b.n = b.n, nil, 0
	return n, err
}

func (b *epoll) turn(timeout time.Duration) error {
	var end time.Duration
	if timeout > 0 {
		end = b.Now() + timeout
	}
	for wait := timeout; ; wait = end - b.Now() {
		if timeout < 0 {
			wait = timeout
		} else if wait < 0 {
			wait = 0
		}
		sleep := wait
		if b.n > 0 || b.ready.len > 0 {
			sleep = 0
		}
		interrupted, err := b.ask(sleep)
		if err != nil {
			return err
		}
		b.serve()
		if b.n > 0 || wait == 0 || b.woken || interrupted {
			return nil
		}
		// What was ready led to no event: a descriptor that nobody reads, or
		// one that turned out to be empty.
	}
}

// ask calls epoll_wait and marks what it reports.
func (b *epoll) ask(timeout time.Duration) (interrupted bool, err error) {
	b.stats.Syscalls++
	var n int
	var e syscall.Errno
	switch {
	case timeout == 0:
		n, e = epollPeek(b.epfd, b.polled[:])
	case b.millis:
		b.stats.Sleeps++
		n, e = epollSleepMillis(b.epfd, b.polled[:], timeout)
	default:
		b.stats.Sleeps++
		n, e = epollSleep(b.epfd, b.polled[:], timeout)
	}
	if e != 0 {
		if e == syscall.EINTR {
			b.stats.Interrupts++
			return true, nil
		}
		return false, fmt.Errorf("epoll: wait: %w", e)
	}
	b.report(n)
	return false, nil
}

// report enters the first n reports of epoll_wait in the book.
func (b *epoll) report(n int) {
	for i := range b.polled[:n] {
		ev := &b.polled[i]
		if ev.Fd < 0 {
			b.woken = true
			b.waking.Store(false)
			continue
		}
		// A report for an earlier attachment has another generation.
		if d := &b.descs[ev.Fd]; d.attached && d.gen == uint32(ev.Pad) {
			b.mark(ev.Fd, ev.Events)
		}
	}
}

// serve gives each ready descriptor its turn, as long as there is room for
// events. Those that are not done go to the end of the list.
func (b *epoll) serve() {
	for left := b.ready.len; left > 0 && b.n < len(b.out); left-- {
		fd := b.pop()
		d := &b.descs[fd]
		if d.in == 0 || !d.readable {
			continue
		}
		switch d.in.Op() {
		case backend.OpRecv:
			b.serveRecv(int(fd), d)
		case backend.OpRead:
			b.serveRead(int(fd), d)
		case backend.OpAccept:
			b.serveAccept(int(fd), d)
		case backend.OpRecvMsg:
			b.serveRecvMsg(int(fd), d)
		}
		if d.in != 0 && d.readable {
			b.push(fd)
		}
	}
}

// finish ends the descriptor's input operation.
func (b *epoll) finish(d *desc, res int32) {
	b.emit(backend.Event{Key: d.in, Res: res})
	b.forget(d)
}

// drained notes that there is nothing to read until the next edge.
func (d *desc) drained() { d.readable, d.wary = false, false }
