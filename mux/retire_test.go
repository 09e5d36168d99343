//go:build linux

package mux_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Retire while connections come all the time: whoever was let in is served to the end,
// although nobody is let in any more. A connection that Serve has not brought is not waited
// for and stays.
func TestRetireServesWhoWasAccepted(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, err := mux.New(mux.Options{Format: strparser.Length32, Loops: 2, Ring: ring.Options{Backend: b}})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		m.Handle(echo)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		near, mine := loopback(t)
		defer near.Close()
		if _, err := m.Attach(mine); err != nil {
			t.Fatal(err)
		}
		// As another process would, it keeps the socket open.
		other, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		served := make(chan error, 1)
		go func() { served <- m.Serve(ln) }()
		const before = 20
		calls := make(chan struct{})
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				c := callUntil(t, ln.Addr().String(), stop)
				if c == nil { // m did not accept it
					return
				}
				c.Close()
				if i == before {
					close(calls)
				}
			}
		}()
		<-calls
		long, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := pipeline(long, 1, 3, 1, 100); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		retired := make(chan error, 1)
		go func() { retired <- m.Retire(ctx) }()
		if err := <-served; !errors.Is(err, mux.ErrClosed) {
			t.Errorf("Serve: %v, want ErrClosed", err)
		}
		if err := pipeline(long, 2, 3, 1, 100); err != nil {
			t.Errorf("a connection is not served any more: %v", err)
		}
		select {
		case err := <-retired:
			t.Errorf("Retire returned, %v, with a connection open", err)
		default:
		}
		cancel()
		if err := <-retired; !errors.Is(err, context.Canceled) {
			t.Errorf("Retire: %v, want that ctx ended", err)
		}
		long.Close()
		if err := m.Retire(t.Context()); err != nil { // twice is legal
			t.Errorf("Retire: %v", err)
		}
		close(stop)
		<-stopped
		if err := pipeline(near, 3, 3, 1, 100); err != nil {
			t.Errorf("the attached connection is not served any more: %v", err)
		}
		if st := m.Stats(); st.Psocks != 1 {
			t.Errorf("%d connections are open, want the attached one", st.Psocks)
		}
		near.Close() // else Shutdown waits for it
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// callUntil connects and exchanges a message. It waits for the reply until stop is closed,
// and returns nil then.
func callUntil(t *testing.T, addr string, stop <-chan struct{}) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return nil
	}
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-stop:
			c.Close()
		case <-over:
		}
	}()
	hello := "\x00\x00\x00\x05hello"
	b := make([]byte, len(hello))
	if _, err = io.WriteString(c, hello); err == nil {
		_, err = io.ReadFull(c, b)
	}
	if err == nil {
		return c
	}
	c.Close()
	select {
	case <-stop:
	default:
		t.Errorf("a connection was neither served nor left alone: %v", err)
	}
	return nil
}

func TestRetireOnALoop(t *testing.T) {
	got := make(chan error, 1)
	m, addr := server(t, mux.Options{}, nil)
	m.Handle(func(p *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		got <- m.Retire(context.Background())
		return mux.End
	})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "\x00\x00\x00\x01x"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-got:
		if !errors.Is(err, mux.ErrDeadlock) {
			t.Errorf("got %v, want EDEADLK", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Retire hangs")
	}
}
