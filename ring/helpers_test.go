//go:build linux

package ring

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/leak"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

func TestMain(m *testing.M) { leak.Main(m) }

// random returns n bytes that depend on the seed.
func random(seed uint64, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(p)
	return p
}

// same fails the test at the first byte in which got and want differ.
func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	t.Fatalf("%s: %d bytes, want %d; the first difference is at byte %d", what, len(got), len(want), i)
}

// message returns a message with a copy of p in the loop's private memory.
func message(t testing.TB, l *Loop, p []byte) *sgmsg.Message {
	t.Helper()
	m := new(sgmsg.Message)
	if err := m.AppendCopy(l, p, 0); err != nil {
		t.Fatal(err)
	}
	return m
}

// send queues a copy of p.
func send(t testing.TB, s *Stream, p []byte) {
	t.Helper()
	m := message(t, s.loop, p)
	if err := s.Send(m); err != nil {
		m.Release()
		t.Fatal(err)
	}
}

// small are options under which everything is soon scarce.
func small() Options {
	return Options{
		Buffers: 16, BufferSize: 1 << 10, RegionBytes: 64 << 10, LargeBytes: 4 << 10,
		SpillBytes: 1 << 20, Credit: 2 << 10, SendSoft: 8 << 10, SendHard: 64 << 10,
	}
}

// rec is a Handler that collects what it is told and holds the stream to the
// order in which things may be told.
type rec struct {
	t    testing.TB
	s    *Stream
	keep bool           // leave the bytes unread
	hold *sgmsg.Message // takes a reference to what is consumed
	owns bool           // DataReady says that it is held
	need int            // bytes of the message in progress, for Want; 0: unknown

	got    []byte
	chunks []sgmsg.Element // what was consumed; no reference is held

	opened, readies, states, checks, closes, evicted int

	expired []uint32
	ended   error // of StateChange
	cause   error // of Closed
	rest    int   // of Closed

	onOpened, onReady, onCheck, onExpired, onClosed func(s *Stream)
	onState                                         func(s *Stream, err error)
}

func (r *rec) alive(what string) {
	r.t.Helper()
	if r.closes > 0 {
		r.t.Errorf("%s after Closed", what)
	}
}

func (r *rec) Opened(s *Stream) {
	r.alive("Opened")
	r.s = s
	r.opened++
	if r.onOpened != nil {
		r.onOpened(s)
	}
}

func (r *rec) DataReady(s *Stream) bool {
	r.alive("DataReady")
	if r.states > 0 {
		r.t.Error("DataReady after StateChange")
	}
	r.readies++
	if r.onReady != nil {
		r.onReady(s)
		return false
	}
	if !r.keep {
		r.take(s)
	}
	return r.owns && r.hold.Len() > 0
}

func (r *rec) Evict(s *Stream, pool *sgmsg.Arena) {
	r.alive("Evict")
	r.evicted++
	if r.owns {
		if err := r.hold.Compact(pool, s.loop); err != nil {
			r.t.Errorf("Evict: %v", err)
		}
	}
}

// take consumes everything and says what is missing.
func (r *rec) take(s *Stream) {
	for e, ok := s.Peek(); ok; e, ok = s.Peek() {
		r.got = append(r.got, e.Bytes()...)
		r.chunks = append(r.chunks, e)
		if r.hold != nil {
			r.hold.AppendShared(e)
		}
		s.Consume(int(e.Len))
	}
	s.Want(max(r.need-len(r.got), 0))
}

func (r *rec) StateChange(s *Stream, err error) {
	r.alive("StateChange")
	if r.states++; r.states > 1 {
		r.t.Error("StateChange for the second time")
	}
	if !s.Ended() {
		r.t.Error("StateChange and not Ended")
	}
	r.ended = err
	if r.onState != nil {
		r.onState(s, err)
	}
}

func (r *rec) Check(s *Stream) {
	r.alive("Check")
	r.checks++
	if r.onCheck != nil {
		r.onCheck(s)
	}
}

func (r *rec) Expired(s *Stream, gen uint32) {
	r.alive("Expired")
	r.expired = append(r.expired, gen)
	if r.onExpired != nil {
		r.onExpired(s)
	}
}

func (r *rec) Closed(s *Stream, cause error, rest *sgmsg.Message) {
	if r.closes++; r.closes > 1 {
		r.t.Error("Closed for the second time")
	}
	r.cause, r.rest = cause, rest.Len()
	if r.rest != s.Queued() {
		r.t.Errorf("Closed has %d bytes, Queued says %d", r.rest, s.Queued())
	}
	if r.onClosed != nil {
		r.onClosed(s)
	}
}

// spy stands between a loop and the simulator: it counts, keeps the book of
// descriptors, and fails when it is told to.
type spy struct {
	backend.Backend
	t        testing.TB
	attached map[int]bool
	closed   int   // descriptors
	waitErr  error // of the next Wait
	over     bool  // Close was called

	sends, polls, reads, accepts, shutdowns, writes int

	// Called at the start and at the end of a Write: what it does happens while a
	// guest is in its system call.
	entering, leaving func()
	waiting           func() // called at the start of the next Wait

	maxVector int
	refuse    []syscall.Errno // the next Accepts end with these
	due       []backend.Event
	acceptAt  []time.Duration
	detachErr error
}

func (b *spy) Attach(fd int) error {
	err := b.Backend.Attach(fd)
	if err == nil {
		b.attached[fd] = true
	}
	return err
}

func (b *spy) Detach(fd int) error {
	if b.detachErr != nil {
		return b.detachErr
	}
	delete(b.attached, fd)
	return b.Backend.Detach(fd)
}

func (b *spy) CloseFD(fd int) error {
	delete(b.attached, fd)
	b.closed++
	err := b.Backend.CloseFD(fd)
	if err != nil {
		b.t.Errorf("CloseFD(%d): %v", fd, err)
	}
	return err
}

func (b *spy) Close() error {
	b.over = true
	return b.Backend.Close()
}

func (b *spy) Cancel(k backend.Key) {
	if b.over {
		b.t.Error("Cancel after Close")
	}
	b.Backend.Cancel(k)
}

func (b *spy) Shutdown(fd, how int) error {
	b.shutdowns++
	return b.Backend.Shutdown(fd, how)
}

func (b *spy) Send(k backend.Key, fd int, v []sgmsg.Element) {
	b.sends++
	b.maxVector = max(b.maxVector, len(v))
	b.Backend.Send(k, fd, v)
}

func (b *spy) Write(fd int, v []sgmsg.Element) (int, syscall.Errno) {
	b.writes++
	call := func(f *func()) {
		if fn := *f; fn != nil {
			*f = nil
			fn()
		}
	}
	call(&b.entering)
	if !b.attached[fd] {
		b.t.Errorf("Write to descriptor %d, which is detached or closed", fd)
	}
	n, e := b.Backend.Write(fd, v)
	call(&b.leaving)
	return n, e
}

func (b *spy) Poll(k backend.Key, fd int) {
	b.polls++
	b.Backend.Poll(k, fd)
}

func (b *spy) Read(k backend.Key, fd int, mem []byte) {
	b.reads++
	b.Backend.Read(k, fd, mem)
}

func (b *spy) Accept(k backend.Key, fd int) {
	b.accepts++
	b.acceptAt = append(b.acceptAt, b.Now())
	if len(b.refuse) > 0 {
		b.due = append(b.due, backend.Event{Key: k, Res: -int32(b.refuse[0])})
		b.refuse = b.refuse[1:]
		return
	}
	b.Backend.Accept(k, fd)
}

func (b *spy) Wait(ev []backend.Event, timeout time.Duration) (int, error) {
	if b.waitErr != nil {
		return 0, b.waitErr
	}
	if fn := b.waiting; fn != nil {
		b.waiting = nil
		fn()
	}
	if len(b.due) > 0 {
		n := copy(ev, b.due)
		b.due = b.due[n:]
		b.Backend.Wait(nil, 0) // the simulator shall see that there was a turn
		return n, nil
	}
	return b.Backend.Wait(ev, timeout)
}

// bed is a loop over the simulator, checked at the end of the test: no
// descriptor is left attached and all memory is back.
type bed struct {
	t    testing.TB
	sim  *ringtest.Sim
	spy  *spy
	l    *Loop
	over bool
}

func newBed(t testing.TB, o Options) *bed {
	t.Helper()
	return newBedOn(t, ringtest.New(1, ringtest.Calm()), o)
}

// newFaultyBed is a bed on a network on which one fault always happens.
func newFaultyBed(t testing.TB, o Options, faults ...ringtest.Fault) *bed {
	t.Helper()
	net := ringtest.Calm()
	for _, f := range faults {
		net.Odds[f] = 1
	}
	return newBedOn(t, ringtest.New(1, net), o)
}

func newBedOn(t testing.TB, sim *ringtest.Sim, o Options) *bed {
	t.Helper()
	b := &bed{t: t, sim: sim}
	l, err := NewWith(func(c backend.Config) (backend.Backend, error) {
		inner, err := sim.Open(c)
		b.spy = &spy{Backend: inner, t: t, attached: map[int]bool{}}
		return b.spy, err
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	b.l = l
	t.Cleanup(b.finish)
	return b
}

func (b *bed) finish() {
	if b.t.Failed() {
		b.t.Log(b.sim.Dump())
		return
	}
	b.close()
	b.balanced()
}

// close closes the loop.
func (b *bed) close() {
	b.t.Helper()
	if !b.over {
		b.over = true
		if err := b.l.Close(); err != nil {
			b.t.Errorf("Close: %v", err)
		}
	}
}

// balanced checks that everything has been given back.
func (b *bed) balanced() {
	b.t.Helper()
	if n := len(b.spy.attached); n != 0 {
		b.t.Errorf("%d descriptors are left attached", n)
	}
	b.noMemory()
	if st := b.l.Stats(); st.Streams != 0 {
		b.t.Errorf("%d endpoints are left", st.Streams)
	}
}

// noMemory checks that nobody holds memory of the loop.
func (b *bed) noMemory() {
	b.t.Helper()
	st := b.l.Stats()
	if st.BuffersFree != st.Buffers || st.RegionUsed != 0 || st.SpillUsed != 0 {
		b.t.Errorf("%d of %d buffers are free, %d bytes of the region and %d of private memory are in use",
			st.BuffersFree, st.Buffers, st.RegionUsed, st.SpillUsed)
	}
}

func (b *bed) turn() {
	if !b.over && !b.l.Turn() {
		b.over = true
	}
}

// until runs the simulation until cond holds.
func (b *bed) until(what string, cond func() bool) {
	b.t.Helper()
	if err := b.sim.Run(cond, b.turn); err != nil {
		b.t.Fatalf("waited until %s: %v", what, err)
	}
}

// quiet runs the simulation until nothing happens any more.
func (b *bed) quiet() {
	b.t.Helper()
	for range 100_000 {
		if !b.sim.Step(b.turn) {
			return
		}
	}
	b.t.Fatal("no end of steps")
}

// pair attaches one end of a new stream.
func (b *bed) pair() (*rec, *ringtest.Peer) {
	b.t.Helper()
	fd, peer := b.sim.Pair()
	r := &rec{t: b.t}
	s, err := b.l.Attach(fd, r)
	if err != nil {
		b.t.Fatal(err)
	}
	r.s = s
	return r, peer
}

// write has the peer send all of p, turning while it does not fit.
func (b *bed) write(peer *ringtest.Peer, p []byte) {
	b.t.Helper()
	b.until("the peer has written", func() bool {
		n, err := peer.Write(p)
		if err != nil && err != syscall.EAGAIN {
			b.t.Fatalf("the peer's Write: %v", err)
		}
		p = p[n:]
		return len(p) == 0
	})
}

// read takes what has arrived at the peer, and reports whether its stream has
// ended.
func (b *bed) read(peer *ringtest.Peer, into *[]byte) (ended bool) {
	b.t.Helper()
	var p [4096]byte
	for {
		n, err := peer.Read(p[:])
		*into = append(*into, p[:n]...)
		switch {
		case err == io.EOF:
			return true
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			b.t.Fatalf("the peer's Read: %v", err)
		}
	}
}

// expect runs until the peer has got want and nothing else.
func (b *bed) expect(peer *ringtest.Peer, want []byte) {
	b.t.Helper()
	var got []byte
	b.until("the peer has its bytes", func() bool {
		b.read(peer, &got)
		return len(got) >= len(want)
	})
	same(b.t, "the peer", got, want)
}

// each runs a test on every real back end this machine has.
func each(t *testing.T, fn func(t *testing.T, be Backend)) {
	for _, be := range []Backend{URing, Epoll} {
		t.Run(be.String(), func(t *testing.T) {
			l, err := New(Options{Backend: be, Buffers: 1, BufferSize: 1 << 10, RegionBytes: -1, SpillBytes: 1 << 20, Credit: 1 << 10})
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Start(); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			fn(t, be)
		})
	}
}

// descriptors counts the process's descriptors now, and again when everything
// the test registers with Cleanup after this call has run.
func descriptors(t testing.TB) {
	t.Helper()
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := count()
	t.Cleanup(func() {
		if after := count(); after != before && !t.Failed() {
			t.Errorf("%d descriptors before the test, %d after it", before, after)
		}
	})
}

// start returns a running loop that must have given everything back at the end
// of the test.
func start(t testing.TB, o Options) *Loop {
	t.Helper()
	descriptors(t)
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		st := l.Stats()
		if st.BuffersFree != st.Buffers || st.RegionUsed != 0 || st.SpillUsed != 0 || st.Streams != 0 {
			t.Errorf("%d of %d buffers are free, %d bytes of the region and %d of private memory are in use, %d endpoints are left",
				st.BuffersFree, st.Buffers, st.RegionUsed, st.SpillUsed, st.Streams)
		}
	})
	return l
}

// do runs fn on the loop's thread.
func do(t testing.TB, l *Loop, fn func()) {
	t.Helper()
	if err := l.Do(fn); err != nil {
		t.Fatal(err)
	}
}

// socketpair returns a descriptor for a loop and the far end of its stream.
func socketpair(t testing.TB) (fd int, peer net.Conn) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p[0], conn(t, p[1])
}

// conn takes a descriptor over with package net.
func conn(t testing.TB, fd int) net.Conn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// attach makes a stream of a loop that runs, with its far end.
func attach(t testing.TB, l *Loop, r *rec) net.Conn {
	t.Helper()
	fd, peer := socketpair(t)
	do(t, l, func() {
		s, err := l.Attach(fd, r)
		if err != nil {
			t.Error(err)
			return
		}
		r.s = s
	})
	return peer
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// wait waits until cond holds, which is looked at on this goroutine.
func wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// waitOn is wait with cond looked at on the loop's thread.
func waitOn(t testing.TB, l *Loop, what string, cond func() bool) {
	t.Helper()
	wait(t, what, func() (ok bool) {
		do(t, l, func() { ok = cond() })
		return ok
	})
}

// asleep waits until the loop sleeps.
func asleep(t testing.TB, l *Loop) {
	t.Helper()
	wait(t, "the loop sleeps", l.sleeping.Load)
}

func isErrno(err error, want syscall.Errno) bool { return errors.Is(err, want) }

func readFull(t testing.TB, c net.Conn, p []byte) {
	t.Helper()
	if n, err := io.ReadFull(c, p); err != nil {
		t.Fatalf("the peer's Read after %d of %d bytes: %v", n, len(p), err)
	}
}

// dup returns a descriptor of c's socket that outlives c.
func dup(t testing.TB, c syscall.Conn) (fd int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3) })
	if cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return fd
}
