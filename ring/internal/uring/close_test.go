//go:build linux

package uring

import (
	"errors"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// busy queues one operation of each kind that stays in flight.
func busy(t *testing.T, b *ring, mem []byte) (recvPeer, readPeer int) {
	t.Helper()
	recvFD, recvPeer := pair(t)
	readFD, readPeer := pair(t)
	b.Recv(recvKey, recvFD)
	b.Read(backend.MakeKey(backend.OpRead, 1, 2), readFD, mem)
	ln, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(ln) })
	if err := unix.Bind(ln, &unix.SockaddrUnix{}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(ln, 4); err != nil {
		t.Fatal(err)
	}
	b.Accept(backend.MakeKey(backend.OpAccept, 1, 3), ln)
	return recvPeer, readPeer
}

// written reports whether anything but zeroes is in mem.
func written(mem []byte) bool {
	for _, c := range mem {
		if c != 0 {
			return true
		}
	}
	return false
}

// After Close the bytes that arrive for operations that were in flight stay where
// they are.
func TestCloseEndsEverything(t *testing.T) {
	mustHave(t)
	b := start(t, 4, 512)
	mem := memory(t, 4096)
	recvPeer, readPeer := busy(t, b, mem)
	events := make([]backend.Event, 4)
	if _, err := b.Wait(events, 0); err != nil { // submits
		t.Fatal(err)
	}
	fd, _ := pair(t)
	b.Recv(backend.MakeKey(backend.OpRecv, 1, 9), fd) // not submitted
	b.Cancel(recvKey)
	begin := time.Now()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("Close took %v", time.Since(begin))
	if b.inflight != 0 {
		t.Errorf("%d operations are in flight after Close", b.inflight)
	}
	for _, p := range []int{recvPeer, readPeer} {
		if _, err := unix.Write(p, []byte("late")); err != nil {
			t.Fatal(err)
		}
	}
	if written(mem) || written(b.cfg.Pool.Mem()) {
		t.Error("the kernel wrote to memory after Close")
	}
	b.Wake() // does nothing and harms nobody
	if err := b.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
}

// When the loop's goroutine ended without Close, its thread's end is enough.
func TestCloseAfterTheThread(t *testing.T) {
	mustHave(t)
	b, err := New(backend.Config{Pool: newPool(t, 4, 512)}, AllSwitches)
	if err != nil {
		t.Fatal(err)
	}
	mem := memory(t, 4096)
	var readPeer int
	done := make(chan error)
	var loop func()
	loop = func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			hold := make(chan struct{}) // the first thread never ends: take another
			go func() { loop(); close(hold) }()
			<-hold
			runtime.UnlockOSThread()
			return
		}
		if err := b.Start(); err != nil {
			done <- err
			return
		}
		_, readPeer = busy(t, b.(*ring), mem)
		_, err := b.Wait(make([]backend.Event, 4), 0)
		done <- err
	}
	go loop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(readPeer, []byte("late")); err != nil {
		t.Fatal(err)
	}
	if written(mem) {
		t.Error("the kernel wrote to memory after Close")
	}
}

// While the loop's thread lives Close on another one must not claim success.
func TestCloseOnAForeignThread(t *testing.T) {
	mustHave(t)
	b := start(t, 1, 512)
	b.tid = unix.Getpid() // the first thread never ends
	if err := b.outlive(); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("outlive: %v, want EBUSY", err)
	}
	b.tid = unix.Gettid()
}

// A ring that was never started has nothing to wait for, on any thread.
func TestCloseWithoutStart(t *testing.T) {
	mustHave(t)
	b, err := New(backend.Config{Pool: newPool(t, 1, 512)}, AllSwitches)
	if err != nil {
		t.Fatal(err)
	}
	b.Wake()
	done := make(chan error)
	go func() { done <- b.Close() }()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestCloseLeavesNoDescriptor(t *testing.T) {
	mustHave(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	next := func() int {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		return fd
	}
	before := next()
	for range 5 {
		b, err := New(backend.Config{Pool: newPool(t, 1, 512)}, AllSwitches)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	Probe()
	if after := next(); after != before {
		t.Errorf("the next free descriptor is %d, was %d", after, before)
	}
}

func TestNewRefusesAPoolThatIsTooLarge(t *testing.T) {
	_, err := New(backend.Config{Pool: newPool(t, MaxBuffers+1, 16)}, AllSwitches)
	if !errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("New: %v, want EINVAL", err)
	}
}
