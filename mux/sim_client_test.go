//go:build linux

package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
)

// asked is a request that a server got.
type asked struct {
	from  *Psock
	id    uint64
	token uint64
}

// clientWorld is a client over a pool, and a server that answers when the test says so.
// Requests are a length, a number, and a token of 8 bytes; a reply has the same token.
type clientWorld struct {
	*poolWorld
	cl    *Client
	ids   strparser.IDs
	asked []asked
	calls []*simCall
	tell  func(c *simCall) // told of each call's end, if not nil
	large bool             // some requests do not fit a stream at once
}

// simCall is one call and what became of it.
type simCall struct {
	Call
	token uint64
	ends  int
	err   error
	got   uint64 // the reply's token
	done  chan struct{}
}

func numbersOf(width int) strparser.IDs {
	f := strparser.IDField{Offset: 4, Width: width}
	return strparser.IDs{Request: f, Reply: f}
}

func newClientWorld(t *testing.T, s *ringtest.Sim, loops int, width int, o ClientOptions) *clientWorld {
	w := &clientWorld{poolWorld: newPoolWorld(t, s, loops), ids: numbersOf(width)}
	o.IDs = w.ids
	var err error
	if w.cl, err = w.m.Client(o); err != nil {
		t.Fatal(err)
	}
	w.theirs.Handle(func(from *Psock, msg *sgmsg.Message) Verdict {
		id, ok := w.ids.Request.Get(msg)
		var token [8]byte
		if !ok || msg.CopyTo(token[:], 4+width) != 8 {
			t.Fatalf("a request of % x", msg.AppendTo(nil))
		}
		w.asked = append(w.asked, asked{from, id, binary.BigEndian.Uint64(token[:])})
		return Done
	})
	return w
}

// message makes a message with a number, a token and so many bytes more.
func (w *clientWorld) message(m *sgmsg.Message, id, token uint64, more int) {
	w.t.Helper()
	width := w.ids.Request.Width
	b := make([]byte, 4+width+8+more)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	binary.BigEndian.PutUint64(b[4+width:], token)
	for i := range width {
		b[4+i] = byte(id >> (8 * (width - 1 - i)))
	}
	if err := m.AppendCopy(w.far, b, 0); err != nil {
		w.t.Fatal(err)
	}
}

// go_ begins a call; its token is its number among all.
func (w *clientWorld) go_(ctx context.Context, resend bool) (*simCall, error) {
	c := &simCall{token: uint64(len(w.calls)), done: make(chan struct{}, 8)}
	c.Resend = resend
	size := 0
	if w.large && c.token%3 == 0 {
		size = w.sim.Rand().IntN(24 << 10)
	}
	w.message(&c.Request, 0, c.token, size)
	c.Done = func(_ *Call, err error) {
		c.ends++
		c.err = err
		if err == nil {
			var b [8]byte
			c.Reply.CopyTo(b[:], 4+w.ids.Reply.Width)
			c.got = binary.BigEndian.Uint64(b[:])
			c.Reply.Release()
		}
		if w.tell != nil {
			w.tell(c)
		}
		c.done <- struct{}{}
	}
	err := w.cl.Go(ctx, &c.Call)
	if err != nil {
		c.Request.Reset()
		return nil, err
	}
	w.calls = append(w.calls, c)
	return c, nil
}

func (w *clientWorld) call(resend bool) *simCall {
	w.t.Helper()
	c, err := w.go_(context.Background(), resend)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// answer answers a request, if its connection still stands.
func (w *clientWorld) answer(a asked) {
	var m sgmsg.Message
	w.message(&m, a.id, a.token, 0)
	a.from.Send(&m)
}

func (w *clientWorld) arrive(n int) {
	w.t.Helper()
	w.until("requests arrive", func() bool { return len(w.asked) >= n })
	if len(w.asked) > n {
		w.t.Fatalf("%d requests arrived, want %d", len(w.asked), n)
	}
}

// quiet lets everything happen that is going to.
func (w *clientWorld) quiet(d time.Duration) {
	w.t.Helper()
	end := w.sim.Now() + d
	w.sim.After(d, func() {})
	w.until("time passes", func() bool { return w.sim.Now() >= end })
}

// ended checks that a call has ended once: with its own reply, or with an error.
func (w *clientWorld) ended(c *simCall, want error) {
	w.t.Helper()
	switch {
	case c.ends != 1:
		w.t.Errorf("call %d has ended %d times", c.token, c.ends)
	case !errors.Is(c.err, want):
		w.t.Errorf("call %d: %v, want %v", c.token, c.err, want)
	case c.err == nil && c.got != c.token:
		w.t.Errorf("call %d got the reply to call %d", c.token, c.got)
	}
}

// finish ends the world: no call is out, and each number is free or rests.
func (w *clientWorld) finish() {
	w.t.Helper()
	if n := w.cl.InFlight(); n != 0 {
		w.t.Errorf("%d calls are out", n)
	}
	rest := 0
	for i := range w.cl.slots {
		if w.cl.slots[i].ref().phase() == callResting {
			rest++
		}
	}
	if free := len(w.cl.free); free+rest != len(w.cl.slots) {
		w.t.Errorf("of %d numbers %d are free and %d rest", len(w.cl.slots), free, rest)
	}
	w.poolWorld.finish()
	for _, c := range w.calls {
		if c.ends != 1 {
			w.t.Errorf("call %d has ended %d times", c.token, c.ends)
		}
	}
}

const simAddr = "10.0.0.1:80"

// calls runs a test of a client with one connection to one server, on a calm network, with
// numbers that need no rest; narrowCalls one with numbers that do.
func calls(t *testing.T, o ClientOptions, fn func(w *clientWorld)) { callsOf(t, 4, o, fn) }

func narrowCalls(t *testing.T, o ClientOptions, fn func(w *clientWorld)) { callsOf(t, 2, o, fn) }

func callsOf(t *testing.T, width int, o ClientOptions, fn func(w *clientWorld)) {
	ringtest.Seeds(t, 1, ringtest.Calm(), func(t *testing.T, s *ringtest.Sim) {
		w := newClientWorld(t, s, 1, width, o)
		w.serve(simAddr)
		w.start(PoolOptions{Addresses: []string{simAddr}, RetryMin: time.Millisecond, RetryMax: 4 * time.Millisecond})
		w.until("the connection stands", func() bool { return w.up() == 1 })
		fn(w)
		w.finish()
	})
}

// Replies in any order find their calls.
func TestCallsGetTheirReplies(t *testing.T) {
	calls(t, ClientOptions{}, func(w *clientWorld) {
		a, b, c := w.call(false), w.call(false), w.call(false)
		w.arrive(3)
		if n := w.cl.InFlight(); n != 3 {
			w.t.Errorf("%d calls are out", n)
		}
		for _, i := range []int{2, 0, 1} {
			w.answer(w.asked[i])
		}
		w.until("all have ended", func() bool { return w.cl.InFlight() == 0 })
		w.ended(a, nil)
		w.ended(b, nil)
		w.ended(c, nil)
	})
}

// A call that is given up before its request has left leaves nothing: the request is not
// sent when there is a connection, and its number is free at once.
func TestCallIsCancelledBeforeItsRequestHasLeft(t *testing.T) {
	ringtest.Seeds(t, 1, ringtest.Calm(), func(t *testing.T, s *ringtest.Sim) {
		w := newClientWorld(t, s, 1, 4, ClientOptions{InFlight: 2})
		ctx, cancel := context.WithCancel(context.Background())
		a, err := w.go_(ctx, false)
		if err != nil {
			t.Fatal(err)
		}
		b := w.call(false)
		if _, err := w.go_(ctx, false); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("a third call: %v, want EAGAIN", err)
		}
		cancel()
		<-a.done
		w.ended(a, context.Canceled)
		if n := w.cl.InFlight(); n != 1 || len(w.cl.free) != 1 {
			t.Errorf("%d calls are out, %d numbers free", n, len(w.cl.free))
		}
		if _, err := w.go_(ctx, false); err != context.Canceled {
			t.Errorf("with a context that has ended: %v", err)
		}
		w.serve(simAddr)
		w.start(PoolOptions{Addresses: []string{simAddr}})
		w.arrive(1)
		w.answer(w.asked[0])
		w.until("the other has ended", func() bool { return w.cl.InFlight() == 0 })
		w.quiet(10 * time.Millisecond)
		w.arrive(1)
		w.ended(b, nil)
		w.finish()
	})
}

// A call that is given up later ends at once, and its reply is counted and frees the number.
func TestCallIsCancelledBeforeItsReply(t *testing.T) {
	narrowCalls(t, ClientOptions{InFlight: 1}, func(w *clientWorld) {
		ctx, cancel := context.WithCancel(context.Background())
		a, err := w.go_(ctx, true)
		if err != nil {
			w.t.Fatal(err)
		}
		w.arrive(1)
		cancel()
		<-a.done
		w.ended(a, context.Canceled)
		if n := w.cl.InFlight(); n != 0 {
			w.t.Errorf("%d calls are out", n)
		}
		if _, err := w.go_(context.Background(), false); !errors.Is(err, syscall.EAGAIN) {
			w.t.Errorf("while the number may be answered: %v, want EAGAIN", err)
		}
		w.answer(w.asked[0])
		w.until("the reply has come", func() bool { return w.cl.Orphans() == 1 })
		b := w.call(false)
		w.arrive(2)
		if w.asked[0].id == w.asked[1].id {
			w.t.Errorf("both calls have the number %d", w.asked[0].id)
		}
		w.answer(w.asked[0]) // once more, and too late
		w.answer(w.asked[1])
		w.until("the call has ended", func() bool { return w.cl.InFlight() == 0 })
		w.ended(b, nil)
	})
}

// A wide number is free at once when its call is given up: the next call of its slot has
// another one, and the late reply is nobody's, before and after that.
func TestWideNumbersNeedNoRest(t *testing.T) {
	pushed := 0
	o := ClientOptions{InFlight: 1, Push: func(*Psock, *sgmsg.Message) Verdict { pushed++; return Done }}
	calls(t, o, func(w *clientWorld) {
		a := w.call(false)
		w.arrive(1)
		w.cl.cancel(w.cl.slots[0].ref(), context.Canceled)
		w.ended(a, context.Canceled)
		w.answer(w.asked[0])
		w.until("a late reply has come", func() bool { return w.cl.Orphans() == 1 })
		b := w.call(false)
		w.arrive(2)
		w.answer(w.asked[0])
		w.answer(w.asked[1])
		w.until("the call has ended", func() bool { return w.cl.InFlight() == 0 })
		w.ended(b, nil)
		if n := w.cl.Orphans(); n != 2 || pushed != 0 {
			w.t.Errorf("%d late replies, %d were pushed", n, pushed)
		}
		// Numbers that no call has had are not late replies.
		for i, id := range []uint64{0, w.asked[1].id + 1, w.asked[0].id - 1} {
			w.answer(asked{from: w.asked[0].from, id: id})
			w.until("a message has come", func() bool { return pushed == i+1 })
		}
	})
}

// A number that nobody answers may be used again after its rest, and under another
// generation.
func TestNumbersRest(t *testing.T) {
	const rest = 3 * time.Second
	narrowCalls(t, ClientOptions{InFlight: 2, Rest: rest}, func(w *clientWorld) {
		a, b := w.call(false), w.call(false)
		w.arrive(2)
		w.cl.cancel(w.cl.slots[w.asked[0].id&1].ref(), context.Canceled)
		w.quiet(rest / 2)
		w.cl.cancel(w.cl.slots[w.asked[1].id&1].ref(), context.Canceled)
		w.ended(a, context.Canceled)
		w.ended(b, context.Canceled)
		w.quiet(rest/2 - 5*time.Millisecond)
		if n := len(w.cl.free); n != 0 {
			w.t.Errorf("%d numbers are free before their time", n)
		}
		w.quiet(10 * time.Millisecond)
		if n := len(w.cl.free); n != 1 {
			w.t.Errorf("%d numbers are free, want the first", n)
		}
		c := w.call(false)
		w.arrive(3)
		if w.asked[2].id == w.asked[0].id || w.asked[2].id&1 != w.asked[0].id&1 {
			w.t.Errorf("numbers %d and %d of one slot", w.asked[0].id, w.asked[2].id)
		}
		w.answer(w.asked[0])
		w.answer(w.asked[2])
		w.until("the call has ended", func() bool { return w.cl.InFlight() == 0 })
		w.ended(c, nil)
		w.quiet(rest)
		if n := len(w.cl.free); n != 2 || w.cl.Orphans() != 0 {
			w.t.Errorf("%d numbers are free, %d late replies", n, w.cl.Orphans())
		}
	})
}

// The connection ends between a request and its reply. The call fails with the cause, or
// its request is sent again; one that had not left is not touched.
func TestCallsOfAConnectionThatEnds(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(p *Psock)
		want error
	}{
		{"reset", func(p *Psock) { p.leave(syscall.ECONNABORTED, false) }, nil},
		{"orderly", func(p *Psock) { p.Drain() }, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			calls(t, ClientOptions{}, func(w *clientWorld) {
				a, b := w.call(false), w.call(true)
				w.arrive(2)
				index := w.pool.Health()[0].Psock.Index()
				x.end(w.asked[0].from)
				w.until("the call has ended", func() bool { return a.ends == 1 })
				var lost *CallError
				if !errors.As(a.err, &lost) || lost.Psock != index || lost.Cause == nil {
					t.Errorf("the call ended with %v", a.err)
				}
				w.arrive(3)
				if w.asked[2].token != b.token || w.asked[2].from == w.asked[1].from {
					t.Errorf("sent again was call %d", w.asked[2].token)
				}
				w.answer(w.asked[2])
				w.until("the other has ended", func() bool { return w.cl.InFlight() == 0 })
				w.ended(b, nil)
				if free := len(w.cl.free); free != len(w.cl.slots) {
					t.Errorf("%d numbers are free", free)
				}
			})
		})
	}
}

// A number rests no longer than its connection lives.
func TestNumbersOfAConnectionThatEnds(t *testing.T) {
	narrowCalls(t, ClientOptions{InFlight: 1}, func(w *clientWorld) {
		a := w.call(false)
		w.arrive(1)
		w.cl.cancel(w.cl.slots[0].ref(), context.Canceled)
		w.ended(a, context.Canceled)
		w.quiet(time.Millisecond)
		w.asked[0].from.Close()
		closed := w.sim.Now()
		w.until("the number is free", func() bool { return len(w.cl.free) == 1 })
		if took := w.sim.Now() - closed; took > time.Second {
			w.t.Errorf("the number was free after %v", took)
		}
	})
}

// The news that all of a request was sent may come after the end of its connection, which
// looked for its calls before: the call ends nevertheless.
func TestNewsOfACallComeAfterTheEndOfItsConnection(t *testing.T) {
	calls(t, ClientOptions{}, func(w *clientWorld) {
		a, b := w.call(false), w.call(true)
		w.arrive(2)
		p := w.pool.Health()[0].Psock
		var refs []callRef
		for i := range w.cl.slots {
			if r := w.cl.slots[i].ref(); r.swap(callSent, callLeaving) { // as before the news
				refs = append(refs, r)
			}
		}
		w.asked[0].from.Close()
		w.until("the connection has ended", func() bool { return p.State() == Ended && w.up() == 1 })
		if len(refs) != 2 || a.ends+b.ends != 0 {
			t.Fatalf("%d calls, %d have ended", len(refs), a.ends+b.ends)
		}
		for _, r := range refs {
			r.arrives(p)
		}
		w.until("the call has ended", func() bool { return a.ends == 1 })
		w.ended(a, io.EOF)
		w.arrive(3)
		w.answer(w.asked[2])
		w.until("the other has ended", func() bool { return w.cl.InFlight() == 0 })
		w.ended(b, nil)
	})
}

// A reply that comes from another connection than the request went to is none.
func TestReplyOfAnotherConnectionIsNone(t *testing.T) {
	pushed := 0
	o := ClientOptions{Push: func(*Psock, *sgmsg.Message) Verdict { pushed++; return Done }}
	ringtest.Seeds(t, 1, ringtest.Calm(), func(t *testing.T, s *ringtest.Sim) {
		w := newClientWorld(t, s, 1, 4, o)
		w.serve(simAddr)
		w.start(PoolOptions{Addresses: []string{simAddr}, Conns: 2})
		w.until("the connections stand", func() bool { return w.up() == 2 && w.theirs.Psocks() == 2 })
		a := w.call(false)
		w.arrive(1)
		wrong := w.asked[0]
		for _, p := range w.theirs.shards[0].psocks {
			if p != wrong.from {
				wrong.from = p
				break
			}
		}
		w.answer(wrong)
		w.until("the reply has come", func() bool { return pushed == 1 })
		if a.ends != 0 {
			t.Error("the call has ended")
		}
		w.answer(w.asked[0])
		w.until("the call has ended", func() bool { return w.cl.InFlight() == 0 })
		w.ended(a, nil)
		w.finish()
	})
}

// Close ends the calls that are out, wherever they are.
func TestCloseOfAClientEndsItsCalls(t *testing.T) {
	for name, end := range map[string]func(w *clientWorld) error{
		"client": func(w *clientWorld) error { return w.cl.Close() },
		"Mux":    func(w *clientWorld) error { return w.m.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			calls(t, ClientOptions{InFlight: 8}, func(w *clientWorld) {
				out := []*simCall{w.call(false), w.call(true)}
				w.arrive(2)
				out = append(out, w.call(false), w.call(true))
				if err := end(w); err != nil {
					t.Error(err)
				}
				for _, c := range out {
					w.ended(c, ErrClosed)
				}
				if _, err := w.go_(context.Background(), false); !errors.Is(err, ErrClosed) {
					t.Errorf("a call afterwards: %v, want ErrClosed", err)
				}
				if err := w.cl.Close(); err != nil {
					t.Errorf("closing twice: %v", err)
				}
				if _, err := w.m.Client(ClientOptions{IDs: w.ids}); !errors.Is(err, syscall.EALREADY) && !errors.Is(err, ErrClosed) {
					t.Errorf("another client: %v", err)
				}
			})
		})
	}
}

// What answers no call goes to Push: without a number, with one too large, with one that
// is nobody's, or from a connection that the request did not go to.
func TestMessagesThatAnswerNoCall(t *testing.T) {
	var pushed []string
	calls(t, ClientOptions{InFlight: 8, Push: func(_ *Psock, msg *sgmsg.Message) Verdict {
		pushed = append(pushed, string(msg.AppendTo(nil)))
		return Done
	}}, func(w *clientWorld) {
		a := w.call(false)
		w.arrive(1)
		from := w.asked[0].from
		want := []string{"\x00\x00\x00\x00", "\x00\x00\x00\x03abc", "\x00\x00\x00\x04\xff\xff\xff\xff"}
		for _, text := range want {
			var m sgmsg.Message
			if err := m.AppendCopy(w.far, []byte(text), 0); err != nil {
				w.t.Fatal(err)
			}
			from.Send(&m)
		}
		w.answer(w.asked[0])
		w.until("the call has ended", func() bool { return w.cl.InFlight() == 0 })
		w.ended(a, nil)
		if len(pushed) != len(want) {
			w.t.Fatalf("%q was pushed", pushed)
		}
		for i := range want {
			if pushed[i] != want[i] {
				w.t.Errorf("%q was pushed, want %q", pushed[i], want[i])
			}
		}
	})
}

// Through storms, resets and servers that come and go, with calls given up at any moment and
// servers that answer in any order, late, twice or not at all: each call ends exactly once,
// with its own reply or an error that says why, and nobody is asked twice unless Resend
// allows it.
func TestSimulatedCallsEndOnce(t *testing.T) {
	o := ringtest.Storm()
	ringtest.Seeds(t, *simSeeds, o, simulateCalls)
}

func simulateCalls(t *testing.T, s *ringtest.Sim) {
	rng := s.Rand()
	width := 1 + rng.IntN(4)
	const rest = 2 * time.Second // longer than any answer takes
	w := newClientWorld(t, s, 1+rng.IntN(2), width, ClientOptions{
		InFlight: 1 << rng.IntN(6), Sockets: 1 + rng.IntN(3), Rest: rest,
	})
	names := []string{"10.0.0.1:80", "10.0.0.2:80"}
	w.start(PoolOptions{Addresses: names, Conns: 1 + rng.IntN(4), RetryMin: time.Millisecond, RetryMax: 4 * time.Millisecond, DialTimeout: 20 * time.Millisecond})
	w.large = rng.IntN(2) == 0
	seen, handled := map[uint64]int{}, 0
	cancelled := map[uint64]bool{}
	allow := func(c *simCall) {
		var lost *CallError
		switch {
		case c.err == nil && c.got != c.token:
			t.Fatalf("call %d got the reply to call %d", c.token, c.got)
		case c.err == nil:
		case c.err == context.Canceled && cancelled[c.token]:
		case errors.As(c.err, &lost) && lost.Cause != nil && !c.Resend:
		default:
			t.Fatalf("call %d: %v", c.token, c.err)
		}
	}
	w.tell = func(c *simCall) {
		if c.ends > 1 {
			t.Fatalf("call %d has ended %d times", c.token, c.ends)
		}
		allow(c)
	}
	todo, storm := 20+rng.IntN(100), true
	var user func()
	user = func() {
		if todo == 0 {
			return // those that are out end without our help
		}
		s.After(time.Duration(rng.IntN(2000))*time.Microsecond, user)
		for range min(todo, rng.IntN(4)) {
			if _, err := w.go_(context.Background(), rng.IntN(2) == 0); err == nil {
				todo--
			} else if !errors.Is(err, syscall.EAGAIN) {
				t.Fatal(err)
			}
		}
		if rng.IntN(20) == 0 && len(w.calls) > 0 {
			c := w.calls[rng.IntN(len(w.calls))]
			for i := range w.cl.slots {
				if sl := &w.cl.slots[i]; c.ends == 0 && sl.call == &c.Call {
					cancelled[c.token] = true
					w.cl.cancel(sl.ref(), context.Canceled)
				}
			}
		}
	}
	server := func() {
		tx := w.m.tx
		tx.lock()
		v := tx.violation()
		tx.unlock()
		if v != "" {
			t.Fatal(v)
		}
		for ; handled < len(w.asked); handled++ {
			a := w.asked[handled]
			if seen[a.token]++; seen[a.token] > 1 && !w.calls[a.token].Resend {
				t.Fatalf("call %d was asked %d times", a.token, seen[a.token])
			}
			if storm && rng.IntN(10) == 0 && cancelled[a.token] {
				continue // never, as nobody waits
			}
			s.After(time.Duration(rng.IntN(10))*time.Millisecond, func() { w.answer(a) })
			if width == 4 && rng.IntN(10) == 0 {
				s.After(time.Duration(rng.IntN(10))*time.Millisecond, func() { w.answer(a) })
			}
		}
	}
	w.turns = append(w.turns, server)
	s.After(0, user)
	var weather func()
	weather = func() {
		if !storm {
			for _, name := range names {
				if w.servers[name] == nil {
					w.serve(name)
				}
			}
			return
		}
		name := names[rng.IntN(2)]
		switch rng.IntN(4) {
		case 0:
			w.hangUp([]error{nil, syscall.ECONNABORTED}[rng.IntN(2)])
		case 1:
			if w.servers[name] != nil {
				w.stop(name)
			}
		default:
			if w.servers[name] == nil {
				w.serve(name)
			}
		}
		s.After(time.Duration(1+rng.IntN(10))*time.Millisecond, weather)
	}
	s.After(0, weather)
	s.After(300*time.Millisecond, func() { storm = false })
	s.After(400*time.Millisecond, weather)
	w.until("all calls have ended", func() bool { return todo == 0 && w.cl.InFlight() == 0 })
	for _, c := range w.calls {
		if c.ends != 1 {
			t.Fatalf("call %d has ended %d times", c.token, c.ends)
		}
	}
	storm = false
	w.quiet(time.Second)
	w.finish()
}
