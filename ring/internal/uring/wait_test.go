//go:build linux

package uring

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

var (
	recvKey = backend.MakeKey(backend.OpRecv, 1, 1)
	sendKey = backend.MakeKey(backend.OpSend, 1, 2)
)

// elements returns v elements of n bytes each in memory the kernel may read.
func elements(t testing.TB, v, n int) []sgmsg.Element {
	t.Helper()
	const block = 512
	arena, err := sgmsg.NewArena(memory(t, v*max(n, block)*2), block)
	if err != nil {
		t.Fatal(err)
	}
	list := make([]sgmsg.Element, v)
	for i := range list {
		if list[i], err = arena.Alloc(n); err != nil {
			t.Fatal(err)
		}
		for j := range list[i].Bytes() {
			list[i].Bytes()[j] = byte(i + j)
		}
	}
	t.Cleanup(func() {
		for _, e := range list {
			e.Buf.Release()
		}
		arena.Close(nil)
	})
	return list
}

// cycle sends v on fd and waits until all of it has come back on peer, which has a
// Recv in flight.
func cycle(t testing.TB, b *ring, fd, peer int, v []sgmsg.Element, events []backend.Event, timeout time.Duration) {
	want := 0
	for _, e := range v {
		want += int(e.Len)
	}
	b.Send(sendKey, fd, v)
	var back [1]sgmsg.BufID
	for got, sent := 0, false; got < want || !sent; {
		n, err := b.Wait(events, timeout)
		if err != nil {
			t.Fatal(err)
		}
		for i := range events[:n] {
			switch e := &events[i]; e.Key {
			case sendKey:
				if int(e.Res) != want || e.More {
					t.Fatalf("Send of %d bytes: %+v", want, *e)
				}
				sent = true
			case recvKey:
				if e.Res <= 0 {
					t.Fatalf("Recv: %v", e.Err())
				}
				got += int(e.Res)
				e.Buf.Release()
				back[0] = e.Buf
				b.Provide(back[:])
				if !e.More {
					b.Recv(recvKey, peer)
				}
			}
		}
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	if invariants.Enabled {
		t.Skip("the invariants build notes who holds a buffer")
	}
	mustHave(t)
	b := start(t, 8, 4096)
	fd, peer := pair(t)
	b.Recv(recvKey, peer)
	events := make([]backend.Event, 16)
	for _, elems := range []int{1, 5} {
		v := elements(t, elems, 100)
		for _, timeout := range []time.Duration{0, -1, time.Second} {
			if n := testing.AllocsPerRun(200, func() { cycle(t, b, fd, peer, v, events, timeout) }); n != 0 {
				t.Errorf("%d elements, timeout %v: %v allocations a cycle", elems, timeout, n)
			}
		}
	}
}

// Polling with nothing to do makes no system call.
func TestIdlePollMakesNoSyscall(t *testing.T) {
	mustHave(t)
	b := start(t, 8, 4096)
	fd, peer := pair(t)
	b.Recv(recvKey, peer)
	events := make([]backend.Event, 16)
	if n, err := b.Wait(events, 0); n != 0 || err != nil {
		t.Fatalf("Wait = %d, %v", n, err)
	}
	before := b.Stats()
	for range 100 {
		if n, err := b.Wait(events, 0); n != 0 || err != nil {
			t.Fatalf("Wait = %d, %v", n, err)
		}
	}
	if after := b.Stats(); after.Syscalls != before.Syscalls || after.Waits != before.Waits+100 || after.Sleeps != 0 {
		t.Errorf("after 100 idle Waits %+v, before %+v", after, before)
	}
	// And it sees what arrives, at once.
	if _, err := unix.Write(fd, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Wait(events, 0); n != 1 || err != nil || events[0].Res != 1 {
		t.Fatalf("Wait = %d, %v, %+v", n, err, events[0])
	}
	events[0].Buf.Release()
}

// Signals at any moment, with and without the scheduler's own: every completion
// still comes, in order, exactly once.
func TestSignalStorm(t *testing.T) {
	mustHave(t)
	b := start(t, 8, 512)
	fd, peer := pair(t)
	b.Recv(recvKey, peer)
	tid := unix.Gettid()

	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() { // SIGURG is the signal by which Go preempts; its handler ignores others'
		for !stop.Load() {
			unix.Tgkill(os.Getpid(), tid, syscall.SIGURG)
			runtime.Gosched()
		}
	})
	wg.Go(func() { // stops the world, so the scheduler sends its own
		for !stop.Load() {
			runtime.GC()
		}
	})
	var wakes atomic.Uint64
	wg.Go(func() {
		for !stop.Load() {
			b.Wake()
			wakes.Add(1)
			runtime.Gosched()
		}
	})
	defer wg.Wait()
	defer stop.Store(true)

	events := make([]backend.Event, 3)
	one, many := elements(t, 1, 700), elements(t, 5, 300)
	deadline := time.Now().Add(20 * time.Second)
	for i := 0; i < 2000 || b.Stats().Interrupts < 5; i++ {
		v := one
		if i%2 == 1 {
			v = many
		}
		cycle(t, b, fd, peer, v, events, [...]time.Duration{0, -1, time.Millisecond}[i%3])
		// Sleep, so that signals find the thread asleep.
		if _, err := b.Wait(events[:1], 50*time.Microsecond); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d rounds and %d interrupted waits", i, b.Stats().Interrupts)
		}
	}
	t.Logf("%+v, %d wake-ups", b.Stats(), wakes.Load())
}

// Every Wake ends a Wait that begins before or after it.
func TestWakeIsNeverLost(t *testing.T) {
	mustHave(t)
	b := start(t, 1, 512)
	const rounds = 2000
	var asked, seen atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range int64(rounds) {
			asked.Store(i + 1)
			b.Wake()
			for seen.Load() <= i { // the loop must see it without a further Wake
				runtime.Gosched()
			}
		}
	})
	events := make([]backend.Event, 4)
	for seen.Load() < rounds {
		begin := time.Now()
		if _, err := b.Wait(events, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if time.Since(begin) > 4*time.Second {
			t.Fatalf("a Wake was lost after %d", seen.Load())
		}
		seen.Store(asked.Load())
	}
	wg.Wait()
}

// A wake-up takes the way through the ring where there is one, and that through the
// descriptor where it is switched off.
func TestWakeThroughTheRing(t *testing.T) {
	mustHave(t)
	have := false
	for _, f := range Probe() {
		have = have || f.Name == "ring wake" && f.State == Yes
	}
	r := start(t, 1, 512)
	for _, use := range []bool{true, false} {
		r.ringWake = use
		r.Wake()
		if r.ringWake != (use && have) {
			t.Errorf("wanted %v, the kernel has it %v: the next one goes through the ring: %v", use, have, r.ringWake)
		}
		if n, err := r.Wait(make([]backend.Event, 4), -1); n != 0 || err != nil {
			t.Errorf("%d events, %v", n, err)
		}
		if r.wakes.Load() {
			t.Error("another Wake would do nothing")
		}
	}
}
