package mux

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
)

// Policy decides which socket gets a message that is passed to the workers.
type Policy uint8

const (
	// Idle is first come, first served: messages wait in one queue, in the order
	// of their arrival, and only a reader that is free takes one. No message waits
	// while a reader waits.
	Idle Policy = iota
	// FIFO is the kernel's rule: sockets take turns, one for each ready callback
	// of a connection, and queue what they are given, whether anybody reads from
	// them or not. With FlowCap -1 it is so exactly; otherwise what must wait for
	// earlier messages of its connection is in no socket's queue meanwhile.
	FIFO
)

func (p Policy) String() string { return [...]string{"idle", "fifo"}[p] }

// steer is the part of a Mux that all loops and all readers share: it takes bursts
// from loops and gives them to readers.
//
//	loop 0 --+                          +--> reader
//	loop 1 --+--> inbox --> queue(s) ---+--> reader
//	loop 2 --+    (CAS)     (lock)      +--> reader
//
// Loops push to the inbox, one atomic operation, and then try the lock; whoever has
// it empties the inbox, and looks again after letting go. So a loop never waits for
// it. Readers do; what is done under the lock is a few dozen instructions, once for
// each burst.
//
// A connection is a flow (flow.go): at most cap readers are at work on it at a time. What
// finds no slot waits in the connection's backlog, so that the queues hold only what may
// start.
//
// Invariants under the lock, when it is free and the inbox is empty:
//
//  1. A burst is in one place: a queue's ready or resumed, a flow's backlog, parked,
//     held, or with users > 0 in active if it has messages left.
//  2. A flow's slots are the readers at work on it and its bursts in queues or held, at
//     most cap; with a backlog they are cap, or the flow is barred.
//  3. While a reader is in a queue's idle list, nothing in that queue could start.
//  4. A parked connection has one burst, of one message, in parked or at the end of its
//     backlog.
//  5. FIFO: a socket is in waiters, or bound to one connection, or neither (full, closed
//     or disabled).
//  6. A reader that waits is in an idle list, or in the dormant list of its socket, which is
//     disabled.
type steer struct {
	mux       *Mux
	fifo      bool
	cap       int
	limit     int64        // bytes charged to a queue, or all backlogs, above which it takes no more
	flowLimit int64        // to one backlog
	behind    atomic.Int64 // charged to all backlogs

	inbox atomic.Pointer[burst]
	freed atomic.Pointer[Psock] // flows to be let in, by unbar
	clock func() time.Duration

	lingerBytes int

	readers atomic.Pointer[[]*Reader] // whose replies may wait; replaced under mu
	watched atomic.Bool               // quiet is set, or about to be
	quiet   *time.Timer               // nil when loops are driven by hand

	scarce  atomic.Bool // there are no more Ps than loops
	crowded atomic.Bool // Idle: somebody is parked, and who comes later parks behind

	mu      sync.Mutex
	shared  queue     // Idle: everybody's
	seq     uint64    // of the burst admitted last
	waiting int       // messages in backlogs
	parked  burstList // each is the one message a paused connection could not pass on
	sockets []*Socket
	indices indices // of sockets
	closed  bool
	stats   dispatchStats

	slow, rejected, drops atomic.Uint64
	partsDropped          atomic.Uint64

	// FIFO.
	waiters socketList // that take the next connection
	hold    burstList  // of closed and disabled sockets, while no socket is waiting
}

// queue is a bounded FIFO of bursts with the readers that wait for them. Under
// steer.mu, except charge.
type queue struct {
	ready    burstList    // by order of admission
	resumed  burstList    // by when they got their slot: of flows that had none
	active   []*burst     // being read, with messages left that others may claim
	idle     *Reader      // waiting, the last one first: its caches are warm
	idlers   int          // their number
	coming   int          // readers that were woken and have not looked yet
	watchers *Socket      // whose channel is armed
	charge   atomic.Int64 // of bursts that no reader has taken
	codel    codel
}

func newSteer(m *Mux) *steer {
	st := &steer{mux: m, fifo: m.opt.Policy == FIFO, cap: m.opt.FlowCap, limit: int64(m.opt.QueueBytes)}
	st.clock = m.loops[0].Now
	st.lingerBytes = min(lingerBytes, m.loops[0].Options().SendSoft)
	st.readers.Store(new([]*Reader))
	if !m.loops[0].ByHand() {
		st.quiet = time.AfterFunc(time.Hour, st.expire)
		st.quiet.Stop() // until a reply waits
	}
	st.scarce.Store(runtime.GOMAXPROCS(0) <= len(m.loops))
	st.flowLimit = max(st.limit/8, 1)
	st.shared.codel = st.newCodel()
	return st
}

func (st *steer) newCodel() codel {
	return codel{target: st.mux.opt.DelayTarget, interval: st.mux.opt.DelayInterval}
}

// push hands bursts over, linked in reverse order of their arrival. Any goroutine;
// it does not wait. It reports whether it woke a reader.
func (st *steer) push(newest, oldest *burst) bool {
	for {
		h := st.inbox.Load()
		oldest.next = h
		if st.inbox.CompareAndSwap(h, newest) {
			break
		}
	}
	return st.drain()
}

// drain sees to it that what is in the inbox is admitted, by us or by whoever has the
// lock.
func (st *steer) drain() (woke bool) {
	for st.asked() && st.mu.TryLock() {
		woke = st.unlock() || woke
	}
	return woke
}

// asked reports whether there is something to admit.
func (st *steer) asked() bool { return st.inbox.Load() != nil || st.freed.Load() != nil }

// lock and unlock bracket whatever readers and sockets do. unlock reports whether it
// woke a reader.
func (st *steer) lock() { st.mu.Lock() }

func (st *steer) unlock() (woke bool) {
	for {
		var wake *Reader
		st.admit(&wake)
		if invariants.Enabled && invariants.Sometimes(4) {
			st.check()
		}
		st.mu.Unlock()
		for wake != nil {
			rd := wake
			wake = rd.next
			rd.next = nil
			rd.wake()
			woke = true
		}
		// A push that found the lock taken came before this look or looks itself.
		if !st.asked() || !st.mu.TryLock() {
			return woke
		}
	}
}

// admit empties the inbox into the queues, and notes whom to wake.
func (st *steer) admit(wake **Reader) {
	st.admitFreed()
	var in *burst
	for b := st.inbox.Swap(nil); b != nil; {
		b.next, in, b = in, b, b.next
	}
	for in != nil {
		b := in
		in, b.next = b.next, nil
		f := b.psock.flow
		b.nth = f.admitted + 1
		f.admitted += uint64(len(b.lens))
		switch {
		case st.closed:
			s, how := b.socket, b.unbind
			st.discard(b)
			if s != nil && how != bound { // if it is closed, close did not see it
				st.empty(&s.own)
			}
		case st.fifo:
			st.admitFIFO(b)
		case st.spare(b.psock) <= 0:
			st.admitToFlow(&st.shared, b)
		case b.parked && (st.parked.head != nil || st.shared.charge.Load() >= st.limit):
			st.parked.push(b)
			st.crowded.Store(true)
		default:
			if b.parked {
				st.shared.charge.Add(int64(b.charge))
				st.unpark(b)
			}
			st.start(&st.shared, b)
		}
	}
	if !st.fifo {
		st.relax(&st.shared, nil, st.shared.charge.Load()) // backlogs may have taken some
		st.rouse(&st.shared, wake)
		return
	}
	for _, s := range st.sockets {
		st.rouse(&s.own, wake)
	}
}

// start puts a charged burst in a queue, with a slot of its flow.
func (st *steer) start(q *queue, b *burst) {
	b.psock.flow.slots++
	st.number(b)
	q.ready.push(b)
}

func (st *steer) number(b *burst) {
	st.seq++
	b.seq = st.seq
}

// rouse takes as many readers off the idle list as there are messages that could
// start.
func (st *steer) rouse(q *queue, wake **Reader) {
	if q.watchers != nil {
		st.tell(q)
	}
	if q.idle == nil {
		return
	}
	n := -q.coming
	for _, b := range q.active {
		n += min(b.rest(), st.spare(b.psock))
	}
	for _, l := range [...]*burst{q.resumed.head, q.ready.head} {
		for b := l; b != nil && n < q.idlers; b = b.next {
			n += 1 + max(0, min(b.rest()-1, st.spare(b.psock)))
		}
	}
	for ; n > 0 && q.idle != nil; n-- {
		rd := q.idle
		q.idle = rd.next
		q.idlers--
		q.coming++
		rd.state = called
		rd.next, *wake = *wake, rd
	}
}

// stale is how long a reader may be at a burst before others, done with theirs, come
// to its help rather than take a newer one: one of its messages takes long.
const stale = 50 * time.Microsecond

// take finds work for a reader of the queue: a burst nobody has, or one to join.
func (st *steer) take(q *queue, now time.Duration) *burst {
	if b := st.joinable(q, now); b != nil {
		return st.join(b, now)
	}
	b := st.first(q)
	if b == nil {
		return nil
	}
	q.remove(b)
	st.discharge(q, b, b.charge, now)
	b.users, b.started = 1, now
	if st.cap > 1 && len(b.lens) > 1 {
		q.active = append(q.active, b)
	}
	return b
}

// joinable returns a burst that others are at and one more may join; as long as there
// are new ones only such as take long.
func (st *steer) joinable(q *queue, now time.Duration) *burst {
	if len(q.active) == 0 {
		return nil
	}
	any := q.head() == nil
	for _, b := range q.active {
		if (any || now-b.started > stale) && b.rest() > 0 && st.spare(b.psock) > 0 && !st.bars(b) {
			return b
		}
	}
	return nil
}

func (st *steer) join(b *burst, now time.Duration) *burst {
	b.psock.flow.slots++
	b.users++
	b.started = now
	st.stats.Stolen++
	return b
}

// discharge notes that a reader has taken n charged bytes of b, the oldest of the
// queue, and lets in who waits for room.
func (st *steer) discharge(q *queue, b *burst, n int, now time.Duration) {
	b.charge -= n
	charge := q.charge.Add(-int64(n))
	q.codel.observe(now-b.arrived, now)
	st.relax(q, b.socket, charge)
}

// relax lets in who waits for room in a queue, that of a socket with FIFO, whose charge
// has fallen.
func (st *steer) relax(q *queue, s *Socket, charge int64) {
	if st.fifo {
		if s != nil && (charge < s.low || st.starved(s)) {
			st.readyFIFO(s)
		}
		return
	}
	if charge > st.limit/2 || st.parked.head == nil {
		return
	}
	for q.charge.Load() < st.limit && st.parked.head != nil {
		b := st.parked.pop()
		if st.spare(b.psock) <= 0 {
			st.admitToFlow(q, b)
			continue
		}
		q.charge.Add(int64(b.charge))
		st.unpark(b)
		st.start(q, b)
	}
	st.crowded.Store(st.parked.head != nil)
}

// unpark lets the connection of a parked burst go on.
func (st *steer) unpark(b *burst) {
	b.parked = false
	b.psock.unpark()
}

// leave ends a reader's work at a burst, whose slot becomes free. Messages it did not
// start are for others. done: the burst is finished; the caller recycles it after
// unlocking.
func (st *steer) leave(q *queue, b *burst) (done bool) {
	if b.rest() > 0 {
		st.bars(b)
	}
	b.users--
	rest := b.rest()
	if b.users == 0 || rest == 0 {
		st.retire(q, b)
	}
	if b.users == 0 && rest > 0 { // its reader was stopped, or the flow is barred
		st.stats.Delay.record(b.waited, -rest) // they wait on
		st.putBack(b)
		return false
	}
	st.free(b.psock)
	return b.users == 0
}

// putBack returns a burst with messages left, and a slot, to the front of its queue.
func (st *steer) putBack(b *burst) {
	switch {
	case st.closed:
		st.drop(b)
	case b.psock.flow.gate.Load() != gateOpen && b.full(): // what all others wait for stays
		b.psock.flow.slots--
		st.shelve(b)
	case b.socket != nil && b.socket.shut():
		st.rehome(b)
	default:
		st.queueOf(b).resumed.pushFront(b)
	}
}

// retire takes b off the bursts that others may join.
func (st *steer) retire(q *queue, b *burst) {
	for i, a := range q.active {
		if a == b {
			last := len(q.active) - 1
			q.active[i] = q.active[last]
			q.active[last] = nil
			q.active = q.active[:last]
			return
		}
	}
}

func (st *steer) queueOf(b *burst) *queue {
	if b.socket != nil {
		return &b.socket.own
	}
	return &st.shared
}

// discard drops the messages of a burst that nobody will read.
func (st *steer) discard(b *burst) {
	n := b.rest()
	st.stats.Discarded += uint64(n)
	st.dropped(b)
}

// dropped ends a burst that nobody will read.
func (st *steer) dropped(b *burst) {
	n, p := b.rest(), b.psock
	if b.parked {
		st.unpark(b)
	}
	st.recycle(b)
	p.settle(n)
}

// recycle gives a finished burst back to its loop.
func (st *steer) recycle(b *burst) { b.psock.shard.passing.pool.put(b) }

// close drops what is queued and tells every reader.
func (st *steer) close() {
	st.lock()
	var woken *Reader
	st.admit(&woken)
	st.closed = true
	sockets := slices.Clone(st.sockets)
	var queues []*queue
	if st.fifo {
		for _, s := range st.sockets {
			queues = append(queues, &s.own)
		}
	}
	queues = append(queues, &st.shared)
	var readers []*Reader
	for _, q := range queues {
		st.empty(q)
		for rd := q.idle; rd != nil; rd = rd.next {
			rd.state = busy
			readers = append(readers, rd)
		}
		q.idle = nil
		q.idlers = 0
	}
	for _, s := range st.sockets {
		for rd := s.dormant; rd != nil; rd = rd.next {
			rd.state = busy
			readers = append(readers, rd)
		}
		s.dormant = nil
		st.disarm(s)
	}
	for b := st.hold.pop(); b != nil; b = st.hold.pop() {
		st.drop(b)
	}
	for b := st.parked.pop(); b != nil; b = st.parked.pop() {
		st.discard(b)
	}
	st.unlock()
	for woken != nil {
		rd := woken
		woken = rd.next
		readers = append(readers, rd)
	}
	for _, rd := range readers {
		rd.next = nil
		rd.wake()
	}
	for _, s := range sockets {
		s.forfeit()
	}
	if st.quiet != nil {
		st.quiet.Stop()
	}
}

// empty drops what is in a queue.
func (st *steer) empty(q *queue) {
	for _, l := range [...]*burstList{&q.ready, &q.resumed} {
		for b := l.pop(); b != nil; b = l.pop() {
			q.charge.Add(-int64(b.charge))
			st.drop(b)
		}
	}
}

// drop discards a burst that has a slot, and its flow's backlog.
func (st *steer) drop(b *burst) {
	p := b.psock
	p.flow.slots--
	st.discard(b)
	for b := st.unshelve(p); b != nil; b = st.unshelve(p) {
		st.discard(b)
	}
}

// report adds the counters to a snapshot.
func (st *steer) report(s *Stats) {
	st.lock()
	d := &st.stats
	s.Received, s.Discarded, s.Stolen, s.Delay = d.Received, d.Discarded, d.Stolen, d.Delay
	s.Queued = st.waiting
	count := func(b *burst) {
		for ; b != nil; b = b.next {
			s.Queued += b.rest()
		}
	}
	queues := []*queue{&st.shared}
	for _, x := range st.sockets {
		queues = append(queues, &x.own)
	}
	for _, q := range queues {
		count(q.ready.head)
		count(q.resumed.head)
	}
	count(st.parked.head)
	count(st.hold.head)
	st.unlock()
	s.RxDrops += st.drops.Load()
	s.RxDropped = st.partsDropped.Load()
	s.Rejected, s.Slow = st.rejected.Load(), st.slow.Load()
}

// noCap is the FlowCap of flows without one.
const noCap = math.MaxInt32
