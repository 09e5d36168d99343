//go:build linux

package mux

import (
	"context"
	"testing"
)

// Who waits for some sockets to have nothing queued is told when one of them is closed: what
// it had is discarded then, and no connection will report it.
func TestDrainGoesOnWhenTheSocketIsClosed(t *testing.T) {
	w := newTable(t, Options{}, 0, SocketOptions{}, SocketOptions{})
	w.attach(1000)
	w.post(0, big) // keeps the connection
	w.post(1, "waits")
	done := make(chan error, 1)
	waits := func() int {
		w.m.tx.lock()
		defer w.m.tx.unlock()
		return len(w.m.tx.idle)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { done <- w.m.tx.drain(ctx, w.socks[1]) }()
	for waits() == 0 {
		w.turn()
	}
	if err := w.socks[1].Close(); err != nil {
		t.Error(err)
	}
	if waits() > 0 {
		t.Error("the drain of a socket that is closed goes on")
		cancel()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
