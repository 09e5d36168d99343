//go:build linux

package mux_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/strparser"
)

// call connects and exchanges a message. The connection is nil when it was refused.
func call(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	hello := "\x00\x00\x00\x05hello"
	b := make([]byte, len(hello))
	if _, err = io.WriteString(c, hello); err == nil {
		_, err = io.ReadFull(c, b)
	}
	if err == nil && string(b) == hello {
		return c
	}
	c.Close()
	return nil
}

// Over real sockets: a socket of both families shows IPv4 peers as IPv6, and they are the
// same as those of a socket of IPv4; 127.0.0.2 is somebody else. What is given back by
// Detach does not count any more.
func TestMaxPsocksPerPeerOfBothFamilies(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		opened := make(chan *mux.Psock, 8)
		m, err := mux.New(mux.Options{
			Format: strparser.Length32, Loops: 2, Ring: ring.Options{Backend: b}, MaxPsocksPerPeer: 2,
			OnOpen: func(p *mux.Psock) { opened <- p },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		m.Handle(echo)
		both, err := net.Listen("tcp", "[::]:0")
		if err != nil {
			t.Skipf("no IPv6: %v", err)
		}
		four, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go m.Serve(both)
		go m.Serve(four)
		port := both.Addr().(*net.TCPAddr).Port
		mapped := fmt.Sprintf("127.0.0.1:%d", port)
		if call(t, mapped) == nil || call(t, four.Addr().String()) == nil {
			t.Fatal("one of the first two connections was refused")
		}
		if call(t, mapped) != nil || call(t, four.Addr().String()) != nil {
			t.Fatal("a third connection was accepted")
		}
		if n := m.Stats().Refused; n != 2 {
			t.Errorf("Stats.Refused is %d, want 2", n)
		}
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		c, err := from.Dial("tcp", four.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		first := <-opened
		<-opened
		<-opened // 127.0.0.2 was accepted
		back, err := first.Detach()
		if err != nil {
			t.Fatal(err)
		}
		defer back.Close()
		if call(t, mapped) == nil {
			t.Error("a connection was refused though another had been given back")
		}
	})
}
