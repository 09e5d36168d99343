package bench

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// A server has two workers, one of which is at a message that takes a second. Who has
// to wait for it is for the policy and the order to decide.
func TestServerDispatches(t *testing.T) {
	frame := func(d time.Duration) []byte {
		b := make([]byte, lengthBytes+workBytes)
		b[lengthBytes-1] = workBytes
		putWork(b[lengthBytes:], d, true)
		return b
	}
	slow, quick := frame(time.Second), frame(0)
	for _, tc := range []struct {
		name          string
		o             ServerOptions
		other, behind bool // another connection waits, and what is behind the slow message on its own
	}{
		{"idle", ServerOptions{Dispatch: Idle}, false, true},
		{"idle, any order", ServerOptions{Dispatch: Idle, Unordered: true}, false, false},
		{"fifo", ServerOptions{Dispatch: FIFO}, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := tc.o
			o.Listen, o.Loops, o.Workers, o.Work = "127.0.0.1:0", 1, 2, WorkMessage
			s, err := NewServer(o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Shutdown(t.Context())
			var conns [3]net.Conn
			for i := range conns {
				if conns[i], err = net.Dial("tcp", s.Addr()); err != nil {
					t.Fatal(err)
				}
				defer conns[i].Close()
			}
			sent := uint64(0)
			send := func(c net.Conn, frame []byte) {
				if _, err := c.Write(frame); err != nil {
					t.Fatal(err)
				}
				sent++
				for deadline := time.Now().Add(20 * time.Second); s.mux.Stats().RxMessages < sent; {
					if time.Now().After(deadline) {
						t.Fatal("a message has not arrived")
					}
				}
			}
			expect := func(c net.Conn, want []byte, within time.Duration) error {
				c.SetReadDeadline(time.Now().Add(within))
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c, got); err != nil {
					return err
				}
				if !bytes.Equal(got, want) {
					t.Errorf("reply % x, want % x", got, want)
				}
				return nil
			}
			patience := func(waits bool) time.Duration {
				if waits {
					return 100 * time.Millisecond
				}
				return 20 * time.Second
			}
			send(conns[0], slow)
			send(conns[1], quick) // to the other worker, by either policy
			if err := expect(conns[1], quick, 20*time.Second); err != nil {
				t.Fatal(err)
			}
			send(conns[2], quick) // with fifo it is the first one's turn
			if err := expect(conns[2], quick, patience(tc.other)); errors.Is(err, os.ErrDeadlineExceeded) != tc.other {
				t.Errorf("another connection: %v, waits %v", err, tc.other)
			}
			send(conns[0], quick)
			if !tc.behind {
				if err := expect(conns[0], quick, 20*time.Second); err != nil {
					t.Errorf("behind the slow message: %v", err)
				}
			}
			if err := expect(conns[0], slow, 20*time.Second); err != nil {
				t.Errorf("the slow message: %v", err)
			}
			if tc.behind {
				if err := expect(conns[0], quick, 20*time.Second); err != nil {
					t.Errorf("behind the slow message: %v", err)
				}
			}
			if tc.other {
				if err := expect(conns[2], quick, 20*time.Second); err != nil {
					t.Errorf("another connection, later: %v", err)
				}
			}
		})
	}
}
