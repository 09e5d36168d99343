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
	"github.com/kcm-go/kcm/sgmsg"
)

// More completions than the completion queue holds: all come, and receives that the
// overflow ended go on.
func TestCompletionQueueOverflow(t *testing.T) {
	mustHave(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const streams, polls, blocks = 6, 64, 8
	pool := newPool(t, blocks, 512)
	back, err := New(backend.Config{Pool: pool, Entries: 2}, AllSwitches)
	if err != nil {
		t.Fatal(err)
	}
	b := back.(*ring)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if n := len(b.q.cqes); n > polls/2 {
		t.Fatalf("the completion queue has %d entries", n)
	}
	for i := range blocks {
		b.Provide([]sgmsg.BufID{pool.ID(i)})
	}
	fd, _ := pair(t)
	for i := range uint32(polls) {
		b.Poll(backend.MakeKey(backend.OpPoll, 1, i), fd)
	}
	var fds []int
	for i := range uint32(streams) {
		fd, peer := pair(t)
		fds = append(fds, fd)
		b.Recv(backend.MakeKey(backend.OpRecv, 1, i), fd)
		if _, err := unix.Write(peer, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	events := make([]backend.Event, 3)
	polled, got := map[backend.Key]bool{}, 0
	for deadline := b.Now() + 10*time.Second; len(polled) < polls || got < streams*len("hello"); {
		n, err := b.Wait(events, 10*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events[:n] {
			switch {
			case e.Key.Op() == backend.OpPoll && e.Res == 0 && !polled[e.Key]:
				polled[e.Key] = true
			case e.Key.Op() == backend.OpRecv && e.Res > 0:
				got += int(e.Res)
				e.Buf.Release()
				b.Provide([]sgmsg.BufID{e.Buf})
				if !e.More {
					b.Recv(e.Key, fds[e.Key.Slot()])
				}
			default:
				t.Fatalf("event %+v", e)
			}
		}
		if b.Now() > deadline {
			t.Fatalf("%d polls and %d bytes came", len(polled), got)
		}
	}
	if b.Stats().Overflows == 0 {
		t.Error("Stats().Overflows is 0")
	}
}

// When the kernel takes no entries any more the operations still return, and Wait
// says why.
func TestFatalError(t *testing.T) {
	mustHave(t)
	b := start(t, 1, 512)
	events := make([]backend.Event, 4)
	if _, err := b.Wait(events, 0); err != nil {
		t.Fatal(err)
	}
	enterFD := b.q.enterFD
	b.q.enterFD = 12345 // no such registered ring
	fd, _ := pair(t)
	v := elements(t, backend.MaxVector, 8)
	for i := range uint32(4 * len(b.q.sqes)) {
		b.Send(backend.MakeKey(backend.OpSend, 1, i), fd, v)
		b.Connect(backend.MakeKey(backend.OpConnect, 1, i), fd, &backend.Addr{Path: "@nobody"})
		b.Cancel(recvKey)
	}
	for range 2 {
		if n, err := b.Wait(events, -1); n != 0 || !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.EBADF) {
			t.Errorf("Wait = %d, %v", n, err)
		}
	}
	b.q.enterFD = enterFD // for Close
}

// Vectors that exceed the scratch of one submission are submitted in the middle of
// the turn.
func TestMoreVectorsThanScratch(t *testing.T) {
	mustHave(t)
	b := start(t, 1, 512)
	v := elements(t, backend.MaxVector, 1)
	const sends = 3*iovecs/backend.MaxVector + 1
	var peers []int
	for i := range uint32(sends) {
		fd, peer := pair(t)
		peers = append(peers, peer)
		b.Send(backend.MakeKey(backend.OpSend, 1, i), fd, v)
	}
	events := make([]backend.Event, sends)
	for got := 0; got < sends; {
		n, err := b.Wait(events, time.Second)
		if err != nil || n == 0 {
			t.Fatalf("Wait = %d, %v after %d of %d", n, err, got, sends)
		}
		for _, e := range events[:n] {
			if e.Res != backend.MaxVector {
				t.Fatalf("event %+v", e)
			}
		}
		got += n
	}
	for _, peer := range peers {
		var p [backend.MaxVector + 1]byte
		if n, err := unix.Read(peer, p[:]); n != backend.MaxVector || err != nil {
			t.Fatalf("the far end's read = %d, %v", n, err)
		}
		for i := range backend.MaxVector {
			if p[i] != byte(i) {
				t.Fatalf("element %d holds %d", i, p[i])
			}
		}
	}
}
