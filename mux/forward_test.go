//go:build linux

package mux_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// forwarder serves connections whose messages leave on the socket it returns.
func forwarder(t *testing.T, o mux.Options) (m *mux.Mux, s *mux.Socket, addr string) {
	m, addr = server(t, o, nil)
	s = openWith(t, m, mux.SocketOptions{SendBytes: 1 << 20})
	m.Handle(func(_ *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		if err := s.TrySend(msg); err != nil && !errors.Is(err, mux.ErrClosed) {
			t.Errorf("forward: %v", err)
		}
		return mux.Done
	})
	return m, s, addr
}

// What a handler passes on within a turn leaves together.
func TestForwardedMessagesLeaveTogether(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, _, addr := forwarder(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}})
		_, out := attach(t, m)
		in := dial(t, addr)
		const n = 500
		writeNumbers(t, in, 0, n)
		if got := readNumbers(t, out, n); !slices.Equal(got, upTo(0, n)) {
			t.Errorf("got %v", got)
		}
		until(t, "all is counted", func() bool { return m.Stats().TxMessages == n })
		if st := m.Stats(); st.Reserved > n/10 {
			t.Errorf("%d reservations for %d messages", st.Reserved, n)
		}
	})
}

// Messages that wait for a connection do not keep the buffers they came in, or nothing
// could be received any more.
func TestForwardedMessagesLeaveReceiveBuffers(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, _, addr := forwarder(t, narrow(b))
		in := dial(t, addr)
		const n = 200
		body := make([]byte, 900)
		for i := range n {
			body[0] = byte(i)
			if _, err := in.Write(frame(body)); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "all have come", func() bool { return m.Snapshot().Sockets[0].SendQueue == n })
		_, out := attach(t, m)
		for i := range n {
			body[0] = byte(i)
			expect(t, out, frame(body))
		}
	})
}

// narrow is a loop that has eight receive buffers.
func narrow(b ring.Backend) mux.Options {
	return mux.Options{Loops: 1, MaxMessage: 4 << 10, Ring: ring.Options{Backend: b,
		Buffers: 8, BufferSize: 1 << 10, RegionBytes: -1, Credit: 2 << 10}}
}

// Nor do the parts of a message that is not ended.
func TestForwardedPartsLeaveReceiveBuffers(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, addr := server(t, narrow(b), nil)
		s := openWith(t, m, mux.SocketOptions{Type: mux.Seqpacket})
		const n = 40
		m.Handle(func(_ *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			if err := s.SendFlags(t.Context(), msg, mux.DontWait); err != nil {
				t.Errorf("forward: %v", err)
			}
			return mux.Done
		})
		in := dial(t, addr)
		part := frame(make([]byte, 900))
		for range n {
			if _, err := in.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "all have come", func() bool { return m.Stats().RxMessages == n })
		_, out := attach(t, m)
		if err := s.SendFlags(t.Context(), new(sgmsg.Message), mux.EOR); err != nil {
			t.Fatal(err)
		}
		expect(t, out, bytes.Repeat(part, n))
	})
}

// Nor do requests, and what is kept of them to be sent again.
func TestForwardedRequestsLeaveReceiveBuffers(t *testing.T) {
	for _, resend := range []bool{false, true} {
		each(t, func(t *testing.T, b ring.Backend) {
			m, addr := server(t, narrow(b), nil)
			number := strparser.IDField{Offset: 4, Width: 4}
			const n = 100
			var ended atomic.Int32
			var client atomic.Pointer[mux.Client]
			forward := func(_ *mux.Psock, msg *sgmsg.Message) mux.Verdict {
				c := &mux.Call{Resend: resend, Done: func(c *mux.Call, err error) { ended.Add(1) }}
				msg.MoveTo(&c.Request)
				if err := client.Load().Go(t.Context(), c); err != nil {
					t.Errorf("forward: %v", err)
				}
				return mux.Done
			}
			cl, err := m.Client(mux.ClientOptions{
				IDs: strparser.IDs{Request: number, Reply: number}, Sockets: 1,
				Socket: mux.SocketOptions{SendBytes: 1 << 20}, Push: forward,
			})
			if err != nil {
				t.Fatal(err)
			}
			client.Store(cl)
			in := dial(t, addr)
			for range n {
				if _, err := in.Write(frame(make([]byte, 900))); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "all have come", func() bool { return cl.InFlight() == n })
			_, out := attach(t, m)
			got := make([]byte, n*904)
			if _, err := io.ReadFull(out, got); err != nil {
				t.Fatal(err)
			}
			for range n { // while the calls are out
				if _, err := in.Write(frame(make([]byte, 900))); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "as many again", func() bool { return cl.InFlight() == 2*n })
			cl.Close()
			until(t, "all have ended", func() bool { return ended.Load() == 2*n })
		})
	}
}

// A message that no connection's out queue could hold is refused at once, and what was open of it
// is dropped or kept as its socket's type says.
func TestSendOfTooMuchIsRefused(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1, MaxMessage: 4 << 10, Ring: ring.Options{SendSoft: 8 << 10, SendHard: 16 << 10}}, nil)
	_, c := attach(t, m)
	for _, kind := range []mux.SocketType{mux.Dgram, mux.Seqpacket} {
		s := openWith(t, m, mux.SocketOptions{Type: kind})
		begun := frame(make([]byte, 100))
		sendBytes(t, s, begun[:50], mux.More)
		if n, err := s.SendMsg(t.Context(), make([]byte, 9<<10), mux.EOR); n != 0 || !errors.Is(err, syscall.EMSGSIZE) {
			t.Errorf("%v: %d bytes, %v", kind, n, err)
		}
		rest := begun // begins anew
		if kind == mux.Seqpacket {
			rest = begun[50:]
		}
		sendBytes(t, s, rest, mux.EOR)
		expect(t, c, begun)
	}
}
