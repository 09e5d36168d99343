package mux

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

// outbox has the replies of a reader to the connection whose batch it is at. They wait
// for the other messages of the batch, to leave in one system call:
//
//	reader   message 0   message 1   message 2 (the last)
//	outbox      + reply     + reply     + reply, and all are sent
//
// A message may take long, and nobody knows before. So loops, which are awake while there
// is traffic, look after the readers at the end of their turns and send what has waited
// for lingerLimit. When all is quiet a timer does it, later: timers of a fraction of a
// millisecond, one for each sleep of a loop, cost more than the replies. When messages
// take long as a rule (Reader.eager) nothing waits.
type outbox struct {
	since atomic.Int64 // from when the oldest reply may have waited; 0: there is none
	mu    sync.Mutex   // held while they are sent, so that they leave in order
	psock *Psock
	msg   sgmsg.Message
	n     int
	bytes int // of msg, or more; the reader's own
}

const (
	lingerBytes = 64 << 10               // that wait, at most, and a reply: a write takes no more
	lingerLimit = 100 * time.Microsecond // that replies wait for others while there is traffic
	quietLimit  = time.Millisecond       // and when there is none
)

// add puts a reply behind the others. Reader's goroutine.
func (o *outbox) add(p *Psock, msg *sgmsg.Message, since time.Duration) {
	o.bytes += msg.Len()
	o.mu.Lock()
	first := o.n == 0
	if first {
		o.psock = p
		o.since.Store(int64(max(since, 1)))
	}
	msg.MoveTo(&o.msg)
	o.n++
	o.mu.Unlock()
	if first {
		p.mux.steer.watch()
	}
}

// flush sends what is there. Reader's goroutine.
func (o *outbox) flush() {
	o.bytes = 0
	if o.since.Load() != 0 {
		o.mu.Lock()
		o.send()
		o.mu.Unlock()
	}
}

// send is flush under the lock.
func (o *outbox) send() {
	if o.n == 0 {
		return
	}
	p := o.psock
	p.mux.sent.messages.Add(uint64(o.n - 1)) // pushFrom counts one
	p.pushFrom(&o.msg, p)
	o.msg.Reset()
	o.psock, o.n = nil, 0
	o.since.Store(0)
}

// watch sees to it that somebody looks after the readers.
func (st *steer) watch() {
	if !st.watched.Load() && st.watched.CompareAndSwap(false, true) && st.quiet != nil {
		st.quiet.Reset(quietLimit)
	}
}

// relieve sends the replies that have waited for lingerLimit, and reports whether there
// are others. A reader that is at its outbox just now needs no help. Any goroutine; it
// does not wait.
func (st *steer) relieve(now time.Duration) (more bool) {
	for _, rd := range *st.readers.Load() {
		o := &rd.out
		switch since := o.since.Load(); {
		case since == 0:
		case now-time.Duration(since) >= lingerLimit && o.mu.TryLock():
			o.send()
			o.mu.Unlock()
		default:
			more = true
		}
	}
	return more
}

// expire is what the timer runs.
func (st *steer) expire() {
	st.watched.Store(false) // whose reply comes after this sees to it
	if st.relieve(st.clock()) {
		st.watch()
	}
}

// enroll has the reader looked after until dismiss.
func (st *steer) enroll(rd *Reader) {
	st.lock()
	readers := append(slices.Clone(*st.readers.Load()), rd)
	st.readers.Store(&readers)
	st.unlock()
}

func (st *steer) dismiss(rd *Reader) {
	st.lock()
	readers := slices.Clone(*st.readers.Load())
	readers = slices.DeleteFunc(readers, func(x *Reader) bool { return x == rd })
	st.readers.Store(&readers)
	st.unlock()
}
