//go:build linux

package mux_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kcm-go/kcm/affinity"
	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// Tests of what becomes of a message between its connection and a worker, on real
// sockets. Messages carry a number; number reads it.

func number(msg *sgmsg.Message) uint32 {
	return binary.BigEndian.Uint32(msg.Head(8, nil)[4:])
}

func numbered(i uint32) []byte { return frame(binary.BigEndian.AppendUint32(nil, i)) }

// writeNumbers sends messages from up to, not including, to.
func writeNumbers(t *testing.T, c net.Conn, from, to uint32) {
	t.Helper()
	var b []byte
	for i := from; i < to; i++ {
		b = append(b, numbered(i)...)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// readNumbers receives n messages.
func readNumbers(t *testing.T, c net.Conn, n int) []uint32 {
	t.Helper()
	got := make([]uint32, n)
	b := make([]byte, 8*n)
	if k, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("%d of %d replies came: %v", k/8, n, err)
	}
	for i := range got {
		got[i] = binary.BigEndian.Uint32(b[8*i+4:])
	}
	return got
}

// upTo is what writeNumbers sends.
func upTo(from, to uint32) (all []uint32) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

// queued waits until n messages wait for a reader.
func queued(t *testing.T, m *mux.Mux, n int) {
	t.Helper()
	until(t, fmt.Sprintf("%d messages queued", n), func() bool { return m.Stats().Queued == n })
}

// gate is a Work function that answers, after stopping at messages with the number 0
// until it is opened.
type gate struct {
	reached chan struct{}
	opened  chan struct{}
	open    func()
}

func newGate(t *testing.T) *gate {
	g := &gate{reached: make(chan struct{}, 100), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	t.Cleanup(g.open)
	return g
}

func (g *gate) work(r *mux.Received) mux.Verdict {
	if number(r.Msg) == 0 {
		g.reached <- struct{}{}
		<-g.opened
	}
	return reply(r)
}

// startGate starts n workers that use g; it is open before they are waited for.
func startGate(t *testing.T, m *mux.Mux, n int, g *gate) {
	t.Helper()
	w, err := m.Workers(n, g.work)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.open(); w.Close() })
}

// Odd messages are answered by the handler, even ones by workers. In order the
// replies are those of an echo; without, the even ones are in order among
// themselves, and none overtakes or is lost.
func TestHandlerAnswersSomeAndPassesOthers(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		m := newMux(t, o, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			if number(msg)%2 == 0 {
				return mux.Pass
			}
			return echo(from, msg)
		})
		startWorkers(t, m, 3, reply)
		const n = 300
		for range 4 {
			_, c := attach(t, m)
			for i := uint32(0); i < n; i += n / 4 {
				writeNumbers(t, c, i, i+n/4)
			}
			got := readNumbers(t, c, n)
			if !o.OrderedReplies {
				var odd, even []uint32
				for _, i := range got {
					if i%2 == 0 {
						even = append(even, i)
					} else {
						odd = append(odd, i)
					}
				}
				if !slices.IsSorted(odd) || !slices.IsSorted(even) {
					t.Errorf("inline replies %d, workers' %d: want each in order", odd, even)
				}
				slices.Sort(got)
			}
			if !slices.Equal(got, upTo(0, n)) {
				t.Fatalf("replies to %d", got)
			}
		}
		until(t, "handled", func() bool { return m.Stats().Received >= 2*n })
		if st := m.Stats(); st.RxMessages != 4*n || st.Received != 2*n {
			t.Errorf("%d messages, %d received by workers; want %d and %d", st.RxMessages, st.Received, 4*n, 2*n)
		}
	})
}

// While a worker is stuck at the first message of a connection, the others handle
// what is behind it if they may, and the replies wait for the first one's.
func TestAStuckWorkerHoldsUpWhatOrderDemands(t *testing.T) {
	for _, tc := range []struct {
		name    string
		o       mux.Options
		handled uint64 // of 8 messages, while one is stuck
		replies bool   // they come before the stuck one's
	}{
		{"one by one", mux.Options{}, 0, false},
		{"ordered replies", mux.Options{OrderedReplies: true}, 7, false},
		{"any order", mux.Options{FlowCap: -1}, 7, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMux(t, tc.o, nil)
			g := newGate(t)
			startGate(t, m, 3, g)
			_, c := attach(t, m)
			_, other := attach(t, m)
			writeNumbers(t, c, 0, 8)
			<-g.reached
			// Another connection does not wait in any case.
			writeNumbers(t, other, 1, 9)
			if got := readNumbers(t, other, 8); !tc.replies && !slices.Equal(got, upTo(1, 9)) {
				t.Errorf("the other connection got %d", got)
			}
			until(t, "handled", func() bool { return m.Stats().Received >= 8+tc.handled })
			var got []uint32
			if tc.replies {
				got = readNumbers(t, c, 7)
			}
			if st := m.Stats(); st.Received != 8+tc.handled {
				t.Errorf("%d messages handled behind the stuck one, want %d", st.Received-8, tc.handled)
			}
			g.open()
			got = append(got, readNumbers(t, c, 8-len(got))...)
			if tc.replies {
				if got[7] != 0 {
					t.Errorf("replies to %d, want the stuck one's last", got)
				}
				slices.Sort(got)
			}
			if !slices.Equal(got, upTo(0, 8)) {
				t.Errorf("replies to %d", got)
			}
		})
	}
}

func TestWorkersClosedAndReplacedLoseNothing(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		m := newMux(t, o, nil)
		g := newGate(t)
		first, err := m.Workers(2, g.work)
		if err != nil {
			t.Fatal(err)
		}
		var conns []net.Conn
		for range 3 {
			_, c := attach(t, m)
			conns = append(conns, c)
		}
		// One message each, then some in callbacks of their own.
		for _, c := range conns[:2] {
			writeNumbers(t, c, 0, 1)
			<-g.reached
		}
		want := uint64(2)
		for i := range uint32(5) {
			for _, c := range conns {
				from := 1 + 4*i
				writeNumbers(t, c, from, from+4)
				want += 4
			}
			until(t, "delivered", func() bool { return m.Stats().RxMessages == want })
		}
		closed := make(chan struct{})
		go func() { defer close(closed); first.Close() }()
		g.open()
		within(t, "Workers.Close", closed)
		first.Close() // legal
		startWorkers(t, m, 2, reply)
		for k, c := range conns {
			from, n := uint32(0), 21
			if k == 2 {
				from, n = 1, 20
			}
			if got := readNumbers(t, c, n); !slices.Equal(got, upTo(from, 21)) {
				t.Errorf("connection %d: replies to %d", k, got)
			}
		}
	})
}

func TestWorkPanicEndsItsConnectionOnly(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		causes := make(chan error, 1)
		o.OnClose = func(_ *mux.Psock, err error) {
			if err != nil {
				causes <- err
			}
		}
		m := newMux(t, o, nil)
		startWorkers(t, m, 1, func(r *mux.Received) mux.Verdict {
			if number(r.Msg) == 13 {
				panic("told to")
			}
			return reply(r)
		})
		_, good := attach(t, m)
		_, bad := attach(t, m)
		roundTrip(t, good, "before")
		writeNumbers(t, bad, 10, 16)
		err := within(t, "the end of the bad connection", causes)
		var pe *mux.PanicError
		if !errors.As(err, &pe) || pe.Value != "told to" {
			t.Errorf("cause %v, want a PanicError", err)
		}
		if b, _ := io.ReadAll(bad); !bytes.HasPrefix(slices.Concat(numbered(10), numbered(11), numbered(12)), b) {
			t.Errorf("replies % x, want at most those to the three messages before", b)
		}
		roundTrip(t, good, "after") // by the same worker
	})
}

func TestVerdictsOfWork(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		causes := make(chan error, 1)
		o.OnClose = func(_ *mux.Psock, err error) { causes <- err }
		m := newMux(t, o, nil)
		startWorkers(t, m, 2, func(r *mux.Received) mux.Verdict {
			switch n := number(r.Msg); {
			case n == 20:
				r.Reply(r.Msg)
				return mux.End
			case n%3 == 0:
				return mux.Drop
			}
			return reply(r)
		})
		_, c := attach(t, m)
		writeNumbers(t, c, 1, 21)
		var want []uint32
		for i := range uint32(21) {
			if i%3 != 0 {
				want = append(want, i)
			}
		}
		if got := readNumbers(t, c, len(want)); !slices.Equal(got, want) {
			t.Errorf("replies to %d, want %d", got, want)
		}
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the last reply came %d bytes, %v; want the end", n, err)
		}
		c.Close()
		if err := within(t, "OnClose", causes); err != nil {
			t.Errorf("OnClose got %v, want nil", err)
		}
		if st := m.Stats(); st.RxDrops != 6 {
			t.Errorf("%d drops counted, want 6", st.RxDrops)
		}
	})
}

// The peer finishes after its requests: it gets every reply, and then the end.
func TestHalfClosedPeerGetsItsReplies(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		causes := make(chan error, 1)
		o.OnClose = func(_ *mux.Psock, err error) { causes <- err }
		o.QueueBytes = 2000 // so that some of them are parked
		m := newMux(t, o, nil)
		g := newGate(t)
		startGate(t, m, 2, g)
		_, c := attach(t, m)
		writeNumbers(t, c, 0, 40)
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		<-g.reached
		g.open()
		if got := readNumbers(t, c, 40); !slices.Equal(got, upTo(0, 40)) {
			t.Errorf("replies to %d", got)
		}
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the replies came %d bytes, %v; want the end", n, err)
		}
		c.Close()
		if err := within(t, "OnClose", causes); err != nil {
			t.Errorf("OnClose got %v, want nil", err)
		}
	})
}

func TestDetachWaitsForTheWorkers(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		m := newMux(t, o, nil)
		g := newGate(t)
		startGate(t, m, 2, g)
		p, c := attach(t, m)
		writeNumbers(t, c, 0, 10)
		<-g.reached
		until(t, "delivered", func() bool { return m.Stats().RxMessages == 10 })
		type result struct {
			c   net.Conn
			err error
		}
		back := make(chan result, 1)
		p.DetachTo(func(c net.Conn, err error) { back <- result{c, err} })
		m.Stats()                  // a turn of the loop later
		writeNumbers(t, c, 10, 12) // not for the Mux any more
		select {
		case <-back:
			t.Error("the connection was given back while a worker had a message of it")
		default:
		}
		g.open()
		if got := readNumbers(t, c, 10); !slices.Equal(got, upTo(0, 10)) {
			t.Errorf("replies to %d", got)
		}
		r := within(t, "Detach", back)
		if r.err != nil {
			t.Fatal(r.err)
		}
		defer r.c.Close()
		if got := readNumbers(t, r.c, 2); !slices.Equal(got, upTo(10, 12)) {
			t.Errorf("the connection replayed %d", got)
		}
		writeNumbers(t, r.c, 7, 8)
		if got := readNumbers(t, c, 1); got[0] != 7 {
			t.Errorf("the peer read %d", got)
		}
	})
}

func TestShutdownWaitsForTheWorkers(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		m := newMux(t, o, nil)
		g := newGate(t)
		startGate(t, m, 2, g)
		_, c := attach(t, m)
		writeNumbers(t, c, 0, 30)
		<-g.reached
		until(t, "delivered", func() bool { return m.Stats().RxMessages == 30 })
		done := make(chan error, 1)
		go func() { done <- m.Shutdown(t.Context()) }()
		g.open()
		if got := readNumbers(t, c, 30); !slices.Equal(got, upTo(0, 30)) {
			t.Errorf("replies to %d", got)
		}
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the replies came %d bytes, %v; want the end", n, err)
		}
		c.Close()
		if err := within(t, "Shutdown", done); err != nil {
			t.Error(err)
		}
	})
}

// Close does not wait for a worker. Its message is still there, its reply goes
// nowhere, what waited behind it is dropped, and newMux checks that all memory is
// back.
func TestCloseWhileAWorkerIsAtWork(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		o.On, o.Ring = loops(t, o.Ring.Backend, 1), ring.Options{}
		m := newMux(t, o, nil)
		g := newGate(t)
		var read atomic.Uint32
		w, err := m.Workers(2, func(r *mux.Received) mux.Verdict {
			v := g.work(r)
			read.Add(1)
			return v
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.open(); w.Close() })
		var conns []net.Conn
		for range 2 {
			_, c := attach(t, m)
			conns = append(conns, c)
			writeNumbers(t, c, 0, 1)
			<-g.reached
		}
		for i := range uint32(5) {
			for _, c := range conns {
				writeNumbers(t, c, 10*i, 10*i+10)
			}
			until(t, "delivered", func() bool { return m.Stats().RxMessages == uint64(2+20*(i+1)) })
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		g.open()
		w.Wait()
		if n := read.Load(); n != 2 {
			t.Errorf("%d messages were handled, want those two at which the workers were", n)
		}
		st := m.Stats()
		if st.RxMessages != 102 || st.Received+st.Discarded != 102 || st.Queued != 0 {
			t.Errorf("%d messages: %d received, %d discarded, %d queued; want all accounted for",
				st.RxMessages, st.Received, st.Discarded, st.Queued)
		}
		memoryIsBack(t, m)
	})
}

// A handler that fails while its reply waits for a worker's loses the reply, not its
// memory.
func TestHandlerPanicBehindAWorker(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1, OrderedReplies: true}, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		if number(msg) == 0 {
			return mux.Pass
		}
		from.Send(msg)
		panic("told to")
	})
	g := newGate(t)
	startGate(t, m, 1, g)
	_, c := attach(t, m)
	writeNumbers(t, c, 0, 2)
	<-g.reached
	until(t, "closed", func() bool { return m.Psocks() == 0 })
	g.open()
	memoryIsBack(t, m)
}

// memoryIsBack waits until no message holds memory of the loops.
func memoryIsBack(t *testing.T, m *mux.Mux) {
	t.Helper()
	for i, l := range m.Loops() {
		until(t, fmt.Sprintf("loop %d's memory back", i), func() bool {
			st := l.Stats()
			return st.BuffersFree == st.Buffers && st.SpillUsed == 0 && st.RegionUsed == 0
		})
	}
}

func TestPinnedWorkersKeepToTheirCPU(t *testing.T) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if all.Count() < 2 || affinity.OffByEnv() {
		t.Skip("pinning to one of one CPU cannot be seen")
	}
	m := newMux(t, mux.Options{Loops: 1, PinWorkers: true}, nil)
	seen := make(chan unix.CPUSet, 100)
	startWorkers(t, m, 2, func(r *mux.Received) mux.Verdict {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(0, &set); err != nil {
			t.Error(err)
		}
		seen <- set
		return reply(r)
	})
	_, c := attach(t, m)
	for range 10 {
		roundTrip(t, c, "where am I?")
		if set := <-seen; set.Count() != 1 {
			t.Fatalf("a worker may run on %d CPUs, want 1", set.Count())
		}
	}
}

func TestTimestampsAreInOrder(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		o.Timestamps = true
		o.Loops = 2
		m := newMux(t, o, nil)
		startWorkers(t, m, 3, func(r *mux.Received) mux.Verdict {
			now := r.From.Mux().Loops()[0].Now()
			ts := r.Times()
			if ts.Arrived <= 0 || ts.Arrived > ts.Queued || ts.Queued > ts.Started || ts.Started > now || r.Waited() != ts.Started-ts.Arrived {
				t.Errorf("stations %+v at %v, waited %v", ts, now, r.Waited())
			}
			return reply(r)
		})
		var wg sync.WaitGroup
		for i := range 4 {
			_, c := attach(t, m)
			wg.Go(func() {
				if err := pipeline(c, uint64(i), 300, 8, 100); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

func TestDispatchOptionsThatCannotWorkAreRefused(t *testing.T) {
	for _, tc := range []struct {
		o    mux.Options
		want string
	}{
		{mux.Options{Policy: 7}, "mux: option Policy is "},
		{mux.Options{QueueBytes: -1}, "mux: option QueueBytes is -1, want a positive size: invalid argument"},
		{mux.Options{DelayTarget: -1}, "mux: options DelayTarget and DelayInterval are -1ns and 0s, want times: invalid argument"},
		{mux.Options{DelayTarget: 1, DelayInterval: -1}, "mux: options DelayTarget and DelayInterval are 1ns and -1ns, want times: invalid argument"},
		{mux.Options{OnReject: reply}, "mux: option OnReject needs DelayTarget: invalid argument"},
	} {
		tc.o.Format = strparser.Length32
		err := refusal(tc.o)
		if !errors.Is(err, syscall.EINVAL) || err.Error()[:min(len(tc.want), len(err.Error()))] != tc.want {
			t.Errorf("error %v, want %q", err, tc.want)
		}
	}
	m := newMux(t, mux.Options{}, nil)
	if _, err := m.Workers(0, reply); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("no workers: %v, want EINVAL", err)
	}
	if _, err := m.Workers(1, nil); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("workers without work: %v, want EINVAL", err)
	}
	m.Close()
	if _, err := m.Workers(1, reply); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("workers of a closed Mux: %v, want ErrClosed", err)
	}
}

// refusal returns the error of New, or says that there was none.
func refusal(o mux.Options) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	m, err := mux.New(o)
	if err == nil {
		m.Close()
		return errors.New("accepted")
	}
	return err
}

// framed returns a message in memory of p's loop.
func framed(t *testing.T, p *mux.Psock, payload []byte) *sgmsg.Message {
	t.Helper()
	msg := new(sgmsg.Message)
	b, err := msg.Reserve(p.Loop(), 4, len(payload))
	if err == nil {
		copy(b, payload)
		err = msg.Prepend(p.Loop(), binary.BigEndian.AppendUint32(nil, uint32(len(payload))))
	}
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// A producer that is no connection is slowed down by SendWait.
func TestSendWaitsForASlowPeer(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Ring: ring.Options{Backend: b}}, nil)
		p, c := attach(t, m)
		small(t, c)
		payload := make([]byte, 64<<10)
		n := 0
		for { // until neither we nor the kernel takes more
			msg := framed(t, p, payload)
			if !p.TrySend(msg) {
				if !msg.Live() {
					t.Fatal("TrySend refused the message and took it")
				}
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				err := p.SendWait(ctx, msg)
				cancel()
				if err != nil {
					if err != ctx.Err() || !msg.Live() {
						t.Fatalf("SendWait: %v, message live: %v; want the context's error and true", err, msg.Live())
					}
					msg.Release()
					break
				}
			}
			if n++; n > 10_000 {
				t.Fatal("10000 messages to a peer that does not read, and more are taken")
			}
		}
		msg := framed(t, p, payload)
		if e := p.Loop().Do(func() {
			if err := p.SendWait(t.Context(), msg); !errors.Is(err, mux.ErrDeadlock) {
				t.Errorf("SendWait on the loop: %v, want EDEADLK", err)
			}
		}); e != nil {
			t.Fatal(e)
		}
		sent := make(chan error, 1)
		const more = 50
		go func() {
			err := p.SendWait(t.Context(), msg)
			for i := 1; i < more && err == nil; i++ {
				err = p.SendWait(t.Context(), framed(t, p, payload))
			}
			sent <- err
		}()
		want := int64(n+more) * int64(4+len(payload))
		if got, err := io.CopyN(io.Discard, c, want); err != nil {
			t.Fatalf("%d of %d bytes came: %v", got, want, err)
		}
		if err := within(t, "SendWait", sent); err != nil {
			t.Fatal(err)
		}
		p.Close()
		until(t, "closed", func() bool { return m.Psocks() == 0 })
		msg = framed(t, p, payload)
		if err := p.SendWait(t.Context(), msg); !errors.Is(err, mux.ErrClosed) || !msg.Live() {
			t.Errorf("SendWait to a closed connection: %v, want ErrClosed", err)
		}
		msg.Release()
	})
}
