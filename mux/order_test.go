//go:build linux

package mux_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// loops starts n loops that belong to the test.
func loops(t *testing.T, b ring.Backend, n int) (ls []*ring.Loop) {
	t.Helper()
	for range n {
		l, err := ring.New(ring.Options{Backend: b, Buffers: 64, RegionBytes: 2 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		ls = append(ls, l)
	}
	return ls
}

// A handler of one Mux sends to a connection of another one on the same loop, in
// turn a message it was lent and one of its own.
func TestTwoMuxesOnOneLoopKeepTheOrderOfSends(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		on := loops(t, b, 1)
		second := newMux(t, mux.Options{On: on}, echo)
		p, out := attach(t, second)
		first := newMux(t, mux.Options{On: on}, func(_ *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			own := msg.AppendTo(nil)[4:]
			own[0] = 1
			p.Send(msg)
			if err := p.SendPayload(own); err != nil {
				t.Error(err)
			}
			return mux.Done
		})
		_, in := attach(t, first)
		const n = 100
		var want []byte
		for i := range uint32(n) {
			payload := binary.BigEndian.AppendUint32([]byte{0}, i)
			msg := frame(payload)
			want = append(want, msg...)
			if _, err := in.Write(msg); err != nil {
				t.Fatal(err)
			}
			payload[0] = 1
			want = append(want, frame(payload)...)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Error("the messages did not arrive in the order in which they were sent")
		}
	})
}

// Two connections have news in the same turn, and the handler of the first closes
// the other: that one's message is not handled, and the first goes on.
func TestHandlerClosesAnotherConnectionThatIsReady(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		psocks := map[*mux.Psock]net.Conn{}
		var armed atomic.Bool
		handled := make(chan *mux.Psock, 2)
		closed := make(chan *mux.Psock, 2)
		stopped, goOn := make(chan struct{}), make(chan struct{})
		m := newMux(t, mux.Options{
			Loops: 1, Ring: ring.Options{Backend: b},
			OnClose: func(p *mux.Psock, _ error) { closed <- p },
		}, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			if armed.Swap(false) {
				for p := range psocks {
					if p != from {
						p.Close()
					}
				}
			}
			handled <- from
			return echo(from, msg)
		})
		for range 2 {
			p, c := attach(t, m)
			psocks[p] = c
		}
		armed.Store(true)
		// The loop stands still until both have arrived.
		m.Loops()[0].Post(func() { close(stopped); <-goOn })
		<-stopped
		msg := frame([]byte("to be or not to be"))
		for _, c := range psocks {
			if _, err := c.Write(msg); err != nil {
				t.Fatal(err)
			}
		}
		close(goOn)
		one := within(t, "handled", handled)
		other := within(t, "closed", closed)
		if one == other {
			t.Fatal("the handler's own connection was closed")
		}
		if n, err := psocks[other].Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("the closed connection read %d bytes, %v", n, err)
		}
		c := psocks[one]
		if _, err := io.ReadFull(c, make([]byte, len(msg))); err != nil {
			t.Error(err)
		}
		if n := len(handled); n > 0 {
			t.Errorf("%d messages handled after the other connection was closed", n)
		}
		roundTrip(t, c, "still here")
	})
}

// OnOpen comes once for every connection and before its first message, however it
// came: here with bytes that were there before it.
func TestOnOpenComesBeforeTheFirstMessage(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		type seen struct{ opened, handled int }
		_, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		handled := make(chan *seen, 4)
		o := mux.Options{Ring: ring.Options{Backend: b}, OnOpen: func(p *mux.Psock) {
			if p.Value() != nil {
				t.Error("OnOpen was called twice")
			}
			p.SetValue(&seen{opened: 1})
		}}
		m, here := server(t, o, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			v, ok := from.Value().(*seen)
			if !ok {
				t.Error("a message before OnOpen")
				v = new(seen)
			}
			v.handled++
			handled <- v
			return mux.Done
		})
		// Attached.
		c, s := loopback(t)
		if _, err := c.Write(frame([]byte("early"))); err != nil {
			t.Fatal(err)
		}
		attachConn(t, m, s)
		within(t, "attached", handled)
		// Accepted.
		if _, err := dial(t, here).Write(frame([]byte("early"))); err != nil {
			t.Fatal(err)
		}
		within(t, "accepted", handled)
		// Dialled.
		p, err := m.Dial(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SendPayload([]byte("echo this")); err != nil {
			t.Fatal(err)
		}
		within(t, "dialled", handled)
		// On a loop's own thread.
		c, s = loopback(t)
		if _, err := c.Write(frame([]byte("early"))); err != nil {
			t.Fatal(err)
		}
		if e := m.Loops()[0].Do(func() { _, err = m.Attach(s) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		within(t, "attached on the loop", handled)
	})
}

// The read that a large message has put into bulk must not keep the small one
// behind it.
func TestSmallRequestAfterALargeOneIsReadAtOnce(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		_, c := attach(t, m)
		for i, n := range []int{500 << 10, 10, 500 << 10, 500 << 10, 10, 0, 700 << 10, 499 << 10, 1, 100 << 10, 33 << 10} {
			msg := frame(make([]byte, n))
			for j := 4; j < len(msg); j++ {
				msg[j] = byte(i + j*7)
			}
			sent := make(chan error, 1)
			go func() { _, err := c.Write(msg); sent <- err }()
			got := make([]byte, len(msg))
			if k, err := io.ReadFull(c, got); err != nil {
				t.Fatalf("request %d of %d bytes: %d came back, %v", i, n, k, err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, msg) {
				t.Fatalf("request %d of %d bytes came back with other content", i, n)
			}
		}
	})
}

// readOnly is Length32 with headers nobody can write, and longer ones.
type readOnly struct{ strparser.Format }

func (readOnly) HeaderLen() int                         { return 100 }
func (readOnly) PutHeader(b []byte, _ int) (int, error) { return 0, errors.ErrUnsupported }

// A payload that cannot be framed is refused and leaves nothing behind.
func TestPayloadThatCannotBeFramed(t *testing.T) {
	m := newMux(t, mux.Options{Format: readOnly{strparser.Length32}}, echo)
	p, c := attach(t, m)
	if err := p.SendPayload([]byte("x")); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("%v, want ErrUnsupported", err)
	}
	if used := m.Loops()[0].Stats().SpillUsed; used != 0 {
		t.Errorf("%d bytes of private memory are left in use", used)
	}
	roundTrip(t, c, "echo needs no header")
}
