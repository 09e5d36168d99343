//go:build linux

package ring

import (
	"errors"
	"net"
	"syscall"
	"testing"
)

// Only sockets of TCP are taken while they connect; how they do is shown over real ones, by
// package mux.
func TestAttachConnectingRefuses(t *testing.T) {
	b := newBed(t, small())
	fd, err := b.sim.Listen("/run/socket")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := b.l.AttachConnecting(fd, nil); s != nil || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("of a unix socket: %v, want EINVAL", err)
	}
	b.l.Discard(fd)
	b.close()
	if _, err := b.l.AttachConnecting(0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("on a closed loop: %v, want ErrClosed", err)
	}
}

// A socket of which somebody else has heard that it is connected: asked again it says
// EISCONN, which is as good. What was given to the stream before leaves then.
func TestAttachConnectingOfOneThatIsConnected(t *testing.T) {
	b := newBed(t, small())
	fd, peer := b.sim.Pair()
	r := &rec{t: t}
	s, err := b.l.AttachConnecting(fd, r)
	if err != nil {
		t.Fatal(err)
	}
	r.s = s
	if s.RemoteAddr() != nil || r.opened != 0 {
		t.Errorf("before it stands: address %v, opened %d times", s.RemoteAddr(), r.opened)
	}
	send(t, s, []byte("early"))
	b.until("it has sent", func() bool { return peer.Buffered() == 5 })
	if _, ok := s.RemoteAddr().(*net.TCPAddr); !ok || r.opened != 1 {
		t.Errorf("address %v, opened %d times", s.RemoteAddr(), r.opened)
	}
}
