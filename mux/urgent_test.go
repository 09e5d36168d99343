//go:build linux

package mux_test

import (
	"bytes"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// urgent sends one byte with MSG_OOB.
func urgent(t *testing.T, c net.Conn) {
	t.Helper()
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := rc.Write(func(fd uintptr) bool {
		err = syscall.Sendto(int(fd), []byte{'!'}, syscall.MSG_OOB, nil)
		return err != syscall.EAGAIN
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
}

// An urgent byte, which is none of the stream's, lies between messages or in one. A receive
// ends in front of it although there is more, and nothing is left lying for that. (A second
// one before the first has been passed makes the first an ordinary byte: tcp(7).)
func TestUrgentByteStopsNoMessage(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, echo)
		msg := frame([]byte("one of two"))
		say := func(c net.Conn, cut int) {
			for i, part := range [][]byte{msg[:cut], msg[cut:], msg} {
				if _, err := c.Write(part); err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					urgent(t, c)
				}
			}
		}
		hears := func(c net.Conn, when string, cut int) {
			got := make([]byte, 2*len(msg))
			if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got[len(msg):], msg) {
				t.Fatalf("an urgent byte behind byte %d, %s: %d bytes came back: %v", cut, when, n, err)
			}
		}
		for cut := range len(msg) + 1 {
			c, s := loopback(t)
			say(c, cut)
			attachConn(t, m, s)
			hears(c, "sent before the first receive", cut)
			_, c = attach(t, m)
			say(c, cut)
			hears(c, "sent later", cut)
		}
	})
}
