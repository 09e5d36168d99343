//go:build linux

package mux

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

// Which socket gets which message, step by step: what a connection is sent at once is one
// ready callback, and what follows from it has happened before the next step.

// table is a Mux on one loop that is driven by hand, with its sockets and connections.
type table struct {
	t     *testing.T
	sim   *ringtest.Sim
	m     *Mux
	turn  func()
	socks []*Socket
	psock []*Psock
	peers []*ringtest.Peer
	next  uint32 // number of the next message
}

func newTable(t *testing.T, o Options, conns int, socks ...SocketOptions) *table {
	s := ringtest.New(1, ringtest.Calm())
	s.LogOnFailure(t)
	m, l := simMux(t, s, o)
	w := &table{t: t, sim: s, m: m, turn: func() {
		s.Settle()
		for range 3 { // a task, the message it leads to, and what follows
			l.Turn()
		}
	}}
	for range conns {
		p, peer := simPeer(t, s, m)
		w.psock, w.peers = append(w.psock, p), append(w.peers, peer)
	}
	w.turn()
	for _, o := range socks {
		w.open(o)
	}
	return w
}

func (w *table) open(o SocketOptions) *Socket {
	w.t.Helper()
	s, err := w.m.OpenSocket(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.socks = append(w.socks, s)
	w.turn()
	return s
}

const tableCharge = 8 + chargeOverMsg // of a message that say sends

// say sends n messages on a connection, with the next numbers, at once.
func (w *table) say(conn, n int) {
	w.t.Helper()
	var b []byte
	for range n {
		b = binary.BigEndian.AppendUint32(b, 4)
		b = binary.BigEndian.AppendUint32(b, w.next)
		w.next++
	}
	if _, err := w.peers[conn].Write(b); err != nil {
		w.t.Fatal(err)
	}
	w.turn()
}

// has checks which messages wait at the sockets, in this order. With FIFO.
func (w *table) has(want ...[]uint32) {
	w.t.Helper()
	w.check()
	for i, want := range want {
		var got []uint32
		for b := w.socks[i].own.head(); b != nil; b = b.next {
			got = append(got, b.numbers()...)
		}
		if !slices.Equal(got, want) {
			w.t.Errorf("at socket %d wait messages %d, want %d", i, got, want)
		}
	}
}

// numbers returns those of the messages that nobody has started.
func (b *burst) numbers() (n []uint32) {
	bytes := b.msg.AppendTo(nil)
	for i, l := range b.lens {
		if i >= int(b.claimed.Load()) {
			n = append(n, binary.BigEndian.Uint32(bytes[4:]))
		}
		bytes = bytes[l:]
	}
	return n
}

// check looks at steer's invariants.
func (w *table) check() {
	w.t.Helper()
	w.m.steer.mu.Lock()
	defer w.m.steer.mu.Unlock()
	if v := w.m.steer.violation(); v != "" {
		w.t.Fatal(v)
	}
}

// takes receives messages with these numbers and ends their handling.
func (w *table) takes(s *Socket, want ...uint32) {
	w.t.Helper()
	for i, n := range want {
		r, ok := s.TryRecv()
		if !ok {
			w.t.Fatalf("socket %d has %d messages, want %d", s.Index(), i, len(want))
		}
		if got := number(r.Msg); got != n {
			w.t.Errorf("socket %d: message %d, want %d", s.Index(), got, n)
		}
		r.Done()
		w.turn()
		w.check()
	}
}

// Each socket has a limit of its own, and one that was full takes its turn again when it
// has fallen below its low-water mark.
func TestSocketsHaveLimitsAndLowWaterMarks(t *testing.T) {
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 1,
		SocketOptions{RecvBytes: 4 * tableCharge, LowWater: 2*tableCharge + 1}, SocketOptions{RecvBytes: 2*tableCharge + 1})
	w.say(0, 8)
	w.has(upTo(0, 4), upTo(4, 7)) // and 7 is parked
	w.takes(w.socks[0], 0)
	w.has(upTo(1, 4), upTo(4, 7))
	w.takes(w.socks[1], 4, 5) // below its limit, not empty
	w.has(upTo(1, 4), []uint32{6})
	w.takes(w.socks[0], 1) // two are left: below the mark
	w.has([]uint32{2, 3, 7}, []uint32{6})
	w.takes(w.socks[1], 6)
	w.say(0, 1) // the first has room and comes first: it came back first
	w.has([]uint32{2, 3, 7, 8}, nil)
}

// Messages of a closed socket go to the others until these are full: of a burst so many
// that the last one alone crosses a limit. The rest goes on to the next, or is held.
//
// Proves I10.
func TestClosedSocketsBurstIsCutAtTheLimit(t *testing.T) {
	for _, limit := range []int{1, 3, -1} { // of a flow
		w := newTable(t, Options{Policy: FIFO, FlowCap: limit}, 1,
			SocketOptions{RecvBytes: 30 * tableCharge}, SocketOptions{RecvBytes: 4 * tableCharge}, SocketOptions{RecvBytes: 5*tableCharge + 1})
		w.say(0, 20)
		w.has(upTo(0, 20), nil, nil)
		w.takes(w.socks[0], 0)
		w.socks[0].Close()
		if limit == 1 {
			w.has(nil, upTo(1, 5), nil) // the others would overtake these
			w.takes(w.socks[1], 1, 2, 3, 4)
			w.has(nil, upTo(5, 9), nil) // it has room again before it has refused anything
			continue
		}
		w.has(nil, upTo(1, 5), upTo(5, 11))
		w.takes(w.socks[2], 5, 6, 7, 8, 9)
		w.has(nil, upTo(1, 5), []uint32{10})
		w.takes(w.socks[2], 10) // the held ones come
		w.has(nil, upTo(1, 5), upTo(11, 17))
		w.takes(w.socks[1], 1, 2, 3, 4)
		w.has(nil, upTo(17, 20), upTo(11, 17))
	}
}

func upTo(from, to uint32) (n []uint32) {
	for i := from; i < to; i++ {
		n = append(n, i)
	}
	return n
}

// What a disabled socket has queued goes to the first that waits, before newer messages, and
// then to the next when that is full.
//
// Proves E33.
func TestDisabledSocketsMessagesMove(t *testing.T) {
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 1,
		SocketOptions{}, SocketOptions{RecvBytes: 2 * tableCharge}, SocketOptions{})
	w.say(0, 4)
	w.has(upTo(0, 4), nil, nil)
	w.socks[0].SetRecvDisabled(true)
	w.has(nil, upTo(0, 2), upTo(2, 4))
	w.say(0, 1) // the second waits no more
	w.has(nil, upTo(0, 2), upTo(2, 5))
	w.takes(w.socks[1], 0, 1)
	w.socks[0].SetRecvDisabled(false)
	w.say(0, 1) // the third came back first
	w.say(0, 1)
	w.say(0, 1)
	w.has(upTo(7, 8), upTo(6, 7), upTo(2, 6))
}

// With every socket disabled messages are held, each connection parks one more and pauses;
// who is enabled gets them all in order.
//
// Proves E34.
func TestDisabledOnlySocketsMessagesAreHeld(t *testing.T) {
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 2, SocketOptions{})
	w.say(0, 3)
	w.say(1, 2)
	w.socks[0].SetRecvDisabled(true)
	w.has(nil)
	if n := w.m.Stats().Queued; n != 5 {
		t.Errorf("%d messages are held, want 5", n)
	}
	w.say(1, 2)
	w.say(0, 2)
	if w.psock[0].holds != 1 || w.psock[1].holds != 1 || w.m.Stats().Parks != 2 {
		t.Errorf("connections hold %d and %d times, parked %d times; want once each", w.psock[0].holds, w.psock[1].holds, w.m.Stats().Parks)
	}
	w.socks[0].SetRecvDisabled(false)
	w.turn()
	w.turn()
	w.has([]uint32{0, 1, 2, 3, 4, 5, 7, 6, 8}) // held, parked, and what was behind those
	w.socks[0].SetRecvDisabled(true)
	s := w.open(SocketOptions{})
	w.takes(s, 0, 1, 2, 3, 4, 5, 7, 6, 8)
}

// A socket is disabled, or closed, while messages of a callback come to it: all of these do,
// and go to another when the callback ends.
//
// Proves E35, E36.
func TestSocketIsShutInsideACallback(t *testing.T) {
	for _, how := range []string{"disabled", "enabled again", "closed"} {
		w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 1, SocketOptions{}, SocketOptions{})
		s := w.socks[0]
		var charges []int64
		w.m.Handle(func(_ *Psock, msg *sgmsg.Message) Verdict {
			switch number(msg) {
			case 2:
				if how == "closed" {
					s.Close()
				} else {
					s.SetRecvDisabled(true)
				}
			case 4:
				if how == "enabled again" {
					s.SetRecvDisabled(false)
				}
			}
			charges = append(charges, s.own.charge.Load()+w.socks[1].own.charge.Load())
			return Pass
		})
		w.say(0, 5)
		w.say(0, 1)
		if how == "enabled again" {
			w.has(upTo(0, 5), upTo(5, 6))
		} else {
			w.has(nil, upTo(0, 6))
		}
		if charges[4] != 0 {
			t.Errorf("%s: sockets had messages before the callback ended", how)
		}
	}
}

// Proves E40.
func TestCloneOfADisabledSocketIsEnabled(t *testing.T) {
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 1, SocketOptions{RecvDisabled: true})
	clone, err := w.socks[0].Clone()
	if err != nil {
		t.Fatal(err)
	}
	w.say(0, 2)
	w.has(nil)
	w.takes(clone, 0, 1)
	if !w.socks[0].RecvDisabled() || clone.RecvDisabled() {
		t.Error("the clone has the option of its model")
	}
}

// A socket is closed inside a callback that is bound to it, and then the Mux, before the
// callback ends: what the socket had queued is dropped, and its memory comes back.
func TestMuxIsClosedWhileAClosedSocketIsBound(t *testing.T) {
	w := newTable(t, Options{Policy: FIFO, FlowCap: -1}, 1, SocketOptions{})
	w.say(0, 3)
	w.m.Handle(func(_ *Psock, msg *sgmsg.Message) Verdict {
		if number(msg) == 4 {
			w.socks[0].Close()
			w.m.steer.close()
		}
		return Pass
	})
	w.say(0, 3)
	if st := w.m.Stats(); st.Discarded != 6 || st.Queued != 0 {
		t.Errorf("%d messages were dropped and %d wait, want 6 and 0", st.Discarded, st.Queued)
	}
}
