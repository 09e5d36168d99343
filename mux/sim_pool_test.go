//go:build linux

package mux

import (
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/strparser"
)

// poolWorld is a pool on simulated loops, and servers that come and go.
type poolWorld struct {
	t       *testing.T
	sim     *ringtest.Sim
	m       *Mux
	pool    *Pool
	loops   []*ring.Loop
	far     *ring.Loop // the servers'
	servers map[string]*ring.Listener
	theirs  *Mux
	turns   []func()
	opened  int
	closed  int
}

func newPoolWorld(t *testing.T, s *ringtest.Sim, loops int) *poolWorld {
	w := &poolWorld{t: t, sim: s, servers: map[string]*ring.Listener{}}
	open := func() *ring.Loop {
		l, err := ring.NewWith(s.Open, simRing())
		if err != nil {
			t.Fatal(err)
		}
		w.turns = append(w.turns, func() { l.Turn() })
		return l
	}
	w.far = open()
	for range loops {
		w.loops = append(w.loops, open())
	}
	var err error
	w.m, err = New(Options{
		Format: strparser.Length32, MaxMessage: 32 << 10, On: w.loops,
		OnOpen:  func(*Psock) { w.opened++ },
		OnClose: func(*Psock, error) { w.closed++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.theirs, err = New(Options{Format: strparser.Length32, MaxMessage: 32 << 10, On: []*ring.Loop{w.far}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// serve starts a server that takes connections.
func (w *poolWorld) serve(name string) {
	w.t.Helper()
	fd, err := w.sim.Listen(name)
	if err != nil {
		w.t.Fatal(err)
	}
	ln, err := w.far.Listen(fd, func(fd int) {
		if _, err := w.theirs.adopt(w.theirs.shards[0], fd, 0); err != nil {
			w.far.Discard(fd)
		}
	}, func(error) { delete(w.servers, name) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.servers[name] = ln
}

// stop ends the server: soon nobody listens any more. Its connections stay.
func (w *poolWorld) stop(name string) { w.servers[name].Close() }

// hangUp ends all connections from the servers' side: in an orderly way, or with a reset.
func (w *poolWorld) hangUp(cause error) {
	for _, p := range w.theirs.shards[0].psocks {
		p.leave(cause, cause == nil)
	}
}

func (w *poolWorld) start(o PoolOptions) {
	w.t.Helper()
	o.random = w.sim.Rand().Int64N
	var err error
	if w.pool, err = w.m.Pool(o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *poolWorld) until(what string, cond func() bool) {
	w.t.Helper()
	if err := w.sim.Run(cond, w.turns...); err != nil {
		w.t.Fatalf("%s: %v; %s", what, err, w.health())
	}
}

func (w *poolWorld) health() (s string) {
	for i, h := range w.pool.Health() {
		s += fmt.Sprintf("%d: %+v\n", i, h)
	}
	return s
}

func (w *poolWorld) up() (n int) {
	for _, h := range w.pool.Health() {
		if h.State == ConnUp {
			n++
		}
	}
	return n
}

// finish closes the pool, and everything comes back.
func (w *poolWorld) finish() {
	w.t.Helper()
	if err := w.pool.Close(); err != nil {
		w.t.Error(err)
	}
	w.until("all connections have ended", func() bool {
		for _, h := range w.pool.Health() {
			if h.State != ConnEnded || h.Psock != nil {
				return false
			}
		}
		return w.m.Psocks() == 0
	})
	if w.opened != w.closed {
		w.t.Errorf("OnOpen was called %d times, OnClose %d times", w.opened, w.closed)
	}
	for _, m := range []*Mux{w.m, w.theirs} {
		if err := m.Close(); err != nil {
			w.t.Error(err)
		}
	}
	for _, l := range append(w.loops, w.far) {
		if err := l.Close(); err != nil {
			w.t.Error(err)
		}
		if st := l.Stats(); st.BuffersFree != st.Buffers || st.SpillUsed != 0 || st.Streams != 0 {
			w.t.Errorf("%d of %d buffers free, private memory %d bytes in use, %d streams", st.BuffersFree, st.Buffers, st.SpillUsed, st.Streams)
		}
	}
}

// calmly runs a test once, on a network where nothing is late.
func calmly(t *testing.T, loops int, fn func(w *poolWorld)) {
	ringtest.Seeds(t, 1, ringtest.Calm(), func(t *testing.T, s *ringtest.Sim) { fn(newPoolWorld(t, s, loops)) })
}

// While nobody listens attempts are made again after delays that double, with a random
// part; then a connection stands, and its end begins a new row.
func TestPoolTriesAgainAfterDelaysThatGrow(t *testing.T) {
	const d = 50 * time.Millisecond
	calmly(t, 1, func(w *poolWorld) {
		w.start(PoolOptions{Addresses: []string{"10.0.0.1:80"}, RetryMin: d, RetryMax: 8 * d})
		for i, want := range []time.Duration{d, 2 * d, 4 * d, 8 * d, 8 * d} {
			w.until("an attempt fails", func() bool { return w.pool.Health()[0].State == ConnWaiting })
			failed, h := w.sim.Now(), w.pool.Health()[0]
			if h.Failures != i+1 || !errors.Is(h.Cause, syscall.ECONNREFUSED) || h.RetryIn < want/2 || h.RetryIn > want || h.Psock != nil {
				w.t.Errorf("failure %d: %+v", i+1, h)
			}
			w.until("the next begins", func() bool { return w.pool.Health()[0].State == ConnDialling })
			if took := w.sim.Now() - failed; took < h.RetryIn || took > h.RetryIn+2*time.Millisecond {
				w.t.Errorf("failure %d: the next attempt after %v, announced were %v", i+1, took, h.RetryIn)
			}
		}
		w.serve("10.0.0.1:80")
		w.until("a connection stands", func() bool { return w.up() == 1 })
		stood := w.sim.Now()
		if h := w.pool.Health()[0]; h.Psock == nil || h.Failures < 5 || h.Cause == nil {
			w.t.Errorf("up: %+v", h)
		}
		w.sim.After(9*d, func() {})
		w.until("it stands for a while", func() bool { return w.sim.Now() >= stood+9*d })
		if h := w.pool.Health()[0]; h.Failures != 0 || h.For < 8*d || h.Address != "10.0.0.1:80" {
			w.t.Errorf("up for %v: %+v", w.sim.Now()-stood, h)
		}
		w.hangUp(nil)
		w.until("it ends", func() bool { return w.pool.Health()[0].State == ConnWaiting })
		if h := w.pool.Health()[0]; h.Failures != 1 || h.Cause != io.EOF || h.RetryIn > d {
			w.t.Errorf("after the end: %+v", h)
		}
		w.until("it stands again", func() bool { return w.up() == 1 })
		w.finish()
	})
}

// A server that accepts and hangs up at once is asked ever less often.
func TestPoolDoesNotHammerAServerThatHangsUp(t *testing.T) {
	const d = 50 * time.Millisecond
	calmly(t, 1, func(w *poolWorld) {
		w.serve("10.0.0.1:80")
		w.start(PoolOptions{Addresses: []string{"10.0.0.1:80"}, RetryMin: d, RetryMax: 8 * d})
		var delays []time.Duration
		for range 4 {
			w.until("a connection stands", func() bool { return w.up() == 1 && w.theirs.Psocks() == 1 })
			w.hangUp(nil)
			w.until("it ends", func() bool { return w.pool.Health()[0].State == ConnWaiting })
			delays = append(delays, w.pool.Health()[0].RetryIn)
		}
		for i, got := range delays {
			if want := d << i; got < want/2 || got > want {
				w.t.Errorf("delays %v: number %d is not within %v and %v", delays, i, want/2, want)
			}
		}
		w.finish()
	})
}

// An attempt whose answer does not come is given up in time, and says so.
func TestPoolGivesAnAttemptUpInTime(t *testing.T) {
	o := ringtest.Calm()
	o.Delay = 10 * time.Hour
	o.Odds[ringtest.SlowConnect] = 1
	ringtest.Seeds(t, 5, o, func(t *testing.T, s *ringtest.Sim) {
		w := newPoolWorld(t, s, 1)
		w.serve("10.0.0.1:80")
		w.start(PoolOptions{Addresses: []string{"10.0.0.1:80"}, DialTimeout: 3 * time.Second})
		begun := s.Now()
		w.until("the attempt fails", func() bool { return w.pool.Health()[0].State == ConnWaiting })
		h := w.pool.Health()[0]
		if took := s.Now() - begun; !errors.Is(h.Cause, syscall.ETIMEDOUT) || took < 3*time.Second || took > 3*time.Second+10*time.Millisecond {
			t.Errorf("after %v: %v", took, h.Cause)
		}
		if w.opened != 0 || w.closed != 0 {
			t.Errorf("a connection that never stood was told of: %d, %d", w.opened, w.closed)
		}
		w.finish()
	})
}

// Connections are spread over servers and loops by turns. Those of a server that is gone
// go to the others, and those that are there stay.
func TestPoolSpreadsConnections(t *testing.T) {
	calmly(t, 2, func(w *poolWorld) {
		names := []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}
		for _, name := range names {
			w.serve(name)
		}
		w.start(PoolOptions{Addresses: names, Conns: 6})
		w.until("all stand", func() bool { return w.up() == 6 })
		at := func() map[string]int {
			n := map[string]int{}
			for _, h := range w.pool.Health() {
				n[h.Address]++
			}
			return n
		}
		for name, n := range at() {
			if n != 2 {
				w.t.Errorf("%d connections to %s: %v", n, name, at())
			}
		}
		for i, sh := range w.m.shards {
			if n := len(sh.psocks); n != 3 {
				w.t.Errorf("%d connections on loop %d", n, i)
			}
		}
		w.stop(names[1])
		for _, h := range w.pool.Health() {
			if h.Address == names[1] {
				h.Psock.Close()
			}
		}
		w.until("all stand again", func() bool { return w.up() == 6 && at()[names[1]] == 0 })
		if n := at(); n[names[0]] != 2 || n[names[2]] != 4 {
			w.t.Errorf("without the second server: %v", n)
		}
		w.finish()
	})
}

// Close while connections are being made, wait or stand: they end, once.
func TestPoolClosesInAnyState(t *testing.T) {
	ringtest.Seeds(t, 60, ringtest.Calm(), func(t *testing.T, s *ringtest.Sim) {
		w := newPoolWorld(t, s, 2)
		w.serve("10.0.0.1:80")
		w.start(PoolOptions{Addresses: []string{"10.0.0.1:80", "10.0.0.2:80"}, Conns: 5})
		for range s.Seed() {
			s.Step(w.turns...)
		}
		w.finish()
		if h := w.pool.Health(); len(h) != 5 {
			t.Errorf("%d connections", len(h))
		}
		if err := w.pool.Close(); err != nil {
			t.Errorf("closing twice: %v", err)
		}
		if _, err := w.m.Pool(PoolOptions{Addresses: []string{"10.0.0.1:80"}}); !errors.Is(err, ErrClosed) {
			t.Errorf("a pool of a closed Mux: %v", err)
		}
	})
}

// Through storms, with servers that come, go and reset: there are never more connections
// than asked for, no attempt is early, and when it is calm again all stand.
func TestPoolComesBack(t *testing.T) {
	o := ringtest.Storm()
	o.Odds[ringtest.SlowConnect], o.Odds[ringtest.Refuse] = 0.3, 0.3
	ringtest.Seeds(t, *simSeeds/4, o, func(t *testing.T, s *ringtest.Sim) {
		w := newPoolWorld(t, s, 2)
		rng := s.Rand()
		names := []string{"10.0.0.1:80", "10.0.0.2:80"}
		const conns, d = 4, 5 * time.Millisecond
		w.start(PoolOptions{Addresses: names, Conns: conns, RetryMin: d, RetryMax: 4 * d, DialTimeout: 20 * time.Millisecond})
		was := w.pool.Health()
		failed := make([]time.Duration, conns)
		watch := func() {
			if n := w.m.Psocks(); n > conns {
				t.Fatalf("%d connections", n)
			}
			for i, h := range w.pool.Health() {
				if h.State == was[i].State {
					continue
				}
				switch h.State {
				case ConnWaiting:
					failed[i] = s.Now()
					if h.Cause == nil || h.RetryIn > 4*d {
						t.Fatalf("connection %d waits: %+v", i, h)
					}
				case ConnDialling:
					if was[i].State == ConnWaiting && s.Now() < failed[i]+was[i].RetryIn {
						t.Fatalf("connection %d: an attempt %v after a failure, announced were %v", i, s.Now()-failed[i], was[i].RetryIn)
					}
				}
				was[i] = h
			}
		}
		stormy := true
		var weather func()
		weather = func() {
			if !stormy {
				return
			}
			switch name := names[rng.IntN(2)]; {
			case rng.IntN(3) == 0:
				w.hangUp([]error{nil, syscall.ECONNABORTED}[rng.IntN(2)])
			case w.servers[name] == nil:
				w.serve(name)
			default:
				w.stop(name)
			}
			s.After(time.Duration(1+rng.IntN(10))*time.Millisecond, weather)
		}
		s.After(0, weather)
		s.After(250*time.Millisecond, func() {}) // time goes on
		end := 200 * time.Millisecond
		w.until("the storm", func() bool { watch(); return s.Now() >= end })
		stormy = false
		w.until("the servers that were stopped are gone", func() bool { watch(); return s.Now() >= end+50*time.Millisecond })
		for _, name := range names {
			if w.servers[name] == nil {
				w.serve(name)
			}
		}
		// Attempts are still refused and reset, so all stand at some moment.
		w.until("all stand", func() bool { watch(); return w.up() == conns })
		w.finish()
	})
}
