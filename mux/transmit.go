package mux

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// transmit is the sending half of the sockets: which connection a socket's messages leave
// on.
//
//	connection:  off -> free <--> reserved by a socket
//	               \______|__________|______> stopped: it is ending, and is never free again
//	socket:      idle -> waits (none is free) -> has one, and a train out -> ... -> idle
//
// A reservation is for a burst: it ends when the socket's queue is empty, or, while other
// sockets wait, with the train. A train is what is pushed to a stream at once, one message
// or several of up to trainBytes together; there is one at a time for each socket. The
// socket keeps its messages until the stream's ticket says that the kernel has accepted
// them. If the connection ends before, those that were not accepted as a whole begin again
// on another one.
//
// The lock is never held across a system call or a callback, nor with steer's. No loop waits
// for it to tell what happened to a connection, only to send what its own handlers, or calls
// of a connection that ended, send. Loops and pushers leave such news in a list of its own and
// then try the lock; whoever has it takes the news in before letting go, and looks again
// afterwards. Trains are pushed by whoever unlocks.
//
// Invariants under the lock, when it is free and there are no news:
//
//  1. A connection is off, in free, reserved by one socket that has it as psock, or stopped.
//  2. A socket that has something to send which may not wait has a connection or waits for
//     one; none waits while a connection is free.
//  3. What is charged to a socket is the sum of its open message, queue and train.
//  4. There is a train exactly while the socket has a connection.
type transmit struct {
	mux  *Mux
	most int // bytes of one message
	news atomic.Pointer[sending]
	made atomic.Uint64 // messages, and parts, that sockets were given

	mu       sync.Mutex
	sockets  []*Socket // open
	free     sendingList
	waiters  senderSockets
	able     int // connections free or reserved, and not stopped
	pushes   sendingQueue
	draining bool // no socket takes messages any more
	idle     []*idleWait
	stats    transmitStats
}

// transmitStats are totals, of connections and sockets that have ended as well.
type transmitStats struct {
	messages, bytes      uint64 // of sockets, taken whole by connections
	retries, discarded   uint64
	reserved, unreserved uint64
	aborts               uint64
	unattached           uint64 // while a socket had it
}

// trainBytes bounds several messages that travel together.
const trainBytes = 64 << 10

// trainMessages bounds their number.
const trainMessages = 256

// sending is what transmit knows of a connection that sockets may send on.
type sending struct {
	psock *Psock

	ticket   ring.Ticket
	task     ring.Task // push, on the loop
	news     atomic.Uint32
	accepted atomic.Int64 // with toldSettled
	nextNews *sending

	// Under transmit.mu.
	state      sendingState
	holder     *Socket
	prev, next *sending // in free
	wire       sgmsg.Message
	nextPush   *sending
	stats      struct{ messages, reserved, unreserved, aborts uint64 }
}

type sendingState uint8

const (
	sendingOff sendingState = iota
	sendingFree
	sendingReserved
	sendingStopped
)

// News of a connection.
const (
	toldOpen       uint32 = 1 << iota // it stands
	toldLeaving                       // it takes no new message
	toldFailed                        // for a cause: it is aborted
	toldUnattached                    // it is given back
	toldSettled                       // the train has come as far as accepted says
)

func newTransmit(m *Mux) *transmit {
	tx := &transmit{mux: m}
	for _, l := range m.loops {
		o := l.Options()
		if n := o.SendHard - o.SendSoft; tx.most == 0 || n < tx.most {
			tx.most = n
		}
	}
	return tx
}

// offer lets sockets send on p, once it stands and is established. Loop's thread.
func (p *Psock) offer() {
	if !p.shared || p.leaving || p.greeting != nil || p.sending != nil {
		return
	}
	k := &sending{psock: p}
	k.ticket.Settled = k.settled
	k.task.Run = func() {
		k.push()
		p.mux.tx.attend()
	}
	p.sending = k
	p.tell(toldOpen)
}

// tell leaves news of p for transmit. Loop's thread.
func (p *Psock) tell(what uint32) {
	if k := p.sending; k != nil {
		p.mux.tx.post(k, what)
		p.mux.tx.attend()
	}
}

// settled is the ticket's. Loop's thread.
func (k *sending) settled(accepted int) {
	k.accepted.Store(int64(accepted))
	tx := k.psock.mux.tx
	tx.post(k, toldSettled)
	tx.attend()
}

// post leaves news. Any goroutine.
func (tx *transmit) post(k *sending, what uint32) {
	if k.news.Or(what) != 0 {
		return // it is in the list
	}
	for {
		h := tx.news.Load()
		k.nextNews = h
		if tx.news.CompareAndSwap(h, k) {
			return
		}
	}
}

// attend sees to it that news are taken in, by us or by whoever has the lock.
func (tx *transmit) attend() {
	for tx.news.Load() != nil && tx.mu.TryLock() {
		tx.unlock()
	}
}

func (tx *transmit) lock() {
	tx.mu.Lock()
	tx.admit() // what a sender sees is what it left
}

// ownPushes is how many trains a caller of unlock pushes before it leaves them to loops,
// so that nobody does the others' work for ever.
const ownPushes = 8

func (tx *transmit) unlock() {
	own := ownPushes
	for {
		tx.admit()
		if invariants.Enabled && invariants.Sometimes(4) {
			tx.check()
		}
		q := tx.pushes
		tx.pushes = sendingQueue{}
		tx.mu.Unlock()
		for k := q.pop(); k != nil; k = q.pop() {
			own--
			if own < 0 && k.psock.shard.loop.PostTask(&k.task) {
				continue
			}
			k.push()
		}
		if tx.news.Load() == nil || !tx.mu.TryLock() {
			return
		}
	}
}

// push gives the train to the stream, and leaves news if that is all there was to it.
func (k *sending) push() {
	n := int64(k.wire.Len())
	whole, err := k.psock.stream.PushTicket(&k.wire, &k.ticket)
	switch {
	case err != nil: // it is ending: ErrClosed, ENOBUFS
		k.wire.Reset()
		k.accepted.Store(0)
		k.psock.mux.tx.post(k, toldSettled|toldLeaving) // of a failure we are told otherwise
	case whole:
		k.accepted.Store(n)
		k.psock.mux.tx.post(k, toldSettled)
	}
}

// admit takes the news in. Under the lock.
func (tx *transmit) admit() {
	var in *sending
	for k := tx.news.Swap(nil); k != nil; { // the oldest first
		k.nextNews, in, k = in, k, k.nextNews
	}
	for in != nil {
		k := in
		in = k.nextNews // before the next line, after which it may be in the list again
		what := k.news.Swap(0)
		if what&toldOpen != 0 && what&(toldLeaving|toldFailed) == 0 && k.state == sendingOff {
			tx.able++
			tx.give(k)
		}
		if what&toldUnattached != 0 && k.holder != nil {
			tx.stats.unattached++
		}
		if what&(toldLeaving|toldFailed) != 0 {
			tx.stop(k, what&toldFailed != 0)
		}
		if what&toldSettled != 0 {
			tx.settle(k, int(k.accepted.Load()))
		}
	}
}

// give hands a connection that has become free to the socket that has waited for longest.
func (tx *transmit) give(k *sending) {
	for s := tx.waiters.pop(); s != nil; s = tx.waiters.pop() {
		if tx.depart(k, s) {
			tx.bind(k, s)
			return
		}
	}
	k.state = sendingFree
	tx.free.push(k)
}

// start sees to it that what s has queued is on its way.
func (tx *transmit) start(s *Socket) {
	o := &s.out
	if o.psock != nil || o.waits || o.queue.head == nil {
		return
	}
	if k := tx.free.head; k != nil {
		if tx.depart(k, s) {
			tx.free.remove(k)
			tx.bind(k, s)
		}
		return
	}
	o.waits = true
	tx.waiters.push(s)
}

// shardOf returns the shard whose loop lent a message, nil if it is nobody's.
func (m *Mux) shardOf(origin uint32) *shard {
	if origin != 0 {
		for _, sh := range m.shards {
			if sh.origin == origin {
				return sh
			}
		}
	}
	return nil
}

// startLater has s start at the end of the loop's turn, with all that handlers send until
// then. Under the lock, on the loop's thread.
func (tx *transmit) startLater(s *Socket, sh *shard) {
	s.out.more = true
	if !s.out.later {
		s.out.later = true
		sh.starts = append(sh.starts, s)
		sh.hook()
	}
}

// sendTurnEnds is the sending part of turnEnds.
func (sh *shard) sendTurnEnds() {
	tx := sh.mux.tx
	if len(sh.starts) > 0 {
		tx.lock()
		for i, s := range sh.starts {
			s.out.later = false
			tx.flush(s)
			sh.starts[i] = nil
		}
		sh.starts = sh.starts[:0]
		tx.unlock()
	}
	if made := tx.made.Load(); made != sh.made && sh.loop.Short() && tx.mu.TryLock() {
		sh.made = made
		tx.unpin(sh)
		tx.unlock()
	}
}

// unpin copies what waits to be sent, or to be continued, out of the loop's receive buffers,
// which are short. Without memory for it they stay where they are.
func (tx *transmit) unpin(sh *shard) {
	for _, s := range tx.sockets {
		if sh.loop.Unpin(&s.out.open) != nil {
			return
		}
		for _, l := range [...]*parcelList{&s.out.queue, &s.out.train} {
			for p := l.head; p != nil; p = p.next {
				if sh.loop.Unpin(&p.msg) != nil {
					return
				}
			}
		}
	}
}

// flush starts a batch that was being collected.
func (tx *transmit) flush(s *Socket) {
	if s.out.more {
		s.out.more = false
		tx.start(s)
	}
}

// bind reserves a connection for s.
func (tx *transmit) bind(k *sending, s *Socket) {
	k.state, k.holder, s.out.psock = sendingReserved, s, k
	k.stats.reserved++
	tx.stats.reserved++
	tx.load(k)
}

// load makes the next train of the connection's socket, whose first message has departed.
func (tx *transmit) load(k *sending) {
	o := &k.holder.out
	o.more = false
	k.wire.Reset()
	for o.queue.head != nil && o.train.n < trainMessages {
		p := o.queue.head
		n := p.msg.Len()
		if o.train.n > 0 && k.wire.Len()+n > trainBytes {
			break
		}
		if o.train.n > 0 && !p.call.departs(k.psock) {
			tx.drop(o.queue.pop(), o)
			continue
		}
		if err := p.msg.Clone(&k.wire, 0, n); err != nil {
			panic("mux: cloning a whole message: " + err.Error()) // the range is the message's, and wire has no limit
		}
		o.train.push(o.queue.pop())
	}
	tx.pushes.push(k)
}

// settle notes how far the connection's train has come: that is the end of it.
func (tx *transmit) settle(k *sending, accepted int) {
	s := k.holder
	o := &s.out
	for o.train.head != nil && accepted >= o.train.head.msg.Len() {
		p := o.train.pop()
		n := p.msg.Len()
		accepted -= n
		p.call.arrives(k.psock)
		o.finish(p)
		k.stats.messages++
		tx.stats.messages++
		tx.stats.bytes += uint64(n)
	}
	if o.train.head != nil { // the connection has ended
		begun := accepted > 0
		tx.stop(k, begun)
		o.recall()
		switch {
		case o.gone:
			tx.stats.discarded += o.discard()
		case begun:
			o.stats.retries++
			tx.stats.retries++
		}
	}
	if k.state == sendingReserved && tx.waiters.head == nil && tx.depart(k, s) {
		tx.load(k)
	} else {
		tx.release(k)
		tx.start(s)
	}
	if o.waiting() == 0 {
		o.tellDrained()
		tx.tellIdle()
	}
	o.rouse(tx)
}

// release ends a reservation.
func (tx *transmit) release(k *sending) {
	k.holder.out.psock, k.holder = nil, nil
	k.stats.unreserved++
	tx.stats.unreserved++
	if k.state == sendingReserved {
		tx.give(k)
	}
}

// stop: the connection takes no new message. A train that is out may still arrive.
func (tx *transmit) stop(k *sending, failed bool) {
	if failed && k.stats.aborts == 0 && k.state != sendingOff {
		k.stats.aborts = 1
		tx.stats.aborts++
	}
	switch k.state {
	case sendingStopped:
		return
	case sendingFree:
		tx.free.remove(k)
		tx.able--
	case sendingReserved:
		tx.able--
	}
	k.state = sendingStopped
	if tx.able == 0 {
		for _, s := range tx.sockets { // those with Fail need not wait any longer
			s.out.rouse(tx)
		}
		tx.tellIdle()
	}
}

// enroll makes transmit know a new socket.
func (tx *transmit) enroll(s *Socket) {
	tx.lock()
	s.out.refuses = tx.draining
	tx.sockets = append(tx.sockets, s)
	tx.unlock()
}

// end is the end of a socket: what it has not begun to send is discarded.
func (tx *transmit) end(s *Socket) {
	tx.lock()
	tx.quit(s)
	tx.tellIdle()
	for i, x := range tx.sockets {
		if x == s {
			tx.sockets = append(tx.sockets[:i], tx.sockets[i+1:]...)
			break
		}
	}
	tx.unlock()
}

func (tx *transmit) quit(s *Socket) {
	o := &s.out
	o.refuses, o.gone, o.more = true, true, false
	o.dropOpen()
	tx.stats.discarded += o.discard()
	if o.waits {
		o.waits = false
		tx.waiters.remove(s)
	}
	o.tellDrained()
	for w := o.senders.head; w != nil; w = w.next {
		w.parker.Wake()
	}
	o.armed = o.writable != nil
	o.rouse(tx)
}

// refuse makes s take no more messages. What it returns is closed when connections have
// taken all that it has queued, or when it is discarded.
func (tx *transmit) refuse(s *Socket) <-chan struct{} {
	o := &s.out
	o.refuses = true
	o.dropOpen()
	tx.flush(s)
	for w := o.senders.head; w != nil; w = w.next {
		w.parker.Wake()
	}
	if o.drained == nil {
		o.drained = make(chan struct{})
	}
	done := o.drained
	if o.waiting() == 0 {
		o.tellDrained()
	}
	return done
}

// tellDrained lets CloseWithDrain go on.
func (o *outbound) tellDrained() {
	if o.drained != nil {
		close(o.drained)
		o.drained = nil
	}
}

// drain makes these sockets take no more messages, all and those to come when there is none,
// and waits until connections have taken what is queued, or none can take any, or ctx ends.
func (tx *transmit) drain(ctx context.Context, sockets ...*Socket) error {
	tx.lock()
	if sockets == nil {
		tx.draining = true
		sockets = slices.Clone(tx.sockets)
	}
	for _, s := range sockets {
		tx.refuse(s)
	}
	idle := &idleWait{sockets, make(chan struct{})}
	tx.idle = append(tx.idle, idle)
	tx.tellIdle()
	tx.unlock()
	return ctxUntil(ctx, idle.done)
}

// idleWait is a drain that waits.
type idleWait struct {
	sockets []*Socket
	done    chan struct{}
}

// tellIdle lets those drains go on that may.
func (tx *transmit) tellIdle() {
	tx.idle = slices.DeleteFunc(tx.idle, func(w *idleWait) bool {
		if tx.able > 0 && slices.ContainsFunc(w.sockets, func(s *Socket) bool { return s.out.waiting() > 0 }) {
			return false
		}
		close(w.done)
		return true
	})
}

// close ends all sockets. Connections are ended by others.
func (tx *transmit) close() {
	tx.lock()
	tx.draining = true
	for _, s := range tx.sockets {
		tx.quit(s)
	}
	tx.tellIdle()
	tx.unlock()
}

// sendingList is a FIFO of free connections.
type sendingList struct{ head, tail *sending }

func (l *sendingList) push(k *sending) {
	k.prev, k.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = k
	} else {
		l.head = k
	}
	l.tail = k
}

func (l *sendingList) remove(k *sending) {
	if k.prev != nil {
		k.prev.next = k.next
	} else {
		l.head = k.next
	}
	if k.next != nil {
		k.next.prev = k.prev
	} else {
		l.tail = k.prev
	}
	k.prev, k.next = nil, nil
}

func (l *sendingList) pop() *sending {
	k := l.head
	if k != nil {
		l.remove(k)
	}
	return k
}

// sendingQueue holds those whose train is to be pushed.
type sendingQueue struct{ head, tail *sending }

func (q *sendingQueue) push(k *sending) {
	k.nextPush = nil
	if q.tail != nil {
		q.tail.nextPush = k
	} else {
		q.head = k
	}
	q.tail = k
}

func (q *sendingQueue) pop() *sending {
	k := q.head
	if k != nil {
		q.head = k.nextPush
		if q.head == nil {
			q.tail = nil
		}
	}
	return k
}

// senderSockets is the FIFO of sockets that wait for a connection.
type senderSockets struct{ head, tail *Socket }

func (l *senderSockets) push(s *Socket) {
	s.out.next = nil
	if l.tail != nil {
		l.tail.out.next = s
	} else {
		l.head = s
	}
	l.tail = s
}

func (l *senderSockets) pop() *Socket {
	s := l.head
	if s != nil {
		l.remove(s)
		s.out.waits = false
	}
	return s
}

func (l *senderSockets) remove(s *Socket) {
	var last *Socket
	for at := &l.head; *at != nil; at = &(*at).out.next {
		if *at == s {
			*at = s.out.next
			if l.tail == s {
				l.tail = last
			}
			s.out.next = nil
			return
		}
		last = *at
	}
}
