//go:build linux

package epoll

import (
	"bytes"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/contract"
	"github.com/kcm-go/kcm/sgmsg"
)

// TestRandom goes further than the suite does by itself.
func TestRandom(t *testing.T) {
	for seed := range uint64(10) {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(fmt.Sprintf("%s/%d", network, seed), func(t *testing.T) {
				contract.Random(t, contract.Sockets(New), network, 1000+seed, 1500)
			})
		}
	}
}

// TestMillis runs part of the suite without epoll_pwait2.
func TestMillis(t *testing.T) {
	h := contract.Sockets(func(cfg backend.Config) (backend.Backend, error) {
		b, err := New(cfg)
		if err == nil {
			b.(*epoll).millis = true
			if len(b.Notes()) != 1 {
				t.Errorf("Notes: %q", b.Notes())
			}
		}
		return b, err
	})
	contract.Random(t, h, "tcp", 1, 500)

	b := start(t, 1, 512)
	b.millis = true
	began := b.Now()
	if n := b.wait(t, 1500*time.Microsecond); len(n) != 0 || b.Now()-began < 1500*time.Microsecond && b.stats.Interrupts == 0 {
		t.Errorf("Wait(1.5ms) returned %d events after %v", len(n), b.Now()-began)
	}
}

// bed is a started backend with all its buffers provided.
type bed struct {
	*epoll
	events [64]backend.Event
}

func start(t testing.TB, buffers, size int) *bed {
	t.Helper()
	pool, mapping := contract.NewMemory(t, contract.Sizes{Buffers: buffers, BufferSize: size})
	b, err := New(backend.Config{Pool: pool, Mapping: mapping})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	for i := range buffers {
		b.Provide([]sgmsg.BufID{pool.ID(i)})
	}
	return &bed{epoll: b.(*epoll)}
}

func (b *bed) wait(t testing.TB, timeout time.Duration) []backend.Event {
	t.Helper()
	n, err := b.Wait(b.events[:], timeout)
	if err != nil {
		t.Fatal(err)
	}
	return b.events[:n]
}

func recvKey(fd int) backend.Key { return backend.MakeKey(backend.OpRecv, 1, uint32(fd)) }

func (b *bed) recv(t testing.TB, fd int) {
	t.Helper()
	if err := b.Attach(fd); err != nil {
		t.Fatal(err)
	}
	b.Recv(recvKey(fd), fd)
}

// text returns the bytes of the events and gives their buffers back.
func (b *bed) text(t testing.TB, events []backend.Event) (p []byte) {
	t.Helper()
	for _, e := range events {
		if e.Res <= 0 {
			t.Fatalf("event %+v", e)
		}
		p = append(p, sgmsg.Element{Buf: e.Buf, Len: uint32(e.Res)}.Bytes()...)
		e.Buf.Release()
		b.Provide([]sgmsg.BufID{e.Buf})
	}
	return p
}

func socketpair(t testing.TB) (a, b int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(p[0])
		unix.Close(p[1])
	})
	return p[0], p[1]
}

func write(t testing.TB, fd int, p []byte) {
	t.Helper()
	if n, err := unix.Write(fd, p); n != len(p) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// TestNoAllocs: a turn allocates nothing once the slices have their size.
func TestNoAllocs(t *testing.T) {
	if invariants.Enabled || invariants.Race {
		t.Skip("instrumented")
	}
	for _, network := range []string{"tcp", "unix"} {
		e := newEcho(t, contract.Sizes{Buffers: 16, BufferSize: 512})
		server, client := pairs(t, 4, network)
		for _, fd := range server {
			e.attach(t, fd)
			defer unix.Close(fd)
		}
		msg := make([]byte, 64)
		turn := func() {
			for _, fd := range client {
				if _, err := unix.Write(fd, msg); err != nil {
					t.Fatal(err)
				}
			}
			for got := 0; got < len(client)*len(msg); {
				got += e.turn(t, -1)
			}
			e.turn(t, 0)
			for _, fd := range client {
				if n, err := unix.Read(fd, msg); n != len(msg) || err != nil {
					t.Fatal(n, err)
				}
			}
		}
		turn()
		if n := testing.AllocsPerRun(200, turn); n != 0 {
			t.Errorf("%s: %v allocations per turn", network, n)
		}
	}
}

// TestFairness: one Wait brings everybody's bytes, however much one far end has
// sent; and with a short slice of events the turns go round.
func TestFairness(t *testing.T) {
	const others = 20
	b := start(t, 256, 512)
	flood, far := socketpair(t)
	b.recv(t, flood)
	write(t, far, make([]byte, 100<<10))
	var fds []int
	for range others {
		fd, far := socketpair(t)
		b.recv(t, fd)
		write(t, far, []byte("one message"))
		fds = append(fds, fd)
	}
	count := map[backend.Key]int{}
	for _, e := range b.wait(t, -1) {
		count[e.Key]++
	}
	if n := count[recvKey(flood)]; n == 0 || n > burst {
		t.Errorf("the flooder has %d events, want 1 to %d", n, burst)
	}
	for _, fd := range fds {
		if n := count[recvKey(fd)]; n != 1 {
			t.Errorf("another has %d events, want 1", n)
		}
	}

	late, far := socketpair(t)
	b.recv(t, late)
	write(t, far, []byte("late"))
	for i := range 2 {
		n, err := b.Wait(b.events[:burst], 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.events[:n] {
			if e.Key == recvKey(late) {
				return
			}
		}
		if i == 1 {
			t.Error("the flooder has two turns while another waits")
		}
	}
}

// TestShortReadBehindDescriptors: a read of a unix socket stops where
// descriptors were passed, with more bytes behind and no edge to come.
func TestShortReadBehindDescriptors(t *testing.T) {
	b := start(t, 16, 512)
	fd, far := socketpair(t)
	b.recv(t, fd)
	if err := unix.Sendmsg(far, []byte("with"), unix.UnixRights(far), nil, 0); err != nil {
		t.Fatal(err)
	}
	write(t, far, []byte(" and without"))
	var got []byte
	for range 5 {
		got = append(got, b.text(t, b.wait(t, 0))...)
	}
	if string(got) != "with and without" {
		t.Errorf("received %q", got)
	}
}

// TestShortReadAtUrgentMark: nor does a TCP read go past urgent data.
func TestShortReadAtUrgentMark(t *testing.T) {
	b := start(t, 16, 512)
	server, client := pairs(t, 1, "tcp")
	defer unix.Close(server[0])
	b.recv(t, server[0])
	write(t, client[0], []byte("before"))
	if err := unix.Send(client[0], []byte("!"), unix.MSG_OOB); err != nil {
		t.Fatal(err)
	}
	write(t, client[0], []byte(" and after"))
	var got []byte
	for end := b.Now() + 5*time.Second; len(got) < len("before and after") && b.Now() < end; {
		got = append(got, b.text(t, b.wait(t, 100*time.Millisecond))...)
	}
	if string(got) != "before and after" {
		t.Errorf("received %q", got)
	}
}

// TestStaleEvents: what epoll reported for a descriptor does not reach the next
// one with its number, nor does its place in the ready list.
func TestStaleEvents(t *testing.T) {
	b := start(t, 16, 512)
	fd, far := socketpair(t)
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.recv(t, dup)
	write(t, far, bytes.Repeat([]byte("x"), 512*(burst+2)))
	if n := len(b.wait(t, 0)); n != burst {
		t.Fatalf("%d events, want %d", n, burst)
	}
	b.Cancel(recvKey(dup))
	if ev := b.wait(t, 0); len(ev) != 1 || ev[0].Err() != syscall.ECANCELED {
		t.Fatalf("events %v", ev)
	}
	if err := b.CloseFD(dup); err != nil {
		t.Fatal(err)
	}
	other, otherFar := socketpair(t)
	if other != dup {
		if err := unix.Dup3(other, dup, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(dup)
	}
	b.recv(t, dup)
	if ev := b.wait(t, time.Millisecond); len(ev) != 0 {
		t.Fatalf("events %v of a fresh descriptor", ev)
	}
	// A report made for the attachment before this one.
	b.polled[0] = unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(dup), Pad: int32(b.descs[dup].gen - 1)}
	b.report(1)
	if b.descs[dup].readable {
		t.Error("a stale report made the descriptor readable")
	}
	write(t, otherFar, []byte("fresh"))
	if got := b.text(t, b.wait(t, -1)); string(got) != "fresh" {
		t.Errorf("received %q", got)
	}
}

// TestIdleEdges: edges that lead to no event do not end a Wait.
func TestIdleEdges(t *testing.T) {
	b := start(t, 4, 512)
	fd, far := socketpair(t)
	if err := b.Attach(fd); err != nil {
		t.Fatal(err)
	}
	const timeout = 30 * time.Millisecond
	write(t, far, []byte("nobody reads this"))
	began := b.Now()
	if ev := b.wait(t, timeout); len(ev) != 0 {
		t.Fatalf("events %v", ev)
	}
	if took := b.Now() - began; took < timeout && b.stats.Interrupts == 0 {
		t.Errorf("Wait(%v) took %v", timeout, took)
	}
}

// TestAcceptLimit: out of descriptors Accept ends, and the connection is still
// there for the next one.
func TestAcceptLimit(t *testing.T) {
	b := start(t, 4, 512)
	lfd, _, dial := contract.RealListen(t, nil, "tcp")
	defer unix.Close(lfd)
	if err := b.Attach(lfd); err != nil {
		t.Fatal(err)
	}
	dial()
	k := backend.MakeKey(backend.OpAccept, 1, 1)
	b.Accept(k, lfd)

	// The limit is above the descriptors in use, so that only the next fails.
	next, err := unix.FcntlInt(uintptr(lfd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(next)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	low := old
	low.Cur = uint64(next)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	ev := b.wait(t, -1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if len(ev) != 1 || ev[0].Key != k || ev[0].Err() != syscall.EMFILE || ev[0].More {
		t.Fatalf("events %+v, want EMFILE", ev)
	}
	b.Accept(k, lfd)
	ev = b.wait(t, -1)
	if len(ev) != 1 || ev[0].Res < 0 || !ev[0].More {
		t.Fatalf("events %+v, want a connection", ev)
	}
	flags, err := unix.FcntlInt(uintptr(ev[0].Res), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags of the connection: %#x, %v, want FD_CLOEXEC", flags, err)
	}
	unix.Close(int(ev[0].Res))
}

// TestConnectPending: a connection that takes its time can be cancelled. The
// kernel ignores the first packet when the backlog is full.
func TestConnectPending(t *testing.T) {
	b := start(t, 4, 512)
	lfd, addr, _ := contract.RealListen(t, nil, "tcp")
	defer unix.Close(lfd)
	if err := unix.Listen(lfd, 0); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		fd, err := b.Socket(unix.AF_INET, unix.SOCK_STREAM)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := b.Attach(fd); err != nil {
			t.Fatal(err)
		}
		k := backend.MakeKey(backend.OpConnect, 1, uint32(i))
		b.Connect(k, fd, &addr)
		ev := b.wait(t, 20*time.Millisecond)
		if len(ev) > 0 {
			if ev[0].Key != k || ev[0].Res != 0 {
				t.Fatalf("event %+v", ev[0])
			}
			continue
		}
		b.Cancel(k)
		if ev := b.wait(t, 0); len(ev) != 1 || ev[0].Key != k || ev[0].Err() != syscall.ECANCELED {
			t.Fatalf("events %+v, want ECANCELED", ev)
		}
		return
	}
	t.Fatal("no connection is ever pending")
}

// TestAttachErrors: errors carry their errno.
func TestAttachErrors(t *testing.T) {
	b := start(t, 1, 512)
	fd, _ := socketpair(t)
	for _, c := range []struct {
		what string
		err  error
		want syscall.Errno
	}{
		{"attach of nothing", b.Attach(-1), syscall.EBADF},
		{"first attach", b.Attach(fd), 0},
		{"second attach", b.Attach(fd), syscall.EEXIST},
		{"first detach", b.Detach(fd), 0},
		{"second detach", b.Detach(fd), syscall.EBADF},
		{"shutdown of an eventfd", b.Shutdown(b.evfd, unix.SHUT_RD), syscall.ENOTSOCK},
	} {
		if got := errnoOf(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
}

func errnoOf(err error) syscall.Errno {
	for err != nil {
		if e, ok := err.(syscall.Errno); ok {
			return e
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return ^syscall.Errno(0)
		}
		err = u.Unwrap()
	}
	return 0
}

// TestWakeClose: Wake never writes to a descriptor that Close has given back.
func TestWakeClose(t *testing.T) {
	for range 200 {
		b, err := New(backend.Config{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(b.Wake)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		b.Wake()
		if e := b.(*epoll).evfd; e != -1 {
			t.Fatalf("eventfd is %d after Close", e)
		}
	}
}

// TestDueQueue: the queue keeps its order and its memory while it never runs
// empty.
func TestDueQueue(t *testing.T) {
	var q queue
	var out [1]backend.Event
	next := int32(0)
	for i := range int32(10_000) {
		q.push(backend.Event{Res: i})
		if i < 10 {
			continue
		}
		if n := q.flush(out[:]); n != 1 || out[0].Res != next {
			t.Fatalf("flush: %d, event %d, want %d", n, out[0].Res, next)
		}
		next++
	}
	if cap(q.ev) > 64 {
		t.Errorf("room for %d events after never more than 11", cap(q.ev))
	}
}
