//go:build linux

package mux_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
)

func openSocket(t *testing.T, m *mux.Mux) *mux.Socket {
	t.Helper()
	s, err := m.Socket()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// recv receives one message and returns its number too.
func recv(t *testing.T, s *mux.Socket) (*mux.Received, uint32) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := s.Recv(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r, number(r.Msg)
}

// Messages that Recv returned are owned: they and their numbers stay as they are
// whatever is received after them.
func TestRecvOwnsItsMessage(t *testing.T) {
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		t.Run(policy.String(), func(t *testing.T) {
			m := newMux(t, mux.Options{Policy: policy, FlowCap: -1}, nil)
			s := openSocket(t, m)
			if r, ok := s.TryRecv(); ok {
				t.Fatalf("TryRecv returned message %d before any", number(r.Msg))
			}
			p, c := attach(t, m)
			writeNumbers(t, c, 0, 10)
			queued(t, m, 10)
			var all []*mux.Received
			for i := range uint32(10) {
				r, ok := s.TryRecv()
				if !ok {
					t.Fatalf("TryRecv has no message, want %d", i)
				}
				if r.From != p {
					t.Error("a message from another connection")
				}
				all = append(all, r)
			}
			if _, ok := s.TryRecv(); ok {
				t.Error("TryRecv returned an eleventh message")
			}
			for i, r := range all {
				if got := r.Msg.AppendTo(nil); !slices.Equal(got, numbered(uint32(i))) {
					t.Errorf("message %d is % x", i, got)
				}
			}
			all[3].Release() // its memory, not its handling
			all[3].Release()
			for i, r := range all {
				if i != 3 {
					r.Reply(r.Msg)
				}
				r.Done()
			}
			if got := readNumbers(t, c, 9); !slices.Equal(got, append(upTo(0, 3), upTo(4, 10)...)) {
				t.Errorf("replies to %d", got)
			}
			if st := m.Stats(); st.Received != 10 || st.Queued != 0 {
				t.Errorf("%d received, %d queued; want 10 and 0", st.Received, st.Queued)
			}
		})
	}
}

// With FlowCap a connection hands out no more before Done; one at a time they come in
// order. KC-18.
func TestRecvHandsOutAsManyAsMayBeHandled(t *testing.T) {
	for _, limit := range []int{1, 3} {
		m := newMux(t, mux.Options{FlowCap: limit}, nil)
		s := openSocket(t, m)
		_, c := attach(t, m)
		writeNumbers(t, c, 0, 5)
		queued(t, m, 5)
		writeNumbers(t, c, 5, 10)
		queued(t, m, 10)
		var got []uint32
		var held []*mux.Received
		for len(got) < 10 {
			for len(held) < limit && len(got) < 10 {
				r, i := recv(t, s)
				held, got = append(held, r), append(got, i)
			}
			if _, ok := s.TryRecv(); ok {
				t.Fatalf("a message beyond the %d that may be handled at a time", limit)
			}
			if n := m.Stats().Queued; n != 10-len(got) {
				t.Errorf("%d messages queued, want %d", n, 10-len(got))
			}
			held[0].Done()
			held = held[1:]
		}
		for _, r := range held {
			r.Done()
		}
		if limit > 1 {
			slices.Sort(got)
		}
		if !slices.Equal(got, upTo(0, 10)) {
			t.Errorf("%d at a time: messages %d", limit, got)
		}
	}
}

func TestDoneTwicePanics(t *testing.T) {
	m := newMux(t, mux.Options{}, nil)
	s := openSocket(t, m)
	_, c := attach(t, m)
	writeNumbers(t, c, 0, 2)
	panics := func(what string, fn func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s did not panic", what)
			}
		}()
		fn()
	}
	r, _ := recv(t, s)
	r.Done()
	panics("the second Done", r.Done)
	rd := s.Reader()
	defer rd.Close()
	lent, err := rd.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	panics("Done of a Reader's message", lent.Done)
}

// Each message is received once, by one of many receivers that give up now and then,
// on a Mux whose connections are on two loops.
func TestManyReceiversOnOneSocket(t *testing.T) {
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		t.Run(policy.String(), func(t *testing.T) {
			m := newMux(t, mux.Options{Policy: policy, FlowCap: -1, Loops: 2, QueueBytes: 8 << 10}, nil)
			s := openSocket(t, m)
			const conns, each = 6, 500
			var seen [conns * each]atomic.Int32
			var left atomic.Int64
			left.Store(conns * each)
			on := map[*ring.Loop]bool{}
			for i := range conns {
				p, c := attach(t, m)
				on[p.Loop()] = true
				go func() {
					for j := range uint32(each) {
						if _, err := c.Write(numbered(uint32(i*each) + j)); err != nil {
							t.Error(err)
							return
						}
					}
				}()
			}
			if len(on) != 2 {
				t.Errorf("the connections are on %d loops, want 2", len(on))
			}
			all, done := context.WithCancel(t.Context())
			defer done()
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(i), 1))
					for all.Err() == nil {
						ctx, cancel := context.WithTimeout(all, time.Duration(rng.IntN(300))*time.Microsecond)
						r, err := s.Recv(ctx)
						cancel()
						if err != nil {
							if !errors.Is(err, ctx.Err()) {
								t.Error(err)
								return
							}
							continue
						}
						if n := seen[number(r.Msg)].Add(1); n != 1 {
							t.Errorf("message %d was received %d times", number(r.Msg), n)
						}
						r.Done()
						if left.Add(-1) == 0 {
							done()
						}
					}
				})
			}
			wg.Wait()
			if n := left.Load(); n != 0 {
				t.Errorf("%d messages were not received", n)
			}
			memoryIsBack(t, m)
		})
	}
}

// A Recv is cancelled at the moment a message arrives: it returns the message, or the
// next Recv does.
func TestCancelledRecvLosesNothing(t *testing.T) {
	for i, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		t.Run(policy.String(), func(t *testing.T) {
			b := []ring.Backend{ring.URing, ring.Epoll}[i]
			m := newMux(t, mux.Options{Policy: policy, Ring: ring.Options{Backend: b}}, nil)
			s := openSocket(t, m)
			_, c := attach(t, m)
			const rounds = 5000
			type shot struct {
				cancel func()
				delay  int
			}
			shots := make(chan shot)
			go func() {
				for sh := range shots {
					for range sh.delay {
						runtime.Gosched()
					}
					sh.cancel()
				}
			}()
			defer close(shots)
			delay, cancelled := 10, 0
			for i := range uint32(rounds) {
				ctx, cancel := context.WithCancel(t.Context())
				if _, err := c.Write(numbered(i)); err != nil {
					t.Fatal(err)
				}
				shots <- shot{cancel, delay}
				r, err := s.Recv(ctx)
				if err == nil {
					delay = max(0, delay-1) // aim at the moment of arrival
				} else {
					if !errors.Is(err, context.Canceled) {
						t.Fatal(err)
					}
					cancelled++
					delay++
					if r, err = s.Recv(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				if n := number(r.Msg); n != i {
					t.Fatalf("message %d, want %d", n, i)
				}
				r.Done()
			}
			t.Logf("%d of %d were cancelled", cancelled, rounds)
			if n := m.Stats().Received; n != rounds {
				t.Errorf("%d messages received, want %d", n, rounds)
			}
		})
	}
}

func TestRecvErrors(t *testing.T) {
	m := newMux(t, mux.Options{}, nil)
	s := openSocket(t, m)
	ended, end := context.WithCancel(t.Context())
	end()
	rd := s.Reader()
	for what, recv := range map[string]func(context.Context) (*mux.Received, error){"Recv": s.Recv, "Next": rd.Next} {
		if _, err := recv(ended); err != context.Canceled {
			t.Errorf("%s: %v, want context.Canceled", what, err)
		}
		if e := m.Loops()[0].Do(func() {
			if _, err := recv(t.Context()); !errors.Is(err, mux.ErrDeadlock) {
				t.Errorf("%s on a loop: %v, want EDEADLK", what, err)
			}
		}); e != nil {
			t.Fatal(e)
		}
	}
	// Whether it waits already or not.
	for range 20 {
		waits := make(chan error)
		go func() { _, err := s.Recv(context.Background()); waits <- err }()
		go func() { _, err := rd.Next(context.Background()); waits <- err }()
		m.Stats()
		s.Close()
		for range 2 {
			if err := within(t, "the end of a closed socket's reader", waits); !errors.Is(err, mux.ErrClosed) {
				t.Errorf("receiving from a closed socket: %v, want ErrClosed", err)
			}
		}
		s.Close() // legal
		rd.Close()
		s = openSocket(t, m)
		rd = s.Reader()
	}
	rd.Close()
	rd.Close() // legal
	if _, err := rd.Next(t.Context()); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("Next of a closed Reader: %v, want ErrClosed", err)
	}
	waits := make(chan error)
	go func() { _, err := s.Recv(context.Background()); waits <- err }()
	m.Close()
	if err := within(t, "Recv", waits); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("Recv of a closed Mux: %v, want ErrClosed", err)
	}
	if _, err := m.Socket(); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("Socket of a closed Mux: %v, want ErrClosed", err)
	}
}

// A Reader that stops gives back what it has taken and not handed out, in its place.
func TestReaderGivesBackWhatItTook(t *testing.T) {
	eachDispatch(t, func(t *testing.T, o mux.Options) {
		m := newMux(t, o, nil)
		s := openSocket(t, m)
		_, c := attach(t, m)
		writeNumbers(t, c, 0, 10)
		queued(t, m, 10)
		next := uint32(0)
		for range 3 {
			rd := s.Reader()
			for range 2 {
				r, err := rd.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if n := number(r.Msg); n != next {
					t.Errorf("message %d, want %d", n, next)
				}
				next++
				r.Reply(r.Msg)
			}
			if err := rd.Close(); err != nil {
				t.Fatal(err)
			}
			if n := m.Stats().Queued; n != int(10-next) {
				t.Errorf("%d messages queued, want %d", n, 10-next)
			}
		}
		for ; next < 10; next++ {
			r, n := recv(t, s)
			if n != next {
				t.Errorf("message %d, want %d", n, next)
			}
			r.Reply(r.Msg)
			r.Done()
		}
		if got := readNumbers(t, c, 10); !slices.Equal(got, upTo(0, 10)) {
			t.Errorf("replies to %d", got)
		}
	})
}

// What a closed socket has queued goes to the others, or waits for the next one; each
// connection's messages stay in order.
func TestClosedSocketsMessagesGoToOthers(t *testing.T) {
	for _, policy := range []mux.Policy{mux.Idle, mux.FIFO} {
		t.Run(policy.String(), func(t *testing.T) {
			m := newMux(t, mux.Options{Policy: policy}, nil)
			var conns []net.Conn
			for range 3 {
				_, c := attach(t, m)
				conns = append(conns, c)
			}
			first, second := openSocket(t, m), openSocket(t, m)
			for i := range uint32(8) { // in callbacks of their own
				for _, c := range conns {
					writeNumbers(t, c, i, i+1)
				}
				queued(t, m, 3*int(i+1))
			}
			kept, n := recv(t, first)
			if n != 0 {
				t.Errorf("message %d, want 0", n)
			}
			first.Close()
			second.Close()
			queued(t, m, 3*8-1)
			third := openSocket(t, m)
			next := map[*mux.Psock]uint32{kept.From: 1}
			kept.Done()
			for range 3*8 - 1 {
				r, n := recv(t, third)
				if n != next[r.From] {
					t.Errorf("connection %d: message %d, want %d", r.From.Index(), n, next[r.From])
				}
				next[r.From] = n + 1
				r.Done()
			}
			queued(t, m, 0)
			memoryIsBack(t, m)
		})
	}
}

// A socket that is full only of messages that must wait for those of a closed one
// gets these, although it is full.
func TestFullSocketTakesWhatItsMessagesWaitFor(t *testing.T) {
	m := newMux(t, mux.Options{Policy: mux.FIFO, QueueBytes: 2000}, nil)
	first, second := openSocket(t, m), openSocket(t, m)
	_, c := attach(t, m)
	const n = 40
	writeNumbers(t, c, 0, 1)
	queued(t, m, 1) // at the first socket
	writeNumbers(t, c, 1, n)
	until(t, "both full", func() bool { return m.Stats().Parks > 0 })
	first.Close()
	for i := range uint32(n) {
		r, k := recv(t, second)
		if k != i {
			t.Fatalf("message %d, want %d", k, i)
		}
		r.Done()
	}
}

// Readers see messages of all connections, whichever loop these are on, and answer
// them from anywhere.
func TestReaderAnswersOtherConnections(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m := newMux(t, mux.Options{Loops: 2, Ring: ring.Options{Backend: b}}, nil)
		s := openSocket(t, m)
		to, sink := attach(t, m)
		go func() {
			rd := s.Reader()
			defer rd.Close()
			for {
				r, err := rd.Next(context.Background())
				if err != nil {
					return
				}
				r.Send(to, r.Msg)
			}
		}()
		const n = 200
		for i := range uint32(4) {
			_, c := attach(t, m)
			writeNumbers(t, c, i*n, i*n+n)
		}
		got := readNumbers(t, sink, 4*n)
		next := [4]uint32{0, n, 2 * n, 3 * n}
		for _, k := range got {
			if k != next[k/n] {
				t.Fatalf("message %d, want %d", k, next[k/n])
			}
			next[k/n]++
		}
		s.Close()
	})
}

// A message kept with Take outlives its handling, its connection and its burst.
func TestWorkKeepsAMessage(t *testing.T) {
	m := newMux(t, mux.Options{}, nil)
	kept := make(chan *sgmsg.Message, 10)
	startWorkers(t, m, 2, func(r *mux.Received) mux.Verdict {
		kept <- r.Msg.Take()
		return mux.Done
	})
	p, c := attach(t, m)
	writeNumbers(t, c, 0, 10)
	var all []*sgmsg.Message
	for range 10 {
		all = append(all, <-kept)
	}
	p.Close()
	if _, err := io.ReadAll(c); err != nil {
		t.Error(err)
	}
	for i, msg := range all {
		if n := number(msg); n != uint32(i) {
			t.Errorf("message %d, want %d", n, i)
		}
		msg.Release()
	}
	memoryIsBack(t, m)
}
