//go:build linux

package epoll

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// TestPacketFairness: a socket with many datagrams yields a burst of them in one Wait, and
// the others get theirs in the same.
func TestPacketFairness(t *testing.T) {
	b := start(t, 256, 1024)
	key := func(fd int) backend.Key { return backend.MakeKey(backend.OpRecvMsg, 1, uint32(fd)) }
	open := func(send int) (fd int) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		at, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		for range send {
			if err := unix.Sendto(fd, []byte("one"), 0, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Attach(fd); err != nil {
			t.Fatal(err)
		}
		b.RecvMsg(key(fd), fd)
		return fd
	}
	flood, other := open(2*packetBurst), open(1)
	count := map[backend.Key]int{}
	for _, e := range b.wait(t, -1) {
		count[e.Key]++
	}
	if count[key(flood)] != packetBurst || count[key(other)] != 1 {
		t.Errorf("%d datagrams of the flooder, want %d, and %d of the other, want 1", count[key(flood)], packetBurst, count[key(other)])
	}
	got := packetBurst
	for i := 0; got < 2*packetBurst && i < 4; i++ {
		got += len(b.wait(t, 0))
	}
	if got != 2*packetBurst {
		t.Errorf("%d datagrams of the flooder in all, want %d", got, 2*packetBurst)
	}
}
