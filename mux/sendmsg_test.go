//go:build linux

package mux_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

func openWith(t *testing.T, m *mux.Mux, o mux.SocketOptions) *mux.Socket {
	t.Helper()
	s, err := m.OpenSocket(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sendBytes sends p, which may be a part of a message.
func sendBytes(t *testing.T, s *mux.Socket, p []byte, f mux.Flags) {
	t.Helper()
	if n, err := s.SendMsg(t.Context(), p, f); n != len(p) || err != nil {
		t.Fatalf("send took %d of %d bytes: %v", n, len(p), err)
	}
}

// expect reads exactly want.
func expect(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d of %d bytes, %v: %.40q, want %.40q", n, len(want), err, got[:n], want)
	}
}

// A message sent with no connection there waits for one.
// Proves E9, E15.
func TestSendWaitsForAConnection(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, nil)
		s := openSocket(t, m)
		sendBytes(t, s, nil, 0)
		sendBytes(t, s, frame([]byte("early")), 0)
		_, c := attach(t, m)
		expect(t, c, frame([]byte("early")))
	})
}

// Several goroutines send on sockets over three connections, one of which is reset all the
// time and made anew: every message that comes is whole, none comes twice, and all that were queued were taken by a connection in the end.
// Proves I1, I3, I17, E20.
func TestSocketsSendWhileConnectionsDie(t *testing.T) {
	const sockets, senders, messages = 3, 2, 400
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Loops: 2, Ring: ring.Options{Backend: b}}, nil)
		var mu sync.Mutex
		seen := map[uint64]bool{}
		var readers sync.WaitGroup
		read := func(c net.Conn, most int) {
			defer readers.Done()
			for n := 0; most == 0 || n < most; n++ {
				var head [12]byte
				if _, err := io.ReadFull(c, head[:]); err != nil {
					return
				}
				body := make([]byte, binary.BigEndian.Uint32(head[:])-8)
				if _, err := io.ReadFull(c, body); err != nil {
					return
				}
				id := binary.BigEndian.Uint64(head[4:])
				for _, x := range body {
					if x != byte(id) {
						t.Errorf("message %d is torn", id)
						return
					}
				}
				mu.Lock()
				if seen[id] {
					t.Errorf("message %d came twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
			if tc, ok := c.(*net.TCPConn); ok {
				tc.SetLinger(0)
			}
			c.Close()
		}
		connect := func(most int) *mux.Psock {
			c, srv := loopback(t)
			if most > 0 {
				small(t, c)
			}
			p := attachConn(t, m, srv)
			readers.Add(1)
			go read(c, most)
			return p
		}
		connect(0)
		connect(0)
		stop := make(chan struct{})
		var killer sync.WaitGroup
		killer.Go(func() {
			for i := 1; ; i++ {
				p := connect(i%7 + 1)
				for p.State() != mux.Ended {
					select {
					case <-stop:
						p.Close()
						return
					default:
						runtime.Gosched()
					}
				}
			}
		})
		var all sync.WaitGroup
		for i := range sockets {
			s := openWith(t, m, mux.SocketOptions{SendBytes: 32 << 10})
			for j := range senders {
				all.Go(func() {
					for k := range messages {
						id := uint64(i<<40 | j<<32 | k)
						msg := make([]byte, 12+(k*37)%20000)
						binary.BigEndian.PutUint32(msg, uint32(len(msg)-4))
						binary.BigEndian.PutUint64(msg[4:], id)
						for i := range msg[12:] {
							msg[12+i] = byte(id)
						}
						if n, err := s.SendMsg(t.Context(), msg, 0); n != len(msg) || err != nil {
							t.Errorf("message %d: %d bytes, %v", id, n, err)
							return
						}
					}
				})
			}
			defer func() {
				if err := s.CloseWithDrain(t.Context()); err != nil {
					t.Error(err)
				}
			}()
		}
		all.Wait()
		close(stop)
		killer.Wait()
		until(t, "all is sent", func() bool {
			st := m.Stats()
			return st.TxMessages == sockets*senders*messages
		})
		st := m.Stats()
		t.Logf("%d messages sent, begun again %d times, %d connections aborted, %d reservations", st.TxMessages, st.TxRetries, st.TxAborts, st.Reserved)
		if st.TxDiscarded != 0 || st.LostMessages != 0 {
			t.Errorf("%d messages discarded, %d lost", st.TxDiscarded, st.LostMessages)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		readers.Wait()
		mu.Lock()
		defer mu.Unlock()
		// What a reset connection had accepted and not delivered is lost, with nobody to tell.
		if n := len(seen); n == 0 || n > sockets*senders*messages {
			t.Errorf("%d of %d messages came", n, sockets*senders*messages)
		}
	})
}

// Senders wait while a socket's buffer is full, in order, until a connection takes what is
// there; a context ends the wait. Proves E18, E47, KC-7.
func TestSendersWaitForRoom(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1}, nil)
	s := openWith(t, m, mux.SocketOptions{SendBytes: 1000})
	writable := s.Writable()
	<-writable // there is room
	big := frame(make([]byte, 5000))
	sendBytes(t, s, big, 0) // on an empty socket a message of any size
	if n, err := s.SendMsg(t.Context(), big, mux.DontWait); n != 0 || !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("a full socket took %d bytes, %v", n, err)
	}
	select {
	case <-writable:
		t.Error("a full socket is said to be writable")
	default:
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.SendMsg(ctx, big, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the context ended and the sender got %v", err)
	}
	var senders sync.WaitGroup
	for range 3 {
		senders.Go(func() { sendBytes(t, s, big, 0) })
	}
	_, c := attach(t, m)
	expect(t, c, bytes.Repeat(big, 4))
	senders.Wait()
	<-writable
	sendBytes(t, s, big, mux.DontWait)
	expect(t, c, big)
}

// Proves KC-10: with Fail a message is refused when no connection could take it, and when
// the last one goes who waits for room is told.
func TestWaitPsockFail(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1, MaxMessage: 8 << 20}, nil)
	s := openWith(t, m, mux.SocketOptions{WaitPsock: mux.Fail, SendBytes: 1})
	if _, err := s.SendMsg(t.Context(), frame(nil), 0); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("without a connection: %v", err)
	}
	c, srv := loopback(t)
	small(t, c)
	p := attachConn(t, m, srv)
	big := frame(make([]byte, 8<<20-4))
	sendBytes(t, s, big, 0) // the peer does not read
	got := make(chan error, 1)
	go func() {
		_, err := s.SendMsg(context.Background(), frame(nil), 0)
		got <- err
	}()
	until(t, "the sender waits", func() bool { return m.Snapshot().Sockets[0].Senders == 1 })
	if st := p.State(); st != mux.Open {
		t.Errorf("the connection is %v", st)
	}
	c.Close() // with bytes unread: a reset
	if err := within(t, "the sender's error", got); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("when the last connection went: %v", err)
	}
	until(t, "the connection has ended", func() bool { return p.State() == mux.Ended })
	if !errors.Is(p.Err(), syscall.ECONNRESET) && !errors.Is(p.Err(), syscall.EPIPE) {
		t.Errorf("it ended with %v", p.Err())
	}
}

// Proves E48: who waits for room when the socket is closed gets an error, and what was
// queued is not sent afterwards.
func TestCloseEndsWaitingSenders(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1}, nil)
	s := openWith(t, m, mux.SocketOptions{SendBytes: 1})
	sendBytes(t, s, frame([]byte("never sent")), 0)
	got := make(chan error, 1)
	go func() {
		_, err := s.SendMsg(context.Background(), frame(nil), 0)
		got <- err
	}()
	until(t, "the sender waits", func() bool { return m.Snapshot().Sockets[0].Senders == 1 })
	s.Close()
	if err := within(t, "the sender's error", got); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := s.SendMsg(t.Context(), frame(nil), 0); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("a closed socket: %v", err)
	}
	other := openSocket(t, m)
	_, c := attach(t, m)
	sendBytes(t, other, frame([]byte("sent")), 0)
	expect(t, c, frame([]byte("sent")))
	if st := m.Stats(); st.TxDiscarded != 1 || st.TxMessages != 1 {
		t.Errorf("%d messages discarded, %d sent", st.TxDiscarded, st.TxMessages)
	}
}

func TestCloseWithDrain(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1}, nil)
	s, stuck := openSocket(t, m), openSocket(t, m)
	msg := frame([]byte("before the end"))
	sendBytes(t, s, msg, mux.Batch) // the batch is flushed
	sendBytes(t, s, msg[:5], mux.More)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	sendBytes(t, stuck, msg, 0)
	if err := stuck.CloseWithDrain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a connection: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- s.CloseWithDrain(context.Background()) }()
	until(t, "the socket refuses", func() bool {
		_, err := s.SendMsg(t.Context(), nil, mux.More)
		return errors.Is(err, mux.ErrClosed)
	})
	_, c := attach(t, m)
	expect(t, c, msg)
	if err := within(t, "the end", done); err != nil {
		t.Error(err)
	}
	if st := m.Stats(); st.TxDiscarded != 1 || st.TxMessages != 1 {
		t.Errorf("%d messages discarded, %d sent", st.TxDiscarded, st.TxMessages)
	}
	if err := s.CloseWithDrain(t.Context()); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

// A message of many small parts takes not much more memory than its bytes.
func TestSmallPartsShareMemory(t *testing.T) {
	const parts, size = 100_000, 3
	for _, kind := range []mux.SocketType{mux.Dgram, mux.Seqpacket} {
		more, last := mux.More, mux.Flags(0)
		if kind == mux.Seqpacket {
			more, last = 0, mux.EOR
		}
		m := newMux(t, mux.Options{Loops: 1}, nil)
		s := openWith(t, m, mux.SocketOptions{Type: kind, SendBytes: 1})
		want := binary.BigEndian.AppendUint32(nil, parts*size)
		sendBytes(t, s, want, more)
		for i := range parts {
			part := []byte{byte(i), byte(i >> 8), byte(i >> 16)}
			sendBytes(t, s, part, more)
			want = append(want, part...)
		}
		if used := m.Loops()[0].Stats().SpillUsed; used < len(want) || used > 2*len(want)+1024 {
			t.Errorf("%v: %d bytes of memory for %d", kind, used, len(want))
		}
		sendBytes(t, s, nil, last)
		_, c := attach(t, m)
		expect(t, c, want)
		until(t, "memory is free", func() bool { return m.Loops()[0].Stats().SpillUsed == 0 })
	}
}

// When private memory is used up Dgram drops the message, and Seqpacket keeps what it was told
// that it has.
func TestSendWithoutMemory(t *testing.T) {
	for _, size := range []int{500, 10_000, 100_000} {
		for _, kind := range []mux.SocketType{mux.Dgram, mux.Seqpacket} {
			m := newMux(t, mux.Options{Loops: 1, Ring: ring.Options{SpillBytes: 1 << 20}}, nil)
			s := openWith(t, m, mux.SocketOptions{Type: kind})
			more, last := mux.More, mux.Flags(0)
			if kind == mux.Seqpacket {
				more, last = 0, mux.EOR
			}
			var want []byte
			for err := error(nil); err == nil; {
				part := bytes.Repeat([]byte{byte(len(want) / size)}, size)
				n := 0
				if n, err = s.SendMsg(t.Context(), part, more); err != nil && (n > 0 || !errors.Is(err, syscall.ENOMEM)) {
					t.Fatalf("%d bytes and %v, want ENOMEM", n, err)
				}
				if want = append(want, part[:n]...); len(want) > 1<<20 {
					t.Fatalf("%v: %d bytes were taken", kind, len(want))
				}
			}
			if kind == mux.Dgram {
				if used := m.Loops()[0].Stats().SpillUsed; used > 0 {
					t.Errorf("%d bytes are in use of a message that was dropped", used)
				}
				want = frame([]byte("another"))
				sendBytes(t, s, want, 0)
			} else {
				sendBytes(t, s, nil, last)
			}
			_, c := attach(t, m)
			expect(t, c, want)
			if st := m.Stats(); st.TxMessages != 1 {
				t.Errorf("%v: %d messages", kind, st.TxMessages)
			}
		}
	}
}

// With nothing to wait for it does not matter that the context has ended: tried often, as a
// select takes any of two that are ready.
func TestCloseWithDrainOfNothing(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1}, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 64 {
		if err := openSocket(t, m).CloseWithDrain(ended); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Shutdown(ended); err != nil {
		t.Errorf("shutdown of nothing: %v", err)
	}
}

// A message in the middle of which its connection is taken away is sent again from its first
// byte on another one. Proves E22.
func TestUnattachInTheMiddleOfAMessage(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		ended := make(chan error, 2)
		m := newMux(t, mux.Options{Loops: 1, MaxMessage: 8 << 20, Ring: ring.Options{Backend: b},
			OnClose: func(_ *mux.Psock, err error) { ended <- err },
			OnLost:  func(_ *mux.Psock, msg *sgmsg.Message, err error) { t.Errorf("%d bytes lost: %v", msg.Len(), err) },
		}, nil)
		s := openSocket(t, m)
		c, srv := loopback(t)
		small(t, c)
		p := attachConn(t, m, srv)
		big := frame(bytes.Repeat([]byte("a"), 8<<20-4))
		sendBytes(t, s, big, 0)
		until(t, "the connection takes no more", func() bool { return m.Snapshot().Psocks[0].TxBytes > 0 })
		if _, err := c.Write([]byte("\x00\x00\x00\x05theirs")); err != nil { // a message and a bit
			t.Fatal(err)
		}
		r, err := s.Recv(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.Done()
		back, err := p.Unattach()
		if err != nil {
			t.Fatal(err)
		}
		defer back.Close()
		if err := within(t, "the end of the first", ended); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the first connection ended with %v", err)
		}
		if _, err := p.Unattach(); !errors.Is(err, syscall.ENOENT) || !errors.Is(err, mux.ErrClosed) {
			t.Errorf("the second time: %v", err)
		}
		_, c2 := attach(t, m)
		expect(t, c2, big)
		got := make([]byte, 1)
		if _, err := io.ReadFull(back, got); err != nil || got[0] != 's' {
			t.Errorf("what was not part of a message: %q, %v", got, err)
		}
		back.Close()
		if n, err := io.Copy(io.Discard, c); err != nil || n == 0 || n >= int64(len(big)) {
			t.Errorf("the first peer got %d of %d bytes, %v", n, len(big), err)
		}
		st := m.Stats()
		if st.Unattached != 1 || st.UnattachedReserved != 1 || st.TxRetries != 1 || st.TxMessages != 1 {
			t.Errorf("unattached %d, reserved %d, retries %d, messages %d", st.Unattached, st.UnattachedReserved, st.TxRetries, st.TxMessages)
		}
	})
}

// Proves E32: an unattach drops the message that its connection is parked with, and counts it;
// the bytes behind it come back.
func TestUnattachDropsAParkedMessage(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1, Policy: mux.FIFO, FlowCap: -1}, nil)
	p, c := attach(t, m)
	if _, err := c.Write(append(frame([]byte("parked")), frame([]byte("behind"))...)); err != nil {
		t.Fatal(err)
	}
	until(t, "it is parked", func() bool { return m.Stats().Parks == 1 })
	back, err := p.Unattach()
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	expect(t, back, frame([]byte("behind")))
	if st := m.Stats(); st.RxReadyDrops != 1 || st.Unattached != 1 || st.Queued != 0 {
		t.Errorf("%d dropped, %d unattached, %d queued", st.RxReadyDrops, st.Unattached, st.Queued)
	}
}

// In the steady state a message allocates nothing on its way through a socket.
func TestSendAllocatesNothing(t *testing.T) {
	skipIfChecksAllocate(t)
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, nil)
		s := openSocket(t, m)
		_, c := attach(t, m)
		msg := frame(make([]byte, 64))
		got := make([]byte, len(msg))
		ctx := t.Context()
		round := func() {
			if n, err := s.SendMsg(ctx, msg, 0); n != len(msg) || err != nil {
				t.Fatal(n, err)
			}
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
		}
		for range 200 {
			round()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 2000 {
			round()
		}
		runtime.ReadMemStats(&after)
		if n := after.Mallocs - before.Mallocs; n > 20 {
			t.Errorf("%d allocations for 2000 messages", n)
		}
	})
}
