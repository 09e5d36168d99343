//go:build linux

package mux_test

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

// Peers that hold on to memory by what they send, or by what they do not read,
// must not keep an honest one from being served.

// More peers than there are receive buffers each send a third of one, of a message
// they never finish.
func TestIdlePeersWithPartialMessagesDoNotKeepTheBuffers(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Loops: 1, MaxMessage: 32 << 10, Ring: ring.Options{
			Backend: b, Buffers: 16, BufferSize: 1 << 10, LargeBytes: 4 << 10, Credit: 2 << 10,
		}}, echo)
		l := m.Loops()[0]
		part := frame(make([]byte, 1500))[:300]
		const idle = 64
		for range idle {
			_, c := attach(t, m)
			if _, err := c.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		_, honest := attach(t, m)
		for range 10 {
			roundTrip(t, honest, "an honest message")
		}
		until(t, "all parts are received", func() bool { return l.Stats().BytesIn >= idle*uint64(len(part)) })
		if st := l.Stats(); st.BuffersFree < st.Buffers/4 {
			t.Errorf("idle peers keep all but %d of %d receive buffers", st.BuffersFree, st.Buffers)
		}
	})
}

// Peers announce large messages until the large region is reserved for them, and
// send no more. An honest one of the largest size is received in chunks.
func TestAnnouncedGiantsDoNotStopAnHonestLargeMessage(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		const size = 1 << 20
		m := newMux(t, mux.Options{Loops: 1, MaxMessage: size, Ring: ring.Options{Backend: b}}, echo)
		l := m.Loops()[0]
		msg := frame(make([]byte, size-4))
		for range l.Options().RegionBytes/size + 3 {
			_, c := attach(t, m)
			if _, err := c.Write(msg[:100]); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "the large region is reserved", func() bool {
			st := l.Stats()
			return st.RegionUsed+size > l.Options().RegionBytes
		})
		_, honest := attach(t, m)
		for range 2 {
			sent := make(chan error, 1)
			go func() { _, err := honest.Write(msg); sent <- err }()
			if n, err := io.CopyN(io.Discard, honest, int64(len(msg))); err != nil {
				t.Fatalf("of the reply came %d bytes: %v", n, err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Replies that nobody reads use up the private memory. An honest peer's reply then
// has no room, until the one that has been stuck for longest is ended.
func TestPeersThatNeverReadGiveWayWhenPrivateMemoryIsFull(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		type end struct {
			p   *mux.Psock
			err error
		}
		const stuck = 24
		closed := make(chan end, stuck+1)
		m := newMux(t, mux.Options{
			Loops: 1, Ring: ring.Options{Backend: b, SpillBytes: 4 << 20},
			OnClose: func(p *mux.Psock, err error) { closed <- end{p, err} },
		}, echo)
		l := m.Loops()[0]
		payload := make([]byte, 60<<10)
		honest, reader := attach(t, m)
		var full bool
		for range stuck {
			c, s := loopback(t)
			small(t, c)
			if err := s.(*net.TCPConn).SetWriteBuffer(64 << 10); err != nil {
				t.Fatal(err)
			}
			p := attachConn(t, m, s)
			for p.TrySend(new(sgmsg.Message)) && !full { // an empty one: refused when the queue is over its limit
				switch err := p.SendPayload(payload); {
				case errors.Is(err, syscall.ENOMEM):
					full = true
				case err != nil:
					t.Fatal(err)
				}
				if err := l.Do(func() {}); err != nil {
					t.Fatal(err)
				}
			}
			if full {
				break
			}
		}
		if !full {
			t.Fatalf("private memory did not run out: %d bytes in use", l.Stats().SpillUsed)
		}
		until(t, "the honest peer can be sent to", func() bool {
			err := honest.SendPayload(payload)
			if err != nil && !errors.Is(err, syscall.ENOMEM) {
				t.Fatal(err)
			}
			l.Do(func() {})
			return err == nil
		})
		if _, err := io.CopyN(io.Discard, reader, int64(4+len(payload))); err != nil {
			t.Error(err)
		}
		e := within(t, "a stuck connection ends", closed)
		if e.p == honest || !errors.Is(e.err, syscall.ENOBUFS) {
			t.Errorf("connection %d was ended (the honest one is %d): %v, want ENOBUFS", e.p.Index(), honest.Index(), e.err)
		}
		if n := m.Psocks(); n < 3 {
			t.Errorf("%d connections left: more were ended than had to be", n)
		}
		roundTrip(t, reader, "still here")
	})
}
