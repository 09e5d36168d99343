//go:build linux

package ring

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/sgmsg"
)

// listenUnixgram opens an endpoint and a far end that sends to it.
func listenUnixgram(t *testing.T, l *Loop, r *packetRec) (dir string, peer *net.UnixConn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "kcm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	name := filepath.Join(dir, "1")
	listenPacket(t, l, "unixgram", name, r, PacketOptions{})
	peer, err = net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return dir, peer
}

// TestPacketUnixFailure: a send that fails takes nothing from what waits to be received. A
// unix socket has no error queue, and gives the next datagram to who asks for that.
func TestPacketUnixFailure(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 4, BufferSize: 1 << 10})
		r := packetRec{keep: []*sgmsg.Message{}}
		dir, peer := listenUnixgram(t, l, &r)
		const n = 8
		for i := range n {
			if _, err := peer.Write(fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		waitOn(t, l, "all buffers are held and one is missed", func() bool {
			return len(r.keep) == 4 && r.p.member&(1<<packetStarved) != 0
		})
		do(t, l, func() { sendPacket(t, r.p, nil, Route{Path: filepath.Join(dir, "nobody")}) })
		waitOn(t, l, "the error is told", func() bool { return len(r.errors) == 1 })
		do(t, l, func() {
			for _, m := range r.keep {
				m.Release()
			}
			r.keep = nil
		})
		waitOn(t, l, "the others are there", func() bool { return len(r.got) == n })
	})
}

// TestPacketUnixDescriptors: descriptors that a sender puts in are closed, whatever becomes
// of the datagram.
func TestPacketUnixDescriptors(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Buffers: 16, BufferSize: 1 << 10})
		var r packetRec
		_, peer := listenUnixgram(t, l, &r)
		for i := range 3 {
			in, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			rights := unix.UnixRights(int(out.Fd()), int(out.Fd()))
			rc, err := peer.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			do(t, l, func() {
				rc.Control(func(fd uintptr) { err = unix.Sendmsg(int(fd), []byte("take these"), rights, nil, 0) })
				if err != nil {
					t.Error(err)
				}
				if i == 2 {
					r.p.Close(nil)
				}
			})
			out.Close()
			in.SetReadDeadline(time.Now().Add(patience))
			if _, err := in.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("datagram %d: the pipe is still open for writing: %v", i, err)
			}
			in.Close()
		}
	})
}
