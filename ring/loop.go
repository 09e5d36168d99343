package ring

import (
	"fmt"
	"os"
	"runtime"
	"runtime/trace"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kcm-go/kcm/affinity"
	"github.com/kcm-go/kcm/internal/budget"
	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/uring"
	"github.com/kcm-go/kcm/sgmsg"
)

// Loop is one event loop: one goroutine locked to one thread, owning one
// backend, its memory, its endpoints and its timers.
//
// Invariants:
//
//  1. Everything except Post, PostTask, Do, Stats, Close, Done, OnThread, Wake, Alloc, Unpin,
//     Now, Backend, Notes, Options and WriteState is called on the loop's thread.
//  2. An endpoint's slot is reused only after each of its operations has had
//     its final event.
//  3. While the loop sleeps no inbox task, no ready stream and no dirty stream
//     waits.
type Loop struct {
	opt Options
	be  backend.Backend
	mem *memory

	inbox    inbox
	sleeping atomic.Bool
	tid      atomic.Int64 // thread of the running loop; 0 before and after
	manual   bool         // driven by Turn
	begun    atomic.Bool  // Start was called, or Close before it

	slots []slot
	avail []uint32 // free slots, most recently freed last
	live  int      // endpoints not yet closed

	wheel wheel
	still standstill
	ready streamList // unread chunks or news to deliver
	dirty streamList // bytes to send
	stuck streamList // waiting for write space
	dying streamList // closing, no operation left in flight
	// Streams that wait for memory, first come first served.
	starved streamList // for a receive buffer
	queued  streamList // for large-region memory
	held    streamList // unread bytes left after delivery
	victim  *Stream    // the last one that sacrifice ended
	eager   streamList // region memory reserved ahead of need

	packets   [packetLists]packetList
	batch     []Datagram     // what a PacketHandler is given; nil before the first
	packetOut *packetScratch // nil before the first send

	events  []backend.Event
	vector  []sgmsg.Element
	spin    spinner
	hooks   []func() bool
	alarm   time.Duration // next turn asked for by Alarm; 0: none
	yielded time.Duration // when the loop last let others run
	gives   bool          // see Yield
	err     error         // what ended the loop
	stop    bool
	stopped chan struct{}
	once    sync.Once
	journal *journal // nil without Options.Logger
	tracer  tracer

	stats LoopStats

	_      [64]byte // others write here: not into the loop's cache lines
	direct struct{ writes, bytes atomic.Uint64 }
}

type slot struct {
	gen uint32
	ep  completer
}

// completer is what an endpoint is to its loop.
type completer interface {
	complete(ev *backend.Event)
	end(cause error)
	abandon()
}

// New makes a loop and opens its backend; it does not run yet. Errors: EINVAL
// for options, ENOMEM for memory, EMFILE for descriptors, and with Options.Backend URing
// whatever io_uring was refused with, explained.
func New(o Options) (*Loop, error) { return newLoop(nil, o) }

// NewWith is New over another backend. Only packages of this module can name
// the type of the argument: it is the simulator's door. Such a loop is driven
// by calling Turn; it has no goroutine.
func NewWith(open func(backend.Config) (backend.Backend, error), o Options) (*Loop, error) {
	l, err := newLoop(open, o)
	if err != nil {
		return nil, err
	}
	l.manual = true
	return l, l.begin()
}

func newLoop(with func(backend.Config) (backend.Backend, error), o Options) (*Loop, error) {
	if err := o.fill(budget.MemoryMax(os.DirFS("/"))); err != nil {
		return nil, err
	}
	l := &Loop{
		opt:     o,
		events:  make([]backend.Event, 256),
		vector:  make([]sgmsg.Element, 0, backend.MaxVector),
		stopped: make(chan struct{}),
		slots:   make([]slot, 1), // slot 0 stays unused
	}
	l.initLists()
	l.journal = newJournal(&l.opt)
	l.spin.limit = o.Spin
	l.spin.budget = o.Spin
	var err error
	if l.mem, err = newMemory(&l.opt, l.Wake); err != nil {
		return nil, err
	}
	if with == nil {
		with = open(o.Backend, o.use)
	}
	l.be, err = with(backend.Config{Pool: l.mem.recv, Mapping: l.mem.mapping, Entries: 1024, RecvBytes: o.Credit})
	if err != nil {
		l.mem.unmap()
		return nil, fmt.Errorf("ring: %w", err)
	}
	return l, nil
}

// Start runs the loop in a goroutine of its own, locked to its thread. It
// returns when the backend is up. On error, and after Close (ErrClosed), the loop
// is at its end.
func (l *Loop) Start() error {
	if !l.begun.CompareAndSwap(false, true) {
		return fmt.Errorf("ring: start: the loop was started or closed before: %w", ErrClosed)
	}
	ready := make(chan error)
	go func() {
		// Never unlocked: the thread's affinity mask and the ring's single
		// issuer are this loop's, so the thread must die with it.
		runtime.LockOSThread()
		l.label()
		if l.opt.use.Has(uring.ShortSlice) {
			_ = shortenSlice() // without it wakes take longer
		}
		if l.opt.Pin && l.opt.CPU >= 0 {
			if err := affinity.Pin(l.opt.CPU); err != nil {
				_ = l.be.Close()
				ready <- fmt.Errorf("ring: pin to CPU %d: %w", l.opt.CPU, err)
				return
			}
		}
		if err := l.begin(); err != nil {
			ready <- err
			return
		}
		ready <- nil
		for l.Turn() {
		}
	}()
	if err := <-ready; err != nil {
		l.retire()
		return err
	}
	return nil
}

func (l *Loop) begin() error {
	l.tid.Store(threadID())
	if err := l.be.Start(); err != nil {
		_ = l.be.Close()
		return fmt.Errorf("ring: %w", err)
	}
	l.be.Provide(l.mem.all())
	now := l.be.Now()
	l.still = standstill{from: now, due: now}
	l.wheel.now = int64(now / tick)
	l.tellBegun()
	return nil
}

// Turn is one pass of the loop; it reports whether the loop goes on. Only a
// loop made by NewWith is driven by calling it.
//
//	inbox -> buffers -> timers -> one send per connection -> one wait
//	-> completions to their endpoints -> DataReady once per stream
func (l *Loop) Turn() bool {
	l.stats.Turns++
	for t := l.inbox.take(); t != nil; {
		next := t.next
		t.next = nil
		t.Run()
		t = next
	}
	l.feed()
	now := l.be.Now()
	l.wheel.advance(int64(l.still.turn(now) / tick))
	l.flush()
	l.bury()
	if l.stop && l.live == 0 {
		l.finish()
		return false
	}
	if l.tracer.task != nil {
		l.tracer.rest(false)
	}
	n, err := l.wait()
	if trace.IsEnabled() && !l.manual { // a region stays on one goroutine
		l.tracer.turn(l.opt.Name)
	}
	if err != nil {
		l.fail(err)
		return false
	}
	l.stats.Events += uint64(n)
	for i := range l.events[:n] {
		ev := &l.events[i]
		if ev.Buf != 0 {
			l.mem.free--
		}
		s := &l.slots[ev.Key.Slot()]
		if s.ep == nil || s.gen&0xffffff != ev.Key.Gen() {
			invariants.Check(false, "ring: event for a slot that is not in use")
			if ev.Buf != 0 {
				ev.Buf.Release()
			}
			continue
		}
		s.ep.complete(ev)
	}
	l.deliver()
	l.deliverPackets()
	if l.alarm > 0 && l.be.Now() >= l.alarm {
		l.alarm = 0
	}
	l.runHooks()
	if now-l.yielded >= yieldEvery && !l.manual {
		l.yielded = now
		runtime.Gosched()
	}
	if l.manual { // what is between two turns is sleep
		l.still.pass(l.be.Now())
		l.still.until(forever)
	}
	return true
}

func (l *Loop) runHooks() {
	for i := 0; i < len(l.hooks); {
		if l.hooks[i]() {
			i++
		} else {
			l.hooks = slices.Delete(l.hooks, i, i+1)
		}
	}
}

// yieldEvery keeps the Go scheduler's monitor from taking the loop for a
// goroutine that hogs its processor. One that has not been scheduled for 10 ms
// has its P taken away in each system call it is seen in, which costs a loop that
// sleeps often 5 to 17 % of its time; being scheduled now and then costs next to
// nothing.
const yieldEvery = 5 * time.Millisecond

// wait asks the backend for events: without sleeping while there is work, else
// until the next timer, after having looked for a while if that lately paid.
func (l *Loop) wait() (int, error) {
	if l.ready.head != nil || l.dirty.head != nil || l.dying.head != nil || l.packetsWork() || !l.inbox.empty() {
		return l.be.Wait(l.events, 0)
	}
	n, err := l.sleep()
	now := l.be.Now()
	l.still.pass(now)
	l.still.until(now)
	return n, err
}

// sleep is wait when there is nothing to do.
func (l *Loop) sleep() (int, error) {
	timeout := l.nap()
	if l.spin.budget > 0 && timeout != 0 {
		if n, err := l.look(timeout); n > 0 || err != nil || !l.inbox.empty() {
			return n, err
		}
		timeout = l.nap()
	}
	if l.gives {
		l.gives = false
		runtime.Gosched()
	}
	// A poster pushes first and looks at sleeping second; we set sleeping first
	// and look at the inbox second. One of us sees the other.
	l.sleeping.Store(true)
	if !l.inbox.empty() || l.mem.tight.Load() || l.mem.hungry.Load() && l.mem.returned.Load() != 0 {
		timeout = 0
	}
	// Nor may region memory that was released since feed be overlooked.
	if s := l.queued.head; s != nil && s.grant() {
		l.queued.remove(s)
		s.steer()
		timeout = 0
	}
	n, err := l.be.Wait(l.events, timeout)
	l.sleeping.Store(false)
	return n, err
}

// nap returns how long the loop may sleep: until the next timer or alarm, or
// negative for as long as it likes.
func (l *Loop) nap() time.Duration {
	now := l.be.Now()
	l.still.pass(now)
	next := time.Duration(-1)
	if l.wheel.count > 0 {
		next = time.Duration(l.wheel.nextTick())*tick + l.still.lost
	}
	if l.alarm > 0 && (next < 0 || l.alarm < next) {
		next = l.alarm
	}
	if next < 0 {
		l.still.until(forever)
		return -1
	}
	l.still.until(max(next, now))
	return max(next-now, 0)
}

// look polls for events for up to the spin budget.
func (l *Loop) look(timeout time.Duration) (int, error) {
	start := l.be.Now()
	limit := l.spin.budget
	if timeout > 0 {
		limit = min(limit, timeout)
	}
	for {
		n, err := l.be.Wait(l.events, 0)
		if n > 0 || err != nil || !l.inbox.empty() {
			l.spin.hit()
			l.stats.SpinHits++
			return n, err
		}
		if l.be.Now()-start >= limit {
			l.spin.miss()
			l.stats.SpinMisses++
			return 0, nil
		}
	}
}

// feed returns released buffers to the backend, serves those who wait for
// memory, and makes room when it is short.
func (l *Loop) feed() {
	if l.mem.returned.Load() != 0 {
		l.be.Provide(l.mem.refill())
		for s := l.queued.head; s != nil; { // some may do with buffers now
			next := l.queued.link(s).next
			if !s.large() || !l.mem.low() {
				l.queued.remove(s)
				s.steer()
			}
			s = next
		}
	}
	if l.mem.low() {
		l.evict()
	}
	if l.mem.tight.Swap(false) {
		l.sacrifice()
	}
	for n := l.starved.n; n > 0 && l.mem.free > 0; n-- {
		l.starved.pop().steer()
	}
	l.feedPackets()
	for l.queued.head != nil && l.queued.head.grant() {
		l.queued.pop().steer()
	}
	if l.queued.head != nil {
		l.reclaim()
	}
	l.mem.hungry.Store(l.starved.head != nil || l.queued.head != nil || l.packets[packetStarved].head != nil)
}

// deliver calls DataReady once for each stream with news, up to the byte cap.
func (l *Loop) deliver() {
	left := l.opt.TurnBytes
	for n := l.ready.n; n > 0 && left > 0; n-- {
		s := l.ready.pop()
		if s == nil { // a handler took others off the list
			break
		}
		before := s.unread.Len()
		s.deliver()
		left -= before - s.unread.Len()
	}
}

// flush starts one send for each stream that has something new to send.
func (l *Loop) flush() {
	for s := l.dirty.pop(); s != nil; s = l.dirty.pop() {
		s.transmit()
	}
	l.sendPackets()
}

// bury finishes the streams whose last operation has ended.
func (l *Loop) bury() {
	for s := l.dying.pop(); s != nil; s = l.dying.pop() {
		s.bury()
	}
	l.buryPackets()
}

// Post runs fn on the loop's thread, after the tasks posted before it. It never
// blocks. It reports false when the loop has been closed; fn will not run then.
func (l *Loop) Post(fn func()) bool { return l.PostTask(&Task{Run: fn}) }

// PostTask is Post without the allocation.
func (l *Loop) PostTask(t *Task) bool {
	if !l.inbox.push(t) {
		return false
	}
	l.Wake()
	return true
}

// Wake makes a sleeping loop take a turn. It costs one atomic load when the loop
// is awake.
func (l *Loop) Wake() {
	if l.sleeping.Load() && l.sleeping.CompareAndSwap(true, false) {
		l.be.Wake()
	}
}

// ByHand reports whether the loop is driven by calling Turn (NewWith).
func (l *Loop) ByHand() bool { return l.manual }

// Do runs fn on the loop's thread and waits for it. On the loop's own thread
// it returns EDEADLK without running fn, on a closed loop ErrClosed.
func (l *Loop) Do(fn func()) error {
	if l.OnThread() {
		return ErrDeadlock
	}
	done := make(chan struct{})
	if !l.Post(func() { fn(); close(done) }) {
		return ErrClosed
	}
	select {
	case <-done:
		return nil
	case <-l.stopped:
		select {
		case <-done:
			return nil
		default:
			return ErrClosed
		}
	}
}

// OnThread reports whether the caller runs on the loop's thread.
func (l *Loop) OnThread() bool {
	return l.manual || l.tid.Load() == threadID()
}

// EachTurn registers fn to be called on the loop's thread at the end of every
// turn, after all streams were served, until it returns false. Call it on the loop's
// thread.
func (l *Loop) EachTurn(fn func() (again bool)) { l.hooks = append(l.hooks, fn) }

// Alarm asks for a turn at a time of the loop's clock, whatever else happens, with
// the precision of the system's timers rather than the wheel's millisecond: for
// pacing. It is good for one turn and replaces an earlier Alarm; 0 takes it back. The functions given to
// EachTurn run at the end of that turn. Loop's thread.
func (l *Loop) Alarm(at time.Duration) { l.alarm = at }

// Yield asks the loop to let other goroutines run before it sleeps next. A loop that
// sleeps in the kernel keeps its P for a while, so goroutines it has just made
// runnable may have to wait if there are no more Ps (GOMAXPROCS) than loops. Loop's
// thread.
func (l *Loop) Yield() { l.gives = !l.manual }

// Now is the loop's clock: monotonic, from an arbitrary zero. Safe for concurrent
// use, except over the simulator, whose time is moved by hand.
func (l *Loop) Now() time.Duration { return l.be.Now() }

// Backend returns the name of the backend in force: io_uring, epoll or sim.
func (l *Loop) Backend() string { return l.be.Name() }

// Notes says, a line each, what the loop has to do without and why.
func (l *Loop) Notes() []string {
	notes := l.be.Notes()
	if l.opt.note != "" {
		notes = append(slices.Clip(notes), l.opt.note)
	}
	return notes
}

// Short reports that fewer than half of the receive buffers are with the back end.
// Whoever queues received messages for others should then Unpin them, as the buffers
// are needed to receive. Loop's thread.
func (l *Loop) Short() bool { return l.mem.free*2 < l.mem.recv.Blocks() }

// Unpin copies what m holds of the loop's receive buffers to private memory, so that
// they can be filled again. On error (ENOMEM) m is unchanged. Safe for concurrent use
// with different messages.
func (l *Loop) Unpin(m *sgmsg.Message) error { return m.Compact(l.mem.recv, l.mem.spill) }

// Options returns the options in force, defaults filled in.
func (l *Loop) Options() Options { return l.opt }

// Alloc implements sgmsg.Allocator with the loop's private memory, for replies
// and copies. Safe for concurrent use. The error is ENOMEM when Options.SpillBytes
// are in use.
// A refusal makes the loop end the connection that has for longest not taken what
// was sent to it, so that memory comes back.
func (l *Loop) Alloc(n int) (sgmsg.Element, error) {
	e, err := l.mem.spill.Alloc(n)
	if err != nil && !l.mem.tight.Swap(true) {
		l.Wake()
	}
	return e, err
}

// Close ends every endpoint, stops the loop and waits until its memory is no
// longer touched. Messages somebody still holds keep their memory until they are
// released. On the loop's own thread it starts the closing and returns EDEADLK.
// Closing twice is legal.
func (l *Loop) Close() error {
	l.once.Do(func() {
		if !l.manual && l.begun.CompareAndSwap(false, true) { // never started
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			l.tid.Store(threadID())
			l.stop = true
			l.finish()
			return
		}
		l.Post(func() {
			l.stop = true
			l.endAll(ErrClosed)
		})
	})
	for l.manual {
		select {
		case <-l.stopped:
			return nil
		default:
			l.Turn()
		}
	}
	if l.OnThread() {
		return ErrDeadlock
	}
	<-l.stopped
	return nil
}

// Err returns what ended the loop: nil while it runs and after Close. It may be
// called once Done is closed.
func (l *Loop) Err() error { return l.err }

// Done is closed when the loop has ended.
func (l *Loop) Done() <-chan struct{} { return l.stopped }

func (l *Loop) endAll(cause error) {
	for i := range l.slots {
		if ep := l.slots[i].ep; ep != nil {
			ep.end(cause)
		}
	}
}

// fail ends a loop whose backend no longer works: every endpoint gets the
// error, none of its operations is waited for.
func (l *Loop) fail(err error) {
	l.err = fmt.Errorf("ring: %s: %w", l.be.Name(), err)
	l.stop = true
	l.endAll(l.err)
	_ = l.be.Close() // from here on the kernel touches nothing of ours
	for i := range l.slots {
		if ep := l.slots[i].ep; ep != nil {
			ep.abandon()
		}
	}
	l.bury()
	l.retire()
}

func (l *Loop) finish() {
	_ = l.be.Close()
	l.retire()
}

func (l *Loop) retire() {
	for t := l.inbox.close(); t != nil; t = t.next {
		t.Run() // tasks that raced with the end see a loop without endpoints
	}
	l.tellEnded()
	l.tracer.rest(true)
	l.snapshot() // the last figures, for Stats
	l.tid.Store(0)
	l.mem.unmap()
	close(l.stopped)
}

// enroll gives an endpoint a slot.
func (l *Loop) enroll(ep completer) (id, gen uint32) {
	if n := len(l.avail); n > 0 {
		id = l.avail[n-1]
		l.avail = l.avail[:n-1]
	} else {
		id = uint32(len(l.slots))
		l.slots = append(l.slots, slot{})
	}
	l.slots[id].ep = ep
	l.live++
	return id, l.slots[id].gen
}

// dismiss frees a slot and starts its next generation.
func (l *Loop) dismiss(id uint32) {
	l.slots[id].ep = nil
	l.slots[id].gen++
	l.avail = append(l.avail, id)
	l.live--
}
