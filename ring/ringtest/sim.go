package ringtest

import (
	"math/rand/v2"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
)

// Sim is a simulated network with its own time and any number of loops. Make
// one with [New].
//
// Everything runs on the caller's goroutine and every choice comes from the
// seed: there is no clock, no goroutine and no map walked in it. So the same
// program on the same seed does the same thing, to the nanosecond and byte. A
// Sim is not safe for concurrent use, except that Wake of a back end may be
// called from anywhere.
//
// Time stands still while programs run. It is moved by Wait, Step, Settle and
// nothing else, to the next moment at which something happens; a Wait that asks
// for no time and finds nothing moves it by 100 ns.
type Sim struct {
	seed uint64
	opt  Options
	rng  *rand.Rand
	hits [NumFaults]int

	now      time.Duration
	timers   timers
	timerSeq uint64

	loops    []*loop
	steps    uint64 // Steps so far
	stepping bool   // inside Step: Wait does not move the time
	idle     bool
	order    []int // of the turns of a Step

	socks   []*socket // by descriptor - firstFD
	lowest  int       // no free descriptor below
	names   map[backend.Addr]*socket
	port    uint16
	opID    uint64
	spareOp []*op

	seq   uint64
	hash  uint64
	lines []record
}

// New returns a network without loops and sockets.
func New(seed uint64, o Options) *Sim {
	s := &Sim{
		seed:  seed,
		opt:   o.withDefaults(),
		rng:   rand.New(rand.NewPCG(seed, 0x6b636d)),
		names: make(map[backend.Addr]*socket),
		port:  32768,
		hash:  seed,
	}
	s.lines = make([]record, s.opt.TraceLines)
	if o.Swarm {
		s.swarm()
	}
	return s
}

// Seed returns the seed.
func (s *Sim) Seed() uint64 { return s.seed }

// Now returns the virtual time since New.
func (s *Sim) Now() time.Duration { return s.now }

// Rand returns the simulator's random numbers, for a test that wants its own
// choices to follow from the seed.
func (s *Sim) Rand() *rand.Rand { return s.rng }

// Open adds a loop to the network and returns its back end. It never fails.
func (s *Sim) Open(cfg backend.Config) (backend.Backend, error) {
	l := &loop{
		sim:     s,
		index:   int16(len(s.loops)),
		pool:    cfg.Pool,
		entries: max(cfg.Entries, 1),
		flight:  make(map[backend.Key]*op),
		wakeAt:  never,
	}
	if cfg.Pool != nil {
		l.given = make([]bool, cfg.Pool.Blocks())
	}
	s.loops = append(s.loops, l)
	return l, nil
}

// Idle reports whether nothing will ever happen again unless the test does
// something: no event is due, nothing is on its way, no timer is set and no
// loop waits for a moment. It is found out by a Wait without limit that has
// nothing to wait for, and by Step.
func (s *Sim) Idle() bool { return s.idle }

// Settle lets time pass until nothing is on its way any more: segments arrive,
// timers fire, delayed events become due. No loop runs.
func (s *Sim) Settle() {
	for len(s.timers) > 0 {
		s.advance(s.timers[0].at)
	}
}

// never is later than any moment.
const never = time.Duration(1<<63 - 1)

// next returns the next moment at which something happens, or never.
func (s *Sim) next() time.Duration {
	t := never
	if len(s.timers) > 0 {
		t = s.timers[0].at
	}
	for _, l := range s.loops {
		if l.wakeAt > s.now {
			t = min(t, l.wakeAt)
		}
	}
	return t
}

// lag is how far time jumps beyond the next moment, normally not at all. As on
// a busy machine, several things then happen before a loop sees the first.
func (s *Sim) lag() time.Duration {
	if s.hit(Lag) {
		return s.delay()
	}
	return 0
}
