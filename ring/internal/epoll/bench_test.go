//go:build linux

package epoll

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/ring/internal/contract"
	"github.com/kcm-go/kcm/sgmsg"
)

// echo is the smallest loop: what was received is sent back from the buffer it
// came in. It assumes that the streams never fill up.
type echo struct {
	b      backend.Backend
	pool   *sgmsg.Arena
	events []backend.Event
	vec    [1]sgmsg.Element
	bufs   []sgmsg.BufID // sent, or to be provided
	held   [][]sgmsg.BufID
}

func newEcho(t testing.TB, s contract.Sizes) *echo {
	t.Helper()
	pool, mapping := contract.NewMemory(t, s)
	b, err := New(backend.Config{Pool: pool, Mapping: mapping, Entries: 256})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Close()
		pool.Close(nil)
	})
	e := &echo{b: b, pool: pool, events: make([]backend.Event, 256)}
	for i := range s.Buffers {
		e.bufs = append(e.bufs, pool.ID(i))
	}
	b.Provide(e.bufs)
	e.bufs = e.bufs[:0]
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	return e
}

// attach begins to echo on a descriptor.
func (e *echo) attach(t testing.TB, fd int) {
	t.Helper()
	if err := e.b.Attach(fd); err != nil {
		t.Fatal(err)
	}
	for fd >= len(e.held) {
		e.held = append(e.held, nil)
	}
	e.b.Recv(backend.MakeKey(backend.OpRecv, 1, uint32(fd)), fd)
}

// turn waits once and echoes. It returns the bytes received.
func (e *echo) turn(t testing.TB, timeout time.Duration) (bytes int) {
	n, err := e.b.Wait(e.events, timeout)
	if err != nil {
		t.Fatal(err)
	}
	for i := range e.events[:n] {
		ev := &e.events[i]
		fd := int(ev.Key.Slot())
		switch {
		case ev.Res <= 0:
			t.Fatalf("%s: %v", ev.Key.Op(), ev.Err())
		case ev.Key.Op() == backend.OpRecv:
			bytes += int(ev.Res)
			e.held[fd] = append(e.held[fd], ev.Buf)
			e.vec[0] = sgmsg.Element{Buf: ev.Buf, Len: uint32(ev.Res)}
			e.b.Send(backend.MakeKey(backend.OpSend, 1, uint32(fd)), fd, e.vec[:])
		default: // sent
			for _, id := range e.held[fd][:1] {
				id.Release()
				e.bufs = append(e.bufs, id)
			}
			e.held[fd] = append(e.held[fd][:0], e.held[fd][1:]...)
		}
	}
	e.b.Provide(e.bufs)
	e.bufs = e.bufs[:0]
	return bytes
}

// pairs returns connected unix or TCP descriptors: the server's and the client's.
func pairs(t testing.TB, n int, network string) (server, client []int) {
	t.Helper()
	for range n {
		s, peer := contract.RealPair(t, nil, network)
		server = append(server, s)
		client = append(client, contract.Descriptor(t, peer))
	}
	return server, client
}

// BenchmarkEcho reports the CPU time of the loop's thread per message of 64
// bytes; the clients run on a thread of their own.
func BenchmarkEcho(b *testing.B) {
	for _, network := range []string{"tcp", "unix"} {
		for _, depth := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/64x%d", network, depth), func(b *testing.B) {
				benchmarkEcho(b, network, 64, depth, 64)
			})
		}
	}
}

func benchmarkEcho(b *testing.B, network string, conns, depth, size int) {
	e := newEcho(b, contract.Sizes{Buffers: 256, BufferSize: 4096})
	server, client := pairs(b, conns, network)
	for _, fd := range server {
		e.attach(b, fd)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	total := b.N * size
	done := make(chan error, 1)
	b.ReportAllocs()
	b.ResetTimer()
	go func() { done <- drive(client, depth, size, b.N) }()
	before := threadCPU()
	waits := e.b.Stats().Waits
	for got := 0; got < total; {
		got += e.turn(b, -1)
	}
	e.turn(b, 0)
	cpu := threadCPU() - before
	b.StopTimer()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/msg")
	b.ReportMetric(float64(b.N)/float64(e.b.Stats().Waits-waits), "msgs/wait")
	for _, fd := range server {
		e.b.Cancel(backend.MakeKey(backend.OpRecv, 1, uint32(fd)))
		e.turnQuiet(b)
		e.b.CloseFD(fd)
	}
}

// turnQuiet takes the events of a Cancel.
func (e *echo) turnQuiet(t testing.TB) {
	if _, err := e.b.Wait(e.events, 0); err != nil {
		t.Fatal(err)
	}
}

func threadCPU() time.Duration {
	var r unix.Rusage
	unix.Getrusage(unix.RUSAGE_THREAD, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// drive keeps depth messages in flight on each descriptor until msgs have come
// back, in batches per connection.
func drive(fds []int, depth, size, msgs int) error {
	runtime.LockOSThread() // until the goroutine ends, and the thread with it
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(epfd)
	buf := make([]byte, depth*size)
	sent, got := 0, make([]int, len(fds))
	send := func(fd, n int) error {
		if n = min(n, msgs-sent); n == 0 {
			return nil
		}
		sent += n
		_, err := unix.Write(fd, buf[:n*size])
		return err
	}
	for i, fd := range fds {
		ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			return err
		}
	}
	for _, fd := range fds {
		if err := send(fd, depth); err != nil {
			return err
		}
	}
	events := make([]unix.EpollEvent, len(fds))
	for left := msgs * size; left > 0; {
		n, err := unix.EpollWait(epfd, events, -1)
		if err == unix.EINTR {
			continue
		} else if err != nil {
			return err
		}
		for _, ev := range events[:n] {
			k, err := unix.Read(fds[ev.Fd], buf)
			if err != nil {
				return err
			}
			left -= k
			got[ev.Fd] += k
			if err := send(fds[ev.Fd], got[ev.Fd]/size); err != nil {
				return err
			}
			got[ev.Fd] %= size
		}
	}
	return nil
}
