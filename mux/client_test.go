//go:build linux

package mux_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/sgmsg"
	"github.com/kcm-go/kcm/strparser"
	"github.com/kcm-go/kcm/strparser/formats"
)

// Requests of these tests are a length, a number of 4 bytes, and a token of 8, which the
// reply repeats.
var tokenIDs = func() strparser.IDs {
	f := strparser.IDField{Offset: 4, Width: 4}
	return strparser.IDs{Request: f, Reply: f}
}()

const tokenMessage = 4 + 4 + 8

func setToken(t testing.TB, m *mux.Mux, msg *sgmsg.Message, token uint64) {
	var b [tokenMessage]byte
	binary.BigEndian.PutUint32(b[:], tokenMessage-4)
	binary.BigEndian.PutUint64(b[8:], token)
	if err := msg.AppendCopy(m.Loops()[0], b[:], 0); err != nil {
		t.Error(err)
	}
}

func getToken(msg *sgmsg.Message) uint64 {
	var b [8]byte
	msg.CopyTo(b[:], 8)
	return binary.BigEndian.Uint64(b[:])
}

// newClient is a client over a pool to a server, whose connections stand.
func newClient(t *testing.T, b ring.Backend, o mux.ClientOptions, conns int, addr string) (*mux.Mux, *mux.Client) {
	t.Helper()
	m := newMux(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, nil)
	o.IDs = tokenIDs
	cl, err := m.Client(o)
	if err != nil {
		t.Fatal(err)
	}
	stand(t, newPool(t, m, quick(conns, addr)), conns)
	return m, cl
}

// Many goroutines call while the server is killed and started again: each call ends with
// its own reply, or with an error of its connection if it may not be sent again.
func TestCallsWhileTheServerIsKilled(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		const callers, each = 64, 60
		o := mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}
		_, addr, end := serveAt(t, "127.0.0.1:0", o, echo)
		m, cl := newClient(t, b, mux.ClientOptions{}, 3, addr)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		var done, lost atomic.Int64
		for i := range callers {
			wg.Go(func() {
				c := mux.Call{Resend: i%2 == 0}
				for j := range each {
					token := uint64(i*each + j)
					setToken(t, m, &c.Request, token)
					var gone *mux.CallError
					switch err := cl.Do(ctx, &c); {
					case err == nil:
						if got := getToken(&c.Reply); got != token {
							t.Errorf("call %d got the reply to call %d", token, got)
						}
						c.Reply.Release()
						done.Add(1)
					case errors.As(err, &gone) && gone.Cause != nil && !c.Resend:
						lost.Add(1)
					default:
						t.Errorf("call %d, Resend %v: %v", token, c.Resend, err)
						return
					}
				}
			})
		}
		finished := make(chan struct{})
		go func() { wg.Wait(); close(finished) }()
		kills := 0
		for over := false; !over; kills++ {
			target := done.Load() + callers*each/10
			until(t, "some calls are done", func() bool {
				m.Stats()
				select {
				case <-finished:
					over = true
				default:
				}
				return over || done.Load() >= target
			})
			end()
			_, _, end = serveAt(t, addr, o, echo)
		}
		end()
		t.Logf("%d replies, %d lost, %d kills", done.Load(), lost.Load(), kills)
		if n := done.Load() + lost.Load(); n != callers*each && !t.Failed() {
			t.Errorf("%d calls have ended, want %d", n, callers*each)
		}
		if n := cl.InFlight(); n != 0 {
			t.Errorf("%d calls are out", n)
		}
	})
}

func TestDoAllocatesNothing(t *testing.T) {
	skipIfChecksAllocate(t)
	each(t, func(t *testing.T, b ring.Backend) {
		_, addr := server(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, echo)
		for name, resend := range map[string]bool{"once": false, "resend": true} {
			t.Run(name, func(t *testing.T) {
				m, cl := newClient(t, b, mux.ClientOptions{InFlight: 64}, 2, addr)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				const warm, rounds = 300, 2000 // each slot has been used before
				c := mux.Call{Resend: resend}
				round := func(i int) {
					setToken(t, m, &c.Request, uint64(i))
					if err := cl.Do(ctx, &c); err != nil {
						t.Fatal(err)
					}
					if got := getToken(&c.Reply); got != uint64(i) {
						t.Fatalf("call %d got the reply to call %d", i, got)
					}
					c.Reply.Release()
				}
				for i := range warm {
					round(i)
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for i := range rounds {
					round(i)
				}
				runtime.ReadMemStats(&after)
				n := after.Mallocs - before.Mallocs
				t.Logf("%d allocations for %d calls", n, rounds)
				if n*100 > rounds {
					t.Errorf("%d allocations for %d calls, want fewer than one for a hundred", n, rounds)
				}
			})
		}
	})
}

// holding is a server that keeps requests until release is called, which answers them all.
func holding(t *testing.T, b ring.Backend) (addr string, held func() int, release func()) {
	type request struct {
		from *mux.Psock
		msg  *sgmsg.Message
	}
	var mu sync.Mutex
	var requests []request
	_, addr = server(t, mux.Options{Loops: 1, Ring: ring.Options{Backend: b}}, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, request{from, msg.Take()})
		return mux.Done
	})
	held = func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(requests)
	}
	release = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range requests {
			r.from.Send(r.msg)
		}
		requests = nil
	}
	t.Cleanup(release)
	return addr, held, release
}

// While as many calls are out as may be Do waits, and Go does not. A call whose context
// ends first ends with that.
func TestCallsWaitForANumber(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		addr, held, release := holding(t, b)
		m, cl := newClient(t, b, mux.ClientOptions{InFlight: 1}, 1, addr)
		do := func(ctx context.Context, token uint64) chan error {
			ended := make(chan error, 1)
			go func() {
				var c mux.Call
				setToken(t, m, &c.Request, token)
				err := cl.Do(ctx, &c)
				if err == nil && getToken(&c.Reply) != token {
					err = errors.New("another call's reply")
				}
				c.Reply.Reset()
				c.Request.Reset()
				ended <- err
			}()
			return ended
		}
		first := do(t.Context(), 1)
		until(t, "the request is there", func() bool { m.Stats(); return held() == 1 })
		brief, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := within(t, "Do", do(brief, 2)); err != context.DeadlineExceeded {
			t.Errorf("a call that waited for too long: %v", err)
		}
		var c mux.Call
		c.Done = func(*mux.Call, error) { t.Error("Done of a call that was not made") }
		setToken(t, m, &c.Request, 3)
		if err := cl.Go(t.Context(), &c); !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("Go: %v, want EAGAIN", err)
		}
		c.Request.Release()
		second := do(t.Context(), 4)
		release()
		if err := within(t, "the first", first); err != nil {
			t.Error(err)
		}
		until(t, "the next request is there", func() bool { m.Stats(); return held() == 1 })
		brief, cancel = context.WithTimeout(t.Context(), time.Hour)
		cancel()
		if err := within(t, "Do", do(brief, 5)); err != context.Canceled {
			t.Errorf("a call whose context had ended: %v", err)
		}
		release()
		if err := within(t, "the second", second); err != nil {
			t.Error(err)
		}
	})
}

// A call whose reply does not come in time ends with the context's error, also one of Go;
// the late reply is nobody's.
func TestCallsEndWithTheirContext(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		addr, held, release := holding(t, b)
		m, cl := newClient(t, b, mux.ClientOptions{}, 1, addr)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		var a, c mux.Call
		c.Done = func(_ *mux.Call, err error) { done <- err }
		setToken(t, m, &a.Request, 1)
		setToken(t, m, &c.Request, 2)
		go func() { done <- cl.Do(ctx, &a) }()
		if err := cl.Go(ctx, &c); err != nil {
			t.Fatal(err)
		}
		until(t, "the requests are there", func() bool { m.Stats(); return held() == 2 })
		cancel()
		for range 2 {
			if err := within(t, "the call", done); err != context.Canceled {
				t.Errorf("%v, want what the context says", err)
			}
		}
		release()
		until(t, "the replies have come", func() bool { m.Stats(); return cl.Orphans() == 2 })
		if n := cl.InFlight(); n != 0 {
			t.Errorf("%d calls are out", n)
		}
	})
}

func TestCallErrors(t *testing.T) {
	_, addr := server(t, mux.Options{Loops: 1}, echo)
	m, cl := newClient(t, ring.Auto, mux.ClientOptions{Socket: mux.SocketOptions{WaitPsock: mux.Fail}}, 1, addr)
	var c mux.Call
	if err := c.Request.AppendCopy(m.Loops()[0], []byte("\x00\x00\x00\x01x"), 0); err != nil {
		t.Fatal(err)
	}
	if err := cl.Do(t.Context(), &c); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a request without room for a number: %v, want EINVAL", err)
	}
	if got := string(c.Request.AppendTo(nil)); got != "\x00\x00\x00\x01x" {
		t.Errorf("the request is %q", got)
	}
	if err := cl.Go(t.Context(), &c); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Go without Done: %v, want EINVAL", err)
	}
	c.Request.Release()
	c.Request.Reset()
	setToken(t, m, &c.Request, 1)
	if err := m.Loops()[0].Do(func() {
		if err := cl.Do(context.Background(), &c); !errors.Is(err, mux.ErrDeadlock) {
			t.Errorf("Do on a loop: %v, want EDEADLK", err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Client(mux.ClientOptions{IDs: tokenIDs}); !errors.Is(err, syscall.EALREADY) {
		t.Errorf("a second client: %v, want EALREADY", err)
	}

	m2 := newMux(t, mux.Options{Loops: 1}, nil)
	cl2, err := m2.Client(mux.ClientOptions{IDs: tokenIDs, Socket: mux.SocketOptions{WaitPsock: mux.Fail}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cl2.Do(t.Context(), &c); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("without a connection: %v, want ENOTCONN", err)
	}
	if err := cl2.Close(); err != nil {
		t.Error(err)
	}
	if err := cl2.Do(t.Context(), &c); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	if err := cl.Do(t.Context(), &c); err != nil {
		t.Errorf("after all these the request is still good: %v", err)
	}
	c.Reply.Release()
}

func TestClientOptionsThatCannotWorkAreRefused(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1}, nil)
	narrow := strparser.IDField{Offset: 4, Width: 1}
	for _, o := range []mux.ClientOptions{
		{}, {IDs: strparser.IDs{Request: tokenIDs.Request}}, {IDs: tokenIDs, InFlight: 3}, {IDs: tokenIDs, InFlight: -1},
		{IDs: tokenIDs, Sockets: -1}, {IDs: tokenIDs, Rest: -1}, {IDs: strparser.IDs{Request: narrow, Reply: narrow}, InFlight: 512},
		{IDs: tokenIDs, Socket: mux.SocketOptions{SendBytes: -1}},
	} {
		if _, err := m.Client(o); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%+v: %v, want EINVAL", o, err)
		}
	}
	if _, err := m.Client(mux.ClientOptions{IDs: strparser.IDs{Request: narrow, Reply: narrow}, InFlight: 256}); err != nil {
		t.Errorf("as many calls as there are numbers: %v", err)
	}
}

// A format that knows its numbers needs no IDs, and numbers that are the server's are not
// used. The server answers in random order.
func TestCallsOfCassandra(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		var held []*sgmsg.Message
		rng := rand.New(rand.NewPCG(1, 2))
		o := mux.Options{Format: formats.CQL, Loops: 1, Ring: ring.Options{Backend: b}}
		_, addr := server(t, o, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
			if id, _ := formats.CQLIDs.Request.Get(msg); id > 1<<15-1 {
				t.Errorf("stream %d is the server's", int16(id))
			}
			if held = append(held, msg.Take()); len(held) == 8 {
				rng.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
				for _, msg := range held {
					from.Send(msg)
				}
				held = held[:0]
			}
			return mux.Done
		})
		m := newMux(t, o, nil)
		cl, err := m.Client(mux.ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stand(t, newPool(t, m, quick(1, addr)), 1)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				var c mux.Call
				for j := range 100 {
					frame := []byte{4, 0, 0, 0, 7, 0, 0, 0, 2, byte(i), byte(j)}
					if err := c.Request.AppendCopy(m.Loops()[0], frame, 0); err != nil {
						t.Error(err)
					}
					if err := cl.Do(t.Context(), &c); err != nil {
						t.Error(err)
						return
					}
					var body [2]byte
					if c.Reply.CopyTo(body[:], 9); body != [2]byte{byte(i), byte(j)} {
						t.Errorf("call %d of %d got a reply with %d", j, i, body)
					}
					c.Reply.Release()
				}
			})
		}
		wg.Wait()
	})
}

// Messages that answer no call may go to the Mux's sockets, and those of the client get
// none of them.
func TestPushedMessagesGoToSockets(t *testing.T) {
	for name, policy := range map[string]mux.Policy{"Idle": mux.Idle, "FIFO": mux.FIFO} {
		t.Run(name, func(t *testing.T) {
			_, addr := server(t, mux.Options{Loops: 1}, func(from *mux.Psock, msg *sgmsg.Message) mux.Verdict {
				for range 10 {
					if err := from.SendPayload([]byte("new")); err != nil { // no room for a number
						t.Error(err)
					}
				}
				from.Send(msg)
				return mux.Done
			})
			m := newMux(t, mux.Options{Loops: 1, Policy: policy}, nil)
			cl, err := m.Client(mux.ClientOptions{IDs: tokenIDs, Push: func(*mux.Psock, *sgmsg.Message) mux.Verdict { return mux.Pass }})
			if err != nil {
				t.Fatal(err)
			}
			stand(t, newPool(t, m, quick(1, addr)), 1)
			s, err := m.Socket()
			if err != nil {
				t.Fatal(err)
			}
			var c mux.Call
			for i := range 20 {
				setToken(t, m, &c.Request, uint64(i))
				if err := cl.Do(t.Context(), &c); err != nil {
					t.Fatal(err)
				}
				c.Reply.Release()
			}
			for range 200 {
				r, err := s.Recv(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				r.Done()
			}
		})
	}
}

// A request that is not one message would put the connection, which others share, out of
// step.
func TestRequestsThatAreNoMessagesAreRefused(t *testing.T) {
	m := newMux(t, mux.Options{Loops: 1, MaxMessage: 100}, nil)
	cl, err := m.Client(mux.ClientOptions{IDs: tokenIDs})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		request []byte
		want    error
	}{
		{nil, syscall.EINVAL},
		{[]byte{0, 0, 0}, syscall.EINVAL},
		{append(frame(make([]byte, 20)), 0), syscall.EINVAL},
		{frame(make([]byte, 20))[:20], syscall.EINVAL},
		{frame(make([]byte, 200)), syscall.EMSGSIZE},
	} {
		var c mux.Call
		if err := c.Request.AppendCopy(m.Loops()[0], bad.request, 0); err != nil {
			t.Fatal(err)
		}
		if err := cl.Do(t.Context(), &c); !errors.Is(err, bad.want) || c.Request.Len() != len(bad.request) {
			t.Errorf("%x: %v, the request has %d bytes", bad.request, err, c.Request.Len())
		}
		c.Request.Release()
	}
	if n := m.Stats().Unsent; n != 0 {
		t.Errorf("%d messages were queued", n)
	}
	var c mux.Call
	if err := cl.Frame(&c, []byte("a payload")); err != nil || string(c.Request.AppendTo(nil)) != string(frame([]byte("a payload"))) {
		t.Errorf("framed %q, %v", c.Request.AppendTo(nil), err)
	}
	c.Request.Release()
	if err := cl.Frame(&c, make([]byte, 200)); !errors.Is(err, syscall.EMSGSIZE) {
		t.Errorf("a payload that is too long: %v", err)
	}
}

func TestFlagsHaveNames(t *testing.T) {
	for f, want := range map[mux.Flags]string{0: "", mux.More: "more", mux.EOR | mux.Trunc: "eor|trunc", mux.Peek | 1<<9: "peek|0x200"} {
		if got := f.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
