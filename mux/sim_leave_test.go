//go:build linux

package mux

import (
	"errors"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// How a connection leaves while workers are at its messages.

// A handler drains its connection and passes the present message on; just then a worker
// ends the last message before. The present one is answered all the same.
func TestMessagePassedAfterDrainIsAnsweredThoughWorkersHadNothing(t *testing.T) {
	stories(t, Options{}, func(w *story) {
		sock := w.socket()
		var r *Received
		w.m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
			if number(msg) == 1 {
				from.Drain()
				w.answer(r, 60)
				r.Done()
			}
			return Pass
		})
		received := func() bool {
			x, ok := sock.TryRecv()
			if ok {
				r = x
			}
			return ok
		}
		a := w.open(60, 60)
		a.say(0, 1)
		w.until("a worker has the first message", received)
		a.say(1, 2)
		w.until("it has the second", received)
		w.quiet() // what waits for the end of the first happens
		w.answer(r, 60)
		r.Done()
		w.until("the connection has ended", func() bool { return w.m.Psocks() == 0 })
		w.quiet()
		a.answers(0, 2)
	})
}

// A worker ends the last message that a Detach waits for, and before it can tell the loop
// the loop has ended: the Detach ends with an error all the same.
func TestDetachEndsWhenTheLoopEndsBeforeTheWorkerCanTell(t *testing.T) {
	m, err := New(Options{Format: strparser.Length32, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	sock, err := m.Socket()
	if err != nil {
		t.Fatal(err)
	}
	fd, far := socketPair(t)
	p, err := m.AttachFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(far, []byte{0, 0, 0, 1, 'x'}); err != nil {
		t.Fatal(err)
	}
	r, err := sock.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := p.Detach()
		done <- err
	}()
	for !p.flow.lingers.Load() {
		runtime.Gosched()
	}
	// As settle, which is kept from running between its two steps.
	r.Release()
	if p.flow.owed.Add(-1) != 0 || !p.flow.lingers.CompareAndSwap(true, false) {
		t.Fatal("nobody waits for the message")
	}
	m.Close()
	if p.shard.loop.Post(p.goOn) {
		t.Fatal("the loop goes on")
	}
	select {
	case err := <-done:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("Detach: %v, want ErrClosed", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Detach hangs")
	}
}
