//go:build linux

package mux_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// What mux does on purpose otherwise than the kernel, and scripts of internal/conformance cannot
// show: the numbers are those of docs/kcm.md.

// KC-10: a socket may be told that no connection can take its messages.
func TestSocketThatFailsWithoutAConnection(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Ring: ring.Options{Backend: b}, Loops: 1}, nil)
		s, err := m.OpenSocket(mux.SocketOptions{WaitPsock: mux.Fail})
		if err != nil {
			t.Fatal(err)
		}
		send := func() error {
			_, err := s.SendMsg(context.Background(), numbered(1), mux.DontWait)
			return err
		}
		if err := send(); !errors.Is(err, syscall.ENOTCONN) {
			t.Errorf("without a connection: %v, want ENOTCONN", err)
		}
		p, c := attach(t, m)
		if err := send(); err != nil {
			t.Errorf("with a connection: %v", err)
		}
		got := make([]byte, len(numbered(1)))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, numbered(1)) {
			t.Errorf("the peer has %x, %v", got, err)
		}
		p.Close()
		if _, err := c.Read(got); err != io.EOF {
			t.Errorf("after the end: %v, want EOF", err)
		}
		if err := send(); !errors.Is(err, syscall.ENOTCONN) {
			t.Errorf("after the connection: %v, want ENOTCONN", err)
		}
	})
}

// KC-22: a connection that Serve accepted gets what is sent to it, not what is sent on a socket.
func TestSocketsDoNotSendOnServedConnections(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}, Loops: 1}, echo)
		s := openSocket(t, m)
		served := dial(t, addr)
		if _, err := s.SendMsg(context.Background(), numbered(1), 0); err != nil {
			t.Fatal(err)
		}
		// The echo comes behind whatever the socket would have sent on this connection.
		want := numbered(2)
		if _, err := served.Write(want); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(served, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("served connection: %x, %v, want its echo", got, err)
		}
		_, c := attach(t, m)
		want = numbered(1)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("attached connection: %x, %v, want the message of the socket", got, err)
		}
	})
}

// KC-8: a message that is given up because memory ran out in its middle takes no room.
func TestDroppedMessageTakesNoRoom(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Ring: ring.Options{Backend: b, SpillBytes: 1 << 20}, Loops: 1}, nil)
		s, err := m.OpenSocket(mux.SocketOptions{SendBytes: 4096})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.SendMsg(context.Background(), numbered(1), mux.More); err != nil {
			t.Fatal(err)
		}
		if n, err := s.SendMsg(context.Background(), make([]byte, 2<<20), 0); n != 0 || !errors.Is(err, syscall.ENOMEM) {
			t.Fatalf("more than there is memory: %d, %v, want ENOMEM", n, err)
		}
		if _, err := s.SendMsg(context.Background(), numbered(2), mux.DontWait); err != nil {
			t.Errorf("the next message: %v", err)
		}
		_, c := attach(t, m)
		got := make([]byte, len(numbered(2)))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, numbered(2)) {
			t.Errorf("the peer has %x, %v, want the second message alone", got, err)
		}
	})
}
