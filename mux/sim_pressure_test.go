//go:build linux

package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Stories of pressure between connections, workers and peers, each by itself, on a
// network without faults. What is random comes from the seed; a story must end well
// for each of some.

// story is a Mux on one loop that is driven by hand, with readers that work after each
// of its turns.
type story struct {
	t *testing.T
	s *ringtest.Sim
	l *ring.Loop
	m *Mux

	clients []func()
	workers []func() bool // report whether they did something
}

func stories(t *testing.T, o Options, tell func(w *story)) {
	ringtest.Seeds(t, 20, ringtest.Options{}, func(t *testing.T, s *ringtest.Sim) {
		ro := simRing()
		ro.SendHard = 64 << 10 // over which a connection is ended
		l, err := ring.NewWith(s.Open, ro)
		if err != nil {
			t.Fatal(err)
		}
		w := &story{t: t, s: s, l: l}
		o := o
		o.Format, o.MaxMessage, o.On, o.AssemblyTimeout = strparser.Length32, 32<<10, []*ring.Loop{l}, -1
		o.OnClose = func(p *Psock, err error) {
			if err != nil && !errors.Is(err, ErrClosed) {
				t.Errorf("connection %d ended: %v", p.Index(), err)
			}
		}
		if w.m, err = New(o); err != nil {
			t.Fatal(err)
		}
		tell(w)
		w.m.Close()
		w.until("closed", func() bool { return w.m.Psocks() == 0 })
		w.until("memory is back", func() bool {
			st := l.Stats()
			return st.RegionUsed+st.SpillUsed == 0
		})
		l.Close()
	})
}

func (w *story) until(what string, done func() bool) {
	w.t.Helper()
	turns := append([]func(){w.turn}, w.clients...)
	w.work()
	if err := w.s.Run(done, turns...); err != nil {
		w.t.Fatalf("waiting until %s: %v; %s", what, err, w.m.steer.violation())
	}
}

// quiet runs until nothing more happens.
func (w *story) quiet() {
	w.t.Helper()
	turns := append([]func(){w.turn}, w.clients...)
	w.work()
	for w.s.Step(turns...) {
	}
}

func (w *story) turn() {
	w.l.Turn()
	w.work()
}

// work lets the workers go on until none can.
func (w *story) work() {
	for again := true; again; {
		again = false
		for _, step := range w.workers {
			again = step() || again
		}
	}
}

// teller is a connection of a story with the client at its far end.
type teller struct {
	w     *story
	p     *Psock
	peer  *ringtest.Peer
	out   []byte
	in    []byte
	deaf  bool // reads nothing
	size  int  // payload of its messages
	got   []uint32
	wants int // payload of replies
}

// open adds a connection whose messages have payloads of size bytes, and whose replies
// of wants.
func (w *story) open(size, wants int) *teller {
	fd, peer := w.s.Pair()
	p, err := w.m.adopt(w.m.shards[0], fd, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &teller{w: w, p: p, peer: peer, size: size, wants: wants}
	w.clients = append(w.clients, c.step)
	return c
}

// say queues messages with the given numbers.
func (c *teller) say(from, to uint32) {
	for i := from; i < to; i++ {
		c.out = binary.BigEndian.AppendUint32(c.out, uint32(c.size))
		c.out = binary.BigEndian.AppendUint32(c.out, i)
		c.out = append(c.out, make([]byte, c.size-4)...)
	}
}

func (c *teller) step() {
	if len(c.out) > 0 {
		n, err := c.peer.Write(c.out)
		if err != nil && !errors.Is(err, syscall.EAGAIN) && !c.p.dead.Load() {
			c.w.t.Fatal(err)
		}
		c.out = c.out[n:]
	}
	if c.deaf {
		return
	}
	var buf [8 << 10]byte
	n, err := c.peer.Read(buf[:])
	if err != nil && !errors.Is(err, syscall.EAGAIN) && err != io.EOF {
		c.w.t.Fatal(err)
	}
	for c.in = append(c.in, buf[:n]...); len(c.in) >= 4+c.wants; c.in = c.in[4+c.wants:] {
		c.got = append(c.got, binary.BigEndian.Uint32(c.in[4:]))
	}
}

// answers checks that the replies are those to messages from to to, in order.
func (c *teller) answers(from, to uint32) {
	c.w.t.Helper()
	if len(c.got) != int(to-from) {
		c.w.t.Fatalf("%d replies, want %d", len(c.got), to-from)
	}
	for i, n := range c.got {
		if n != from+uint32(i) {
			c.w.t.Fatalf("reply %d is to message %d", i, n)
		}
	}
}

// number returns the number of a message.
func number(msg *sgmsg.Message) uint32 {
	var b [8]byte
	return binary.BigEndian.Uint32(msg.Head(8, b[:])[4:])
}

// answer sends a reply of n payload bytes with the message's number.
func (w *story) answer(r *Received, n int) {
	b := make([]byte, n)
	binary.BigEndian.PutUint32(b, number(r.Msg))
	if err := r.ReplyPayload(b); err != nil {
		w.t.Fatalf("a reply to message %d: %v", number(r.Msg), err)
	}
}

// worker adds a reader that answers with n bytes, several messages at a time. stuck, if not nil, says which message it keeps until open.
func (w *story) worker(sock *Socket, n int, stuck func(r *Received) bool) (open func()) {
	rd := sock.Reader()
	var kept *Received
	opened := false
	w.workers = append(w.workers, func() (did bool) {
		for range 1 + w.s.Rand().IntN(8) {
			if kept != nil {
				if !opened {
					return did
				}
				w.answer(kept, n)
				kept = nil
			}
			r, err := rd.Next(context.Background())
			if err != nil { // EDEADLK: there is nothing
				return did
			}
			did = true
			if stuck != nil && !opened && stuck(r) {
				kept = r
				return did
			}
			w.answer(r, n)
		}
		return did
	})
	w.t.Cleanup(func() { rd.Close() })
	return func() { opened = true }
}

func (w *story) socket() *Socket {
	sock, err := w.m.Socket()
	if err != nil {
		w.t.Fatal(err)
	}
	return sock
}

func first(r *Received) bool { return number(r.Msg) == 0 }

// One connection's message keeps a worker, and far more of its messages come than a
// queue takes. Others are served all the same, by the worker that is free; the one is
// paused, and when its message is done it gets every reply.
func TestAStuckFlowDoesNotKeepOthersFromTheQueue(t *testing.T) {
	for _, o := range []Options{{QueueBytes: 8 << 10}, {QueueBytes: 8 << 10, FlowCap: 2}} {
		stories(t, o, func(w *story) {
			sock := w.socket()
			open := w.worker(sock, 60, first)
			if o.FlowCap == 2 { // it takes two to keep both slots
				second := w.worker(sock, 60, func(r *Received) bool { return number(r.Msg) == 1 })
				defer second()
			}
			w.worker(sock, 60, nil)
			a, b := w.open(60, 60), w.open(60, 60)
			a.say(0, 2000)
			w.quiet()
			if len(a.out) == 0 || a.p.holds == 0 {
				t.Fatalf("all of 2000 messages were received")
			}
			if n := w.m.steer.behind.Load(); n > 8<<10+2048 {
				t.Errorf("%d bytes in backlogs", n)
			}
			b.say(1, 101)
			w.until("the other connection is answered", func() bool { return len(b.got) == 100 })
			b.answers(1, 101)
			open()
			if o.FlowCap == 2 {
				return
			}
			w.until("everything is answered", func() bool { return len(a.got) == 2000 })
			a.answers(0, 2000)
		})
	}
}

// A peer sends small requests for large replies and reads none of them. No more than a
// few are handled once the out queue is over its limit, the connection stays, others are
// served, and when the peer reads it gets everything.
func TestPeerThatDoesNotReadIsSlowedNotEnded(t *testing.T) {
	for _, o := range []Options{{}, {FlowCap: -1}, {OrderedReplies: true}, {Policy: FIFO}} {
		stories(t, o, func(w *story) {
			sock := w.socket()
			w.worker(sock, 2000, nil)
			w.worker(sock, 2000, nil)
			a, b := w.open(4, 2000), w.open(4, 2000)
			a.deaf = true
			a.peer.SetReadBuffer(4 << 10)
			a.say(0, 300)
			w.quiet()
			if n := a.p.stream.Queued() + a.p.stream.Pushed(); n > 40<<10 {
				t.Errorf("%d bytes wait to be sent, with a limit of 8 KiB", n)
			}
			b.say(0, 20)
			w.until("the other connection is answered", func() bool { return len(b.got) == 20 })
			a.deaf = false
			w.until("everything is answered", func() bool { return len(a.got) == 300 })
			if o.FlowCap == 0 {
				a.answers(0, 300)
			}
		})
	}
}

// Replies that wait for those to an earlier message are bounded: the connection is paused,
// whether workers made them or a handler, and others are not.
func TestOrderedRepliesBehindAStuckMessageAreBounded(t *testing.T) {
	for _, inline := range []bool{false, true} {
		stories(t, Options{OrderedReplies: true}, func(w *story) {
			if inline {
				w.m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
					if number(msg)%1000 == 0 {
						return Pass
					}
					from.Send(msg)
					return Done
				})
			}
			sock := w.socket()
			open := w.worker(sock, 100, func(r *Received) bool { return first(r) && r.From.Index() == 0 })
			w.worker(sock, 100, nil)
			a, b := w.open(100, 100), w.open(100, 100)
			a.say(0, 3000)
			w.quiet()
			o := a.p.order
			if held := o.held.Load(); held > 8<<10+8<<10 {
				t.Errorf("replies of %d bytes wait, with a limit of 8 KiB", held)
			}
			if len(a.got) != 0 || len(o.slots) > 1024 {
				t.Errorf("%d replies came, %d slots", len(a.got), len(o.slots))
			}
			b.say(0, 200)
			w.until("the other connection is answered", func() bool { return len(b.got) == 200 })
			b.answers(0, 200)
			open()
			w.until("everything is answered", func() bool { return len(a.got) == 3000 })
			a.answers(0, 3000)
		})
	}
}

// When a Work function says that a message was the last of its connection, those behind
// it are dropped and counted, and the replies before it arrive.
func TestEndOfAWorkFunctionIsTheLastMessage(t *testing.T) {
	m, err := New(Options{Format: strparser.Length32, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	begin := make(chan struct{})
	w, err := m.Workers(1, func(r *Received) Verdict {
		<-begin // until all have come
		n := number(r.Msg)
		r.Reply(r.Msg)
		if n == 2 {
			return End
		}
		return Done
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	fd, far := socketPair(t)
	if _, err := m.AttachFD(fd); err != nil {
		t.Fatal(err)
	}
	for i := range byte(10) {
		if _, err := syscall.Write(far, []byte{0, 0, 0, 4, 0, 0, 0, i}); err != nil {
			t.Fatal(err)
		}
	}
	for m.Stats().RxMessages < 10 {
		runtime.Gosched()
	}
	close(begin)
	if err := syscall.SetNonblock(far, false); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for buf := make([]byte, 100); ; {
		n, err := syscall.Read(far, buf)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		got = append(got, buf[:n]...)
	}
	if len(got) != 3*8 {
		t.Errorf("replies % x, want three", got)
	}
	if st := m.Stats(); st.RxDrops != 7 || st.Received != 10 {
		t.Errorf("%d dropped, %d received, want 7 and 10", st.RxDrops, st.Received)
	}
}

// SendWait that its context gives up leaves the message with the caller, and nobody in
// the line; to a connection that is ending it fails at once.
func TestSendWaitThatFailsLeavesNothing(t *testing.T) {
	m, err := New(Options{Format: strparser.Length32, Loops: 1, Ring: ring.Options{SendSoft: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	fd, far := socketPair(t)
	p, err := m.AttachFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	message := func() *sgmsg.Message {
		msg := new(sgmsg.Message)
		if err := m.frame(p.Loop(), msg, make([]byte, 32<<10)); err != nil {
			t.Fatal(err)
		}
		return msg
	}
	msg := message()
	for err = nil; err == nil; { // until neither we nor the kernel takes more
		if msg == nil {
			msg = message()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err = p.SendWait(ctx, msg); err == nil {
			msg = nil
		}
		cancel()
	}
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if err := p.SendWait(ctx, msg); err != context.DeadlineExceeded || !msg.Live() {
			t.Fatalf("SendWait: %v, message live %v", err, msg.Live())
		}
		cancel()
	}
	var left int
	if err := p.Loop().Do(func() { left = len(p.side.waiting) }); err != nil || left != 0 {
		t.Errorf("%d still wait for room, %v", left, err)
	}
	p.Drain()
	if err := syscall.SetNonblock(far, false); err != nil {
		t.Fatal(err)
	}
	read := make(chan struct{})
	go func() { // makes room
		defer close(read)
		buf := make([]byte, 64<<10)
		for n := 1; n > 0; {
			n, _ = syscall.Read(far, buf)
		}
	}()
	if err := p.SendWait(t.Context(), msg); !errors.Is(err, ErrClosed) || !msg.Live() {
		t.Fatalf("to a connection that drains: %v, message live %v", err, msg.Live())
	}
	msg.Release()
	<-read
}

// socketPair returns a descriptor for AttachFD and the far end of it.
func socketPair(t *testing.T) (fd, far int) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fds[1]) })
	return fds[0], fds[1]
}

// A handler that drains its connection and passes the message on: it is answered.
func TestMessagePassedAfterDrainIsAnswered(t *testing.T) {
	stories(t, Options{}, func(w *story) {
		w.m.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
			from.Drain()
			return Pass
		})
		w.worker(w.socket(), 60, nil)
		a := w.open(60, 60)
		a.say(0, 1)
		w.until("it is answered", func() bool { return len(a.got) == 1 })
		w.until("the connection has ended", func() bool { return w.m.Psocks() == 0 })
	})
}

// A Detach waits for a worker when the Mux is closed: it ends with an error.
func TestDetachEndsWhenTheMuxIsClosed(t *testing.T) {
	m, err := New(Options{Format: strparser.Length32, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	reached, open := make(chan struct{}), make(chan struct{})
	w, err := m.Workers(1, func(r *Received) Verdict {
		close(reached)
		<-open
		return Done
	})
	if err != nil {
		t.Fatal(err)
	}
	fd, far := socketPair(t)
	p, err := m.AttachFD(fd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Write(far, []byte{0, 0, 0, 1, 'x'}); err != nil {
		t.Fatal(err)
	}
	<-reached
	done := make(chan error, 1)
	go func() {
		_, err := p.Detach()
		done <- err
	}()
	for leaving := false; !leaving; {
		if err := p.Loop().Do(func() { leaving = p.leaving }); err != nil {
			t.Fatal(err)
		}
	}
	m.Close()
	select {
	case err := <-done:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("Detach: %v, want ErrClosed", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Detach hangs")
	}
	close(open)
	w.Close()
}

// A connection of which thousands of messages were with the workers at once keeps the
// memory for their replies only as long as they are answered.
func TestOrderedRepliesOfABurstLeaveNoMemoryBehind(t *testing.T) {
	stories(t, Options{OrderedReplies: true}, func(w *story) {
		a := w.open(4, 4)
		a.say(0, 2000)
		w.quiet()
		if n := len(a.p.order.slots); n < 2000 {
			t.Fatalf("%d slots for 2000 messages", n)
		}
		w.worker(w.socket(), 4, nil)
		w.until("everything is answered", func() bool { return len(a.got) == 2000 })
		a.answers(0, 2000)
		if n := len(a.p.order.slots); n > keptSlots {
			t.Errorf("%d slots, and nothing to answer", n)
		}
	})
}
