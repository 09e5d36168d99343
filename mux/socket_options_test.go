//go:build linux

package mux_test

import (
	"errors"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/mux"
)

// The types are two, and options of FIFO's queues mean nothing with one for all.
//
// Proves E1.
func TestSocketOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		policy mux.Policy
		mux.SocketOptions
		want error
	}{
		{mux.Idle, mux.SocketOptions{Type: mux.Seqpacket}, nil},
		{mux.Idle, mux.SocketOptions{Type: 2}, syscall.ESOCKTNOSUPPORT},
		{mux.Idle, mux.SocketOptions{RecvBytes: 1}, syscall.EINVAL},
		{mux.Idle, mux.SocketOptions{LowWater: 1}, syscall.EINVAL},
		{mux.FIFO, mux.SocketOptions{RecvBytes: 1, LowWater: 1}, nil},
		{mux.FIFO, mux.SocketOptions{RecvBytes: 1, LowWater: 2}, syscall.EINVAL},
		{mux.FIFO, mux.SocketOptions{RecvBytes: -1}, syscall.EINVAL},
		{mux.FIFO, mux.SocketOptions{LowWater: -1}, syscall.EINVAL},
		{mux.FIFO, mux.SocketOptions{LowWater: 5000}, nil},
		{mux.FIFO, mux.SocketOptions{LowWater: 5001}, syscall.EINVAL},
	} {
		m := newMux(t, mux.Options{Policy: c.policy, QueueBytes: 5000}, nil)
		s, err := m.OpenSocket(c.SocketOptions)
		if !errors.Is(err, c.want) {
			t.Errorf("%v, %+v: %v, want %v", c.policy, c.SocketOptions, err, c.want)
		}
		if err == nil && s.Type() != c.Type {
			t.Errorf("a socket of type %v was opened as %v", c.Type, s.Type())
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if _, err := m.OpenSocket(mux.SocketOptions{}); !errors.Is(err, mux.ErrClosed) {
			t.Errorf("a socket of a closed Mux: %v, want ErrClosed", err)
		}
	}
}

// A clone has the type of its model, whatever is closed gives its number back, and each
// socket gets the lowest one.
//
// Proves E41.
func TestSocketsHaveTheLowestFreeNumbers(t *testing.T) {
	m := newMux(t, mux.Options{}, nil)
	model, err := m.OpenSocket(mux.SocketOptions{Type: mux.Seqpacket})
	if err != nil {
		t.Fatal(err)
	}
	all := []*mux.Socket{model}
	clone := func(want int) {
		t.Helper()
		s, err := model.Clone()
		if err != nil {
			t.Fatal(err)
		}
		if s.Index() != want || s.Type() != mux.Seqpacket {
			t.Errorf("the clone is number %d of type %v, want %d and %v", s.Index(), s.Type(), want, mux.Seqpacket)
		}
		all = append(all, s)
	}
	for i := range 4 {
		clone(i + 1)
	}
	for _, i := range []int{3, 1, 1} { // closing twice gives one number back
		all[i].Close()
	}
	clone(1)
	clone(3)
	clone(5)
	model.Close()
	if _, err := model.Clone(); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("clone of a closed socket: %v, want ErrClosed", err)
	}
	if s := openSocket(t, m); s.Index() != 0 || s.Type() != mux.Dgram {
		t.Errorf("a socket is number %d of type %v, want 0 and %v", s.Index(), s.Type(), mux.Dgram)
	}
}
