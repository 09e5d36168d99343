//go:build linux

package ring

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

func TestPostsRunInOrder(t *testing.T) {
	b := newBed(t, small())
	var ran []int
	for i := range 5 {
		if !b.l.Post(func() { ran = append(ran, i) }) {
			t.Fatal("Post is refused")
		}
	}
	b.l.Post(func() { b.l.Post(func() { ran = append(ran, 99) }) })
	b.turn()
	if want := []int{0, 1, 2, 3, 4}; !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
	b.turn()
	if ran[len(ran)-1] != 99 {
		t.Error("what a task posts does not run in the next turn")
	}
}

// Many posters against a loop that sleeps whenever it can: no task is lost, and
// those of one poster run in order.
func TestNoWakeUpIsLost(t *testing.T) {
	for _, spin := range []time.Duration{0, 5 * time.Microsecond} {
		each(t, func(t *testing.T, be Backend) {
			o := small()
			o.Backend, o.Spin = be, spin
			l := start(t, o)
			const posters, posts = 8, 300
			var last [posters]int
			var wg sync.WaitGroup
			for p := range posters {
				wg.Go(func() {
					for i := range posts {
						done := make(chan struct{})
						if !l.Post(func() {
							if last[p]++; last[p] != i+1 {
								t.Errorf("poster %d: task %d ran as number %d", p, i, last[p]-1)
							}
							close(done)
						}) {
							t.Error("Post is refused")
						}
						if i%4 == p%4 { // now and then the loop has nothing left to do
							select {
							case <-done:
							case <-time.After(patience):
								t.Errorf("poster %d: task %d never ran", p, i)
								return
							}
						}
					}
				})
			}
			wg.Wait()
			do(t, l, func() {
				for p, n := range last {
					if n != posts {
						t.Errorf("poster %d: %d of %d tasks ran", p, n, posts)
					}
				}
			})
		})
	}
}

func TestDo(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		ran := false
		do(t, l, func() {
			ran = l.OnThread()
			if err := l.Do(func() { t.Error("Do on the loop's thread ran its function") }); !errors.Is(err, ErrDeadlock) {
				t.Errorf("Do on the loop's thread: %v, want EDEADLK", err)
			}
			if st := l.Stats(); st.Turns == 0 {
				t.Error("Stats on the loop's thread are empty")
			}
		})
		if !ran || l.OnThread() {
			t.Errorf("on the thread inside Do: %v, outside: %v", ran, l.OnThread())
		}
	})
}

func TestAfterClose(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		select {
		case <-l.Done():
			t.Fatal("Done is closed")
		default:
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		<-l.Done()
		if l.Err() != nil {
			t.Errorf("Err: %v", l.Err())
		}
		if l.Post(func() { t.Error("a task ran after Close") }) {
			t.Error("Post is accepted")
		}
		if err := l.Do(func() {}); !errors.Is(err, ErrClosed) {
			t.Errorf("Do: %v, want ErrClosed", err)
		}
		l.Wake() // harmless
		if err := l.Close(); err != nil {
			t.Errorf("the second Close: %v", err)
		}
		if l.Stats().Turns == 0 || l.Backend() == "" {
			t.Error("the last figures are gone")
		}
	})
}

func TestCloseFromManyGoroutines(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		o := small()
		o.Backend = be
		l := start(t, o)
		r := &rec{t: t}
		attach(t, l, r)
		var wg sync.WaitGroup
		var ran, refused atomic.Int64
		for range 4 {
			wg.Go(func() {
				for l.Post(func() { ran.Add(1) }) {
				}
				refused.Add(1)
			})
			wg.Go(func() { // figures may be asked for at any time
				for {
					l.Stats()
					select {
					case <-l.Done():
						return
					default:
					}
				}
			})
		}
		wait(t, "the loop is busy", func() bool { return ran.Load() > 100 })
		for range 3 {
			wg.Go(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				if r.closes != 1 || !errors.Is(r.cause, ErrClosed) {
					t.Errorf("Closed %d times, with %v", r.closes, r.cause)
				}
			})
		}
		wg.Wait()
		if refused.Load() != 4 {
			t.Errorf("%d posters were refused", refused.Load())
		}
	})
}

func TestCloseOnTheLoopsThread(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		do(t, l, func() {
			if err := l.Close(); !errors.Is(err, ErrDeadlock) {
				t.Errorf("Close on the loop's thread: %v, want EDEADLK", err)
			}
		})
		select {
		case <-l.Done():
		case <-time.After(patience):
			t.Fatal("the closing was not started")
		}
	})
}

// A task that comes with the end of the loop may still ask the loop for anything.
func TestTaskThatRacesWithTheEnd(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		ran := false
		do(t, l, func() {
			l.Close()
			l.Post(func() {
				l.Post(func() { // taken when the loop has no endpoint any more
					ran = true
					if err := l.Close(); !errors.Is(err, ErrDeadlock) {
						t.Errorf("Close: %v, want EDEADLK", err)
					}
					if err := l.Do(func() {}); !errors.Is(err, ErrDeadlock) {
						t.Errorf("Do: %v, want EDEADLK", err)
					}
					if _, err := l.Attach(0, nil); !errors.Is(err, ErrClosed) {
						t.Errorf("Attach: %v, want ErrClosed", err)
					}
					l.Stats()
				})
			})
		})
		select {
		case <-l.Done():
		case <-time.After(patience):
			t.Fatal("the loop hangs")
		}
		if !ran {
			t.Error("the task did not run")
		}
	})
}

func TestCloseOfALoopThatWasNeverStarted(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		descriptors(t)
		o := small()
		o.Backend = be
		l, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ran := false
		l.Post(func() { ran = true; l.Stats() })
		closed := make(chan error)
		go func() { closed <- l.Close() }()
		select {
		case err := <-closed:
			if err != nil || !ran {
				t.Errorf("Close: %v, the posted task ran: %v", err, ran)
			}
		case <-time.After(patience):
			t.Fatal("Close hangs")
		}
		<-l.Done()
		if err := l.Start(); !errors.Is(err, ErrClosed) {
			t.Errorf("Start after Close: %v, want ErrClosed", err)
		}
		l.Stats()
	})
}

func TestStartThatFails(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		descriptors(t)
		o := small()
		o.Backend, o.Pin, o.CPU = be, true, 1<<15
		l, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Start(); err == nil {
			t.Error("a loop is pinned to a CPU that is not there")
		}
		if l.Post(func() {}) {
			t.Error("Post is accepted")
		}
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestManualLoopClosesTwice(t *testing.T) {
	b := newBed(t, small())
	r, _ := b.pair()
	b.close()
	if err := b.l.Close(); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	if r.closes != 1 || !errors.Is(r.cause, ErrClosed) {
		t.Errorf("Closed %d times, with %v", r.closes, r.cause)
	}
}

// Handlers that run while the loop ends cannot add to it.
func TestCloseWithHandlersThatGoOn(t *testing.T) {
	b := newBed(t, small())
	for range 3 {
		r, _ := b.pair()
		r.onClosed = func(s *Stream) {
			if _, err := b.l.Dial(simTo(simAddr), r); !errors.Is(err, ErrClosed) {
				t.Errorf("Dial: %v, want ErrClosed", err)
			}
			s.Kick()
			s.Close(nil)
			s.Drain(nil)
		}
	}
	b.close()
}

func TestEachTurn(t *testing.T) {
	b := newBed(t, small())
	r, peer := b.pair()
	ends, seen := 0, -1
	b.l.EachTurn(func() bool {
		if ends++; r.readies > 0 && seen < 0 {
			seen = ends
		}
		return true
	})
	calls := 0
	b.l.EachTurn(func() bool { calls++; return calls < 3 })
	peer.Write([]byte("x"))
	b.until("the byte has come", func() bool { return r.readies == 1 })
	st := b.l.Stats()
	if uint64(ends) != st.Turns || seen != ends {
		t.Errorf("called %d times in %d turns, after the delivery in %d", ends, st.Turns, seen)
	}
	for range 5 {
		b.turn()
	}
	if calls != 3 {
		t.Errorf("called %d times, the last time it wanted no more was the third", calls)
	}
}

// A turn handles TurnBytes and comes to the others later, without sleeping.
func TestTurnBytes(t *testing.T) {
	o := small()
	o.TurnBytes = 1000
	b := newBed(t, o)
	var all []*rec
	for range 5 {
		r, peer := b.pair()
		peer.Write(make([]byte, 1000))
		all = append(all, r)
	}
	b.sim.Settle()
	for i := range 5 {
		b.turn()
		n := 0
		for _, r := range all {
			n += r.readies
		}
		if n != i+1 {
			t.Fatalf("%d streams were served in %d turns", n, i+1)
		}
	}
	if b.l.Now() != b.sim.Now() {
		t.Error("the loop's clock is not the back end's")
	}
}

// The alarm wakes a sleeping loop within the wheel's resolution, again and again.
func TestAlarmRings(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		const n = 5
		var late time.Duration
		rang := make(chan struct{})
		do(t, l, func() {
			count, at := 0, l.Now()+300*time.Microsecond
			l.Alarm(at)
			l.EachTurn(func() bool {
				now := l.Now()
				if now < at {
					return true
				}
				late = max(late, now-at)
				if count++; count == n {
					l.Alarm(0)
					close(rang)
					return false
				}
				at = now + 300*time.Microsecond
				l.Alarm(at)
				return true
			})
		})
		select {
		case <-rang:
		case <-time.After(patience):
			t.Fatal("the alarm does not ring")
		}
		asleep(t, l) // taken back, it lets the loop sleep
		t.Logf("at most %v late", late)
	})
}

// On the virtual clock the alarm brings a turn at its very moment.
func TestAlarmOnTime(t *testing.T) {
	b := newBed(t, small())
	var turns []time.Duration
	b.l.EachTurn(func() bool { turns = append(turns, b.l.Now()); return true })
	b.l.Alarm(1234567)
	b.until("it rings", func() bool { return b.l.Now() >= 1234567 })
	if b.l.Now() != 1234567 {
		t.Errorf("the turn came at %v, want 1.234567ms", b.l.Now())
	}
	b.l.Alarm(0)
	b.quiet()
}

type stopwatch struct {
	l       *Loop
	started time.Duration
	d       time.Duration
	fired   chan time.Duration
}

func (w *stopwatch) Expire(*Timer) { w.fired <- w.l.Now() - w.started }

func TestTimersAreNotEarly(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		var timers [4]Timer
		watches := make([]*stopwatch, len(timers))
		do(t, l, func() {
			for i := range timers {
				w := &stopwatch{l: l, started: l.Now(), d: time.Duration(i*1700) * time.Microsecond, fired: make(chan time.Duration, 2)}
				watches[i] = w
				l.StartTimer(&timers[i], w.d, w)
			}
		})
		for i, w := range watches {
			select {
			case d := <-w.fired:
				if d < w.d {
					t.Errorf("timer %d of %v fired after %v", i, w.d, d)
				}
			case <-time.After(patience):
				t.Fatalf("timer %d never fired", i)
			}
		}
		do(t, l, func() {
			l.StartTimer(&timers[0], time.Hour, watches[0])
			if !l.StopTimer(&timers[0]) || l.StopTimer(&timers[0]) {
				t.Error("StopTimer does not say whether the timer was armed")
			}
		})
	})
}

func TestSpinner(t *testing.T) {
	const limit = 40 * time.Microsecond
	s := spinner{limit: limit, budget: limit}
	for range 20 {
		s.miss()
	}
	if s.budget != time.Microsecond {
		t.Errorf("after misses the budget is %v, want 1µs", s.budget)
	}
	for i := 0; s.budget < limit; i++ {
		before := s.budget
		if s.hit(); s.budget <= before || i > 20 {
			t.Fatalf("a hit leaves the budget at %v", s.budget)
		}
	}
	s.hit()
	if s.budget != limit {
		t.Errorf("the budget is %v, above its limit", s.budget)
	}
	for i := 1; ; i++ {
		s.miss()
		if i > 5 && s.budget == limit {
			if i != spinRetry {
				t.Errorf("a full try after %d misses, want %d", i, spinRetry)
			}
			break
		}
		if i > spinRetry {
			t.Fatal("no full try")
		}
	}
	short := spinner{limit: 100, budget: 100}
	short.miss()
	if short.budget > 100 {
		t.Errorf("the budget is %v, above its limit", short.budget)
	}
}

// A loop that spins finds what comes meanwhile, and says so.
func TestSpin(t *testing.T) {
	o := small()
	o.Spin = 200 * time.Microsecond
	b := newBed(t, o)
	r, peer := b.pair()
	b.l.Turn() // the budget is spent, the loop would sleep
	if st := b.l.Stats(); st.SpinMisses != 1 || st.SpinHits != 0 {
		t.Fatalf("%d hits and %d misses, want 0 and 1", st.SpinHits, st.SpinMisses)
	}
	peer.Write([]byte("x"))
	for range 3 {
		b.l.Turn()
	}
	if st := b.l.Stats(); st.SpinHits == 0 || r.readies != 1 {
		t.Errorf("%d hits, DataReady %d times", st.SpinHits, r.readies)
	}
}

func TestStats(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		o := small()
		o.Backend = be
		l := start(t, o)
		r := &rec{t: t, keep: true}
		peer := attach(t, l, r)
		peer.Write(make([]byte, 1500))
		waitOn(t, l, "the bytes are there", func() bool { return r.s.Readable() == 1500 })
		st := l.Stats()
		if st.BytesIn != 1500 || st.Opened != 1 || st.Streams != 1 || st.Buffers != 16 || st.BuffersFree > 14 ||
			st.Turns == 0 || st.Waits == 0 || st.Syscalls == 0 || st.Sleeps == 0 || st.Events == 0 {
			t.Errorf("%+v", st)
		}
		if want := map[Backend]string{URing: "io_uring", Epoll: "epoll"}[be]; l.Backend() != want {
			t.Errorf("Backend: %q, want %q", l.Backend(), want)
		}
	})
}

func skipAllocs(t *testing.T) {
	t.Helper()
	if invariants.Enabled || invariants.Race {
		t.Skip("the checks of this build allocate")
	}
}

type echoAll struct{}

func (echoAll) DataReady(s *Stream) bool {
	for e, ok := s.Peek(); ok; e, ok = s.Peek() {
		var m sgmsg.Message
		m.AppendShared(e)
		if s.Send(&m) != nil {
			panic("send")
		}
		s.Consume(int(e.Len))
	}
	return false
}

func (echoAll) Evict(*Stream, *sgmsg.Arena)           {}
func (echoAll) Opened(*Stream)                        {}
func (echoAll) StateChange(*Stream, error)            {}
func (echoAll) Check(*Stream)                         {}
func (echoAll) Expired(*Stream, uint32)               {}
func (echoAll) Closed(*Stream, error, *sgmsg.Message) {}

func TestEchoTurnAllocatesNothing(t *testing.T) {
	skipAllocs(t)
	l, err := NewWith(ringtest.NewInstant(make([]byte, 500)).Open, small())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 4 {
		if _, err := l.Attach(100+i, echoAll{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		l.Turn()
	}
	before := l.Stats().BytesOut
	if n := testing.AllocsPerRun(200, func() { l.Turn() }); n != 0 {
		t.Errorf("%v allocations per turn", n)
	}
	if out := l.Stats().BytesOut - before; out < 100*4*500 {
		t.Errorf("only %d bytes were echoed", out)
	}
}

func TestPostTaskAllocatesNothing(t *testing.T) {
	skipAllocs(t)
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be})
		done := make(chan struct{}, 1)
		task := &Task{Run: func() { done <- struct{}{} }}
		if n := testing.AllocsPerRun(200, func() {
			l.PostTask(task)
			<-done
		}); n != 0 {
			t.Errorf("%v allocations per task", n)
		}
	})
}
