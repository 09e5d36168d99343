package ringtest

import (
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

// loop is the back end of one loop.
type loop struct {
	sim     *Sim
	index   int16
	pool    *sgmsg.Arena
	entries int
	closed  bool
	stats   backend.Stats

	free  []sgmsg.BufID // provided buffers
	given []bool        // by block: provided and not come back
	queue []entry
	done  []completion // events to deliver; one operation's are in order

	flight map[backend.Key]*op

	woken atomic.Bool

	// What the last Wait was like: whether it would have slept, and until when.
	waited uint64 // the number of the Step it was in
	asleep bool
	wakeAt time.Duration // or never
	nudged bool          // another loop's Wait has already ended for this one
}

// entry is a queued operation or a queued cancel of one.
type entry struct {
	op     *op
	id     uint64
	cancel bool
}

type completion struct {
	op *op
	at time.Duration
	ev backend.Event
}

func (l *loop) Name() string         { return "sim" }
func (l *loop) Notes() []string      { return nil }
func (l *loop) Start() error         { return nil }
func (l *loop) Now() time.Duration   { return l.sim.now }
func (l *loop) Stats() backend.Stats { return l.stats }
func (l *loop) Wake()                { l.woken.Store(true) }

// Close forgets the loop. Connections that it accepted but never delivered are
// closed, since nobody else knows them.
func (l *loop) Close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	for _, c := range l.done {
		if c.op.kind == backend.OpAccept && c.ev.Res >= 0 {
			l.sim.drop(l.sim.sock(int(c.ev.Res)))
		}
	}
	for _, k := range l.sim.socks {
		if k != nil && k.loop == l {
			for i, o := range k.ops {
				if o != nil {
					k.ops[i] = nil
					o.running, o.done = false, true
				}
			}
			k.loop = nil
		}
	}
	l.queue, l.done, l.free = nil, nil, nil
	clear(l.flight)
	l.wakeAt = never
	return nil
}

func (l *loop) Provide(bufs []sgmsg.BufID) {
	if len(bufs) == 0 {
		return
	}
	for _, id := range bufs {
		blk := l.block(id)
		if l.given[blk] || id.Refs() != 0 {
			l.sim.violation("Provide: block %d is already provided or held", blk)
		}
		l.given[blk] = true
	}
	l.free = append(l.free, bufs...)
	l.sim.note(record{what: didProvide, loop: l.index, a: int64(len(bufs))})
}

func (l *loop) block(id sgmsg.BufID) int {
	if l.pool == nil || !l.pool.Owns(id) {
		l.sim.violation("buffer %#x is not of the loop's pool", uint32(id))
	}
	return l.pool.Block(id)
}

// buffer takes a provided buffer.
func (l *loop) buffer() sgmsg.BufID {
	i := 0
	if l.sim.hit(AnyBuffer) {
		i = l.sim.rng.IntN(len(l.free))
	}
	id := l.free[i]
	l.free = append(l.free[:i], l.free[i+1:]...)
	return id
}

// noBuffers reports that a receive must end for want of a buffer.
func (l *loop) noBuffers() bool {
	if len(l.free) > 0 && !l.sim.hit(NoBuffers) {
		return false
	}
	l.stats.NoBuffers++
	return true
}

func (l *loop) Socket(family, sotype int) (int, error) {
	k := &socket{sim: l.sim}
	if sotype == syscall.SOCK_DGRAM {
		k.kind = kindPacket
	} else if sotype != syscall.SOCK_STREAM {
		return -1, fmt.Errorf("socket: type %d: %w", sotype, syscall.EPROTONOSUPPORT)
	}
	switch family {
	case syscall.AF_INET, syscall.AF_INET6, syscall.AF_UNIX:
		return l.sim.open(k), nil
	}
	return -1, fmt.Errorf("socket: family %d: %w", family, syscall.EAFNOSUPPORT)
}

func (l *loop) Attach(fd int) error {
	k := l.sim.sock(fd)
	switch {
	case k == nil:
		return fmt.Errorf("attach: %w", syscall.EBADF)
	case k.loop != nil:
		return fmt.Errorf("attach: %w", syscall.EEXIST)
	}
	k.loop = l
	return nil
}

func (l *loop) Detach(fd int) error {
	k := l.sim.sock(fd)
	switch {
	case k == nil:
		return fmt.Errorf("detach: %w", syscall.EBADF)
	case k.loop != l:
		return fmt.Errorf("detach: %w", syscall.ENOENT)
	}
	for _, o := range k.ops {
		if o != nil {
			l.sim.violation("%v of descriptor %d is in flight while it is detached or closed", o.kind, fd)
		}
	}
	k.loop = nil
	return nil
}

func (l *loop) CloseFD(fd int) error {
	k := l.sim.sock(fd)
	if k == nil {
		return fmt.Errorf("close: %w", syscall.EBADF)
	}
	if k.loop != nil {
		if err := l.Detach(fd); err != nil {
			l.sim.violation("CloseFD: descriptor %d belongs to loop %d, not %d", fd, k.loop.index, l.index)
		}
	}
	l.sim.drop(k)
	return nil
}

func (l *loop) Shutdown(fd, how int) error {
	k := l.sim.sock(fd)
	if k == nil {
		return fmt.Errorf("shutdown: %w", syscall.EBADF)
	}
	if e := k.shutdown(how); e != 0 {
		return fmt.Errorf("shutdown: %w", e)
	}
	return nil
}

func (l *loop) NoDelay(fd int) error {
	k := l.sim.sock(fd)
	switch {
	case k == nil:
		return fmt.Errorf("no delay: %w", syscall.EBADF)
	case k.kind == kindStream && k.local.IP.IsValid():
		return nil
	}
	return fmt.Errorf("no delay: %w", syscall.EOPNOTSUPP)
}

func (l *loop) Names(fd int) (local, remote backend.Addr) {
	if k := l.sim.sock(fd); k != nil {
		return k.local, k.remote
	}
	return
}

// attached returns the socket of a descriptor that this loop knows.
func (l *loop) attached(what string, fd int) *socket {
	k := l.sim.sock(fd)
	if l.closed {
		l.sim.violation("%s after Close", what)
	}
	if k == nil || k.loop != l {
		l.sim.violation("%s: descriptor %d is not attached to loop %d", what, fd, l.index)
	}
	return k
}

func (l *loop) Accept(k backend.Key, fd int) { l.queueOp(l.add(k, fd, backend.OpAccept)) }
func (l *loop) Recv(k backend.Key, fd int)   { l.queueOp(l.add(k, fd, backend.OpRecv)) }
func (l *loop) Poll(k backend.Key, fd int)   { l.queueOp(l.add(k, fd, backend.OpPoll)) }

func (l *loop) RecvMsg(k backend.Key, fd int) { l.queueOp(l.add(k, fd, backend.OpRecvMsg)) }

func (l *loop) Connect(k backend.Key, fd int, to *backend.Addr) {
	o := l.add(k, fd, backend.OpConnect)
	o.to = *to
	l.queueOp(o)
}

func (l *loop) Read(k backend.Key, fd int, mem []byte) {
	o := l.add(k, fd, backend.OpRead)
	if len(mem) == 0 {
		l.sim.violation("read: no memory")
	}
	o.mem = mem
	l.queueOp(o)
}

func (l *loop) Send(k backend.Key, fd int, v []sgmsg.Element) {
	o := l.add(k, fd, backend.OpSend)
	o.vec = append(o.vec, v...)
	if o.total() == 0 || len(v) > backend.MaxVector {
		l.sim.violation("send: %d elements of %d bytes", len(v), o.total())
	}
	l.queueOp(o)
}

func (l *loop) Cancel(k backend.Key) {
	o := l.flight[k]
	if o == nil {
		return
	}
	l.sim.note(record{what: didCancel, loop: l.index, key: k})
	l.queue = append(l.queue, entry{op: o, id: o.id, cancel: true})
}

// pollTime is what a Wait costs that asks for no time and finds nothing, so that
// a program that polls for a while sees the while pass.
const pollTime = 100 * time.Nanosecond

// Wait never sleeps. With nothing due it moves the time on, except inside Step,
// which does so itself once every loop has nothing due.
func (l *loop) Wait(events []backend.Event, timeout time.Duration) (int, error) {
	s := l.sim
	if l.closed {
		s.violation("Wait after Close")
	}
	l.stats.Waits++
	l.stats.Syscalls++
	l.waited = s.steps
	l.asleep, l.wakeAt, l.nudged = false, never, false
	l.submit()
	if len(events) == 0 {
		return 0, nil
	}
	if timeout != 0 && s.hit(Spurious) {
		l.stats.Interrupts++
		return 0, nil
	}
	until := never
	if timeout >= 0 {
		until = s.now + timeout
	}
	if timeout != 0 {
		l.stats.Sleeps++
	}
	for {
		if n := l.collect(events); n > 0 {
			return n, nil
		}
		if l.woken.Swap(false) {
			return 0, nil
		}
		if s.now >= until {
			if timeout == 0 {
				s.advance(min(s.now+pollTime, s.next()))
			}
			return 0, nil
		}
		l.wakeAt = until
		if s.stepping {
			l.asleep = true
			return 0, nil
		}
		if s.nudge(l) {
			return 0, nil
		}
		t := s.next()
		if t == never {
			s.idle = true
			return 0, nil
		}
		s.advance(t + s.lag())
	}
}

// nudge reports whether another loop has something to do now, for which a Wait
// should end so that the test can run it. It says so once per loop and Wait of
// it: a loop that the test has abandoned holds nobody up.
func (s *Sim) nudge(l *loop) bool {
	for _, o := range s.loops {
		if o != l && !o.closed && !o.nudged && o.ready() {
			o.nudged = true
			o.wakeAt = never
			return true
		}
	}
	return false
}

// ready reports whether a Wait of the loop would not sleep.
func (l *loop) ready() bool {
	if len(l.queue) > 0 || l.woken.Load() || l.wakeAt <= l.sim.now {
		return true
	}
	for i := range l.done {
		if l.done[i].at <= l.sim.now {
			return true
		}
	}
	return false
}

// collect delivers due events.
func (l *loop) collect(events []backend.Event) int {
	s := l.sim
	room := len(events)
	if room > 1 && len(l.done) > 1 && s.hit(PartialWait) {
		room = s.upTo(min(room, len(l.done)) - 1)
	}
	n := 0
	kept := l.done[:0]
	for _, c := range l.done {
		if n == room || c.at > s.now {
			kept = append(kept, c)
			continue
		}
		events[n] = c.ev
		n++
		shown := b2i(c.ev.More)
		if c.ev.Buf != 0 {
			blk := l.pool.Block(c.ev.Buf)
			l.given[blk] = false
			l.pool.Adopt(c.ev.Buf)
			shown |= int64(blk+1) << 1
		}
		s.note(record{what: didEvent, loop: l.index, key: c.ev.Key, fd: c.op.sock.shownFD(), a: int64(c.ev.Res), b: shown})
		if !c.ev.More {
			c.op.checkVector()
			c.op.retire()
		}
	}
	clear(l.done[len(kept):])
	l.done = kept
	return n
}
