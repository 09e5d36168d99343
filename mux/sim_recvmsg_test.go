//go:build linux

package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// reads receives into a buffer of size bytes and checks what comes: as text, and the flags.
func (w *table) reads(s *Socket, size int, f Flags, want string, flags Flags) {
	w.t.Helper()
	p := slices.Repeat([]byte{'?'}, size+1)
	n, got, err := s.RecvMsg(context.Background(), p[:size], f|DontWait)
	if err != nil || string(p[:n]) != want || got != flags || p[n] != '?' {
		w.t.Errorf("RecvMsg with room for %d and flags %b: %q, flags %b, %v; want %q, flags %b", size, f, p[:n], got, err, want, flags)
	}
	w.turn()
	w.check()
}

// nothing checks that there is no message to receive.
func (w *table) nothing(s *Socket) {
	w.t.Helper()
	var p [100]byte
	if n, _, err := s.RecvMsg(context.Background(), p[:], DontWait); err != syscall.EAGAIN {
		w.t.Errorf("RecvMsg: %q, %v, want EAGAIN", p[:n], err)
	}
}

// text sends messages with these payloads at once; with its length each begins with 4 bytes.
func (w *table) text(conn int, payloads ...string) {
	w.t.Helper()
	var b []byte
	for _, p := range payloads {
		b = append(b, framed(p)...)
	}
	if _, err := w.peers[conn].Write(b); err != nil {
		w.t.Fatal(err)
	}
	w.turn()
}

func framed(p string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(p)))) + p
}

// counted checks a socket's counters, and that nothing else of its messages is left.
func (w *table) counted(s *Socket, messages, bytes, dropped uint64) {
	w.t.Helper()
	c := &s.rx
	if c.messages != messages || c.bytes != bytes || s.mux.steer.partsDropped.Load() != dropped {
		w.t.Errorf("socket %d counts %d messages, %d bytes, %d dropped; want %d, %d, %d",
			s.Index(), c.messages, c.bytes, s.mux.steer.partsDropped.Load(), messages, bytes, dropped)
	}
}

// recvTables runs fn with each policy, and one connection.
func recvTables(t *testing.T, fn func(t *testing.T, w *table, o SocketOptions)) {
	for _, policy := range []Policy{Idle, FIFO} {
		for _, kind := range []SocketType{Dgram, Seqpacket} {
			for _, limit := range []int{1, -1} {
				t.Run(fmt.Sprintf("%v/%v/%d", policy, kind, limit), func(t *testing.T) {
					fn(t, newTable(t, Options{Policy: policy, FlowCap: limit}, 1), SocketOptions{Type: kind})
				})
			}
		}
	}
}

// A message that does not fit is cut, on a Dgram socket, and said to be; on a Seqpacket socket
// the rest is what comes next. A buffer without room takes nothing but the first one's message.
//
// Proves E26, E27, I6, KC-1.
func TestRecvMsgIntoABufferThatIsTooShort(t *testing.T) {
	recvTables(t, func(t *testing.T, w *table, o SocketOptions) {
		s := w.open(o)
		w.nothing(s)
		w.text(0, "0123456789", "abc", "def", "g")
		all := framed("0123456789")
		if o.Type == Dgram {
			w.reads(s, 6, 0, all[:6], Trunc|EOR)
			w.reads(s, 7, 0, framed("abc"), EOR)
			w.reads(s, 0, 0, "", Trunc|EOR)
			w.counted(s, 3, 6+7, 0)
		} else {
			w.reads(s, 6, 0, all[:6], 0)
			w.counted(s, 0, 6, 0)
			w.reads(s, 0, 0, "", 0)
			w.reads(s, 7, 0, all[6:13], 0)
			w.reads(s, 100, 0, all[13:], EOR)
			w.reads(s, 7, 0, framed("abc"), EOR)
			w.reads(s, 6, 0, framed("def")[:6], 0)
			w.reads(s, 1, 0, "f", EOR)
			w.counted(s, 3, 14+7+7, 0)
		}
		w.reads(s, 100, 0, framed("g"), EOR)
		w.nothing(s)
		if st := w.m.Stats(); st.Received != 4 || st.Queued != 0 {
			t.Errorf("%d received, %d queued, want 4 and 0", st.Received, st.Queued)
		}
	})
}

// Proves E28.
func TestRecvMsgPeeks(t *testing.T) {
	recvTables(t, func(t *testing.T, w *table, o SocketOptions) {
		s := w.open(o)
		w.text(0, "abc", "def")
		w.reads(s, 5, Peek, framed("abc")[:5], 0)
		w.reads(s, 100, Peek, framed("abc"), 0)
		w.reads(s, 0, Peek, "", 0)
		w.counted(s, 0, 0, 0)
		w.reads(s, 100, 0, framed("abc"), EOR)
		w.reads(s, 100, 0, framed("def"), EOR)
		w.counted(s, 2, 14, 0)
	})
}

// Proves E29.
func TestRecvMsgIgnoresOtherFlags(t *testing.T) {
	recvTables(t, func(t *testing.T, w *table, o SocketOptions) {
		s := w.open(o)
		w.text(0, "abcd", "efgh")
		if o.Type == Dgram {
			w.reads(s, 6, Trunc|More|EOR|Batch, framed("abcd")[:6], Trunc|EOR)
		} else {
			w.reads(s, 6, Trunc|More|EOR|Batch, framed("abcd")[:6], 0)
			w.reads(s, 6, Trunc, "cd", EOR)
		}
		w.reads(s, 8, Trunc, framed("efgh"), EOR)
	})
}

// A message that was peeked at goes to another socket, in its place, when its own is closed;
// one of which bytes were read is dropped and counted. Disabling changes neither.
//
// Proves KC-5.
func TestClosedSocketsPart(t *testing.T) {
	recvTables(t, func(t *testing.T, w *table, o SocketOptions) {
		for _, read := range []bool{false, true} {
			if read && o.Type == Dgram {
				continue // it is never read in part
			}
			s := w.open(o)
			w.say(0, 3)
			first := w.next - 3
			f := Peek
			if read {
				f = 0
			}
			w.reads(s, 4, f, "\x00\x00\x00\x04", 0)
			s.SetRecvDisabled(true)
			other := w.open(o)
			before := w.m.Stats()
			s.Close()
			w.check()
			want := []uint32{first, first + 1, first + 2}
			switch {
			case read:
				w.counted(s, 0, 4, 1)
				want = want[1:]
			case w.m.steer.fifo && w.m.steer.cap != 1: // the others moved before
				want = []uint32{first + 1, first + 2, first}
			}
			w.takes(other, want...)
			w.nothing(other)
			after := w.m.Stats()
			if want := before.Received + 2; after.Received != want || after.Delay.Count != want || after.Queued != 0 {
				t.Errorf("%d received, of %d the delay; want %d", after.Received, after.Delay.Count, want)
			}
			if p := w.psock[0]; p.flow.slots != 0 || p.flow.owed.Load() != 0 {
				t.Errorf("%d slots are taken and %d messages owed", p.flow.slots, p.flow.owed.Load())
			}
			if _, _, err := s.RecvMsg(context.Background(), nil, DontWait); err != ErrClosed {
				t.Errorf("RecvMsg of a closed socket: %v, want ErrClosed", err)
			}
			other.Close()
		}
	})
}

// The rest of a message is there for RecvMsg while its socket is disabled, and nothing else.
func TestDisabledSocketsPart(t *testing.T) {
	recvTables(t, func(t *testing.T, w *table, o SocketOptions) {
		if o.Type == Dgram {
			return
		}
		s := w.open(o)
		w.text(0, "abcd", "efgh")
		w.reads(s, 6, 0, framed("abcd")[:6], 0)
		s.SetRecvDisabled(true)
		w.reads(s, 6, 0, "cd", EOR)
		w.nothing(s)
		s.SetRecvDisabled(false)
		w.reads(s, 8, 0, framed("efgh"), EOR)
	})
}

// A part that nobody has read on is dropped with the Mux.
func TestMuxIsClosedWithAPart(t *testing.T) {
	recvTables(t, func(t *testing.T, w *table, o SocketOptions) {
		s := w.open(o)
		w.say(0, 3)
		w.reads(s, 4, Peek, "\x00\x00\x00\x04", 0)
		if err := w.m.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.RecvMsg(context.Background(), nil, 0); !errors.Is(err, ErrClosed) {
			t.Errorf("RecvMsg of a closed Mux: %v, want ErrClosed", err)
		}
		if st := w.m.Stats(); st.Discarded != 3 || st.Received != 0 {
			t.Errorf("%d messages were dropped and %d received, want 3 and 0", st.Discarded, st.Received)
		}
	})
}

// Recv, Reader and RecvMsg count alike.
func TestSocketsCountWhatTheyReceive(t *testing.T) {
	for _, policy := range []Policy{Idle, FIFO} {
		w := newTable(t, Options{Policy: policy, FlowCap: -1}, 1, SocketOptions{})
		s := w.socks[0]
		w.say(0, 5)
		w.takes(s, 0)
		w.counted(s, 1, 8, 0)
		w.reads(s, 100, 0, "\x00\x00\x00\x04\x00\x00\x00\x01", EOR)
		w.counted(s, 2, 16, 0)
		rd := s.Reader()
		for range 2 {
			if _, err := rd.Next(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := rd.Close(); err != nil { // gives one back
			t.Fatal(err)
		}
		w.counted(s, 4, 32, 0)
		w.takes(s, 4)
		w.counted(s, 5, 40, 0)
	}
}
