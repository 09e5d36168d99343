package bench

import (
	"math"
	"math/rand/v2"
)

// Schedule yields the intended times of one thread's messages, in order, with the
// connection of each. It does not look at a clock, so a message that is sent late
// does not move the ones behind it.
//
// The schedule is global and goes round the connections: message k belongs to
// connection k modulo Conns, and a thread has the messages of its connections.
//
//   - Fixed: message k is due k/Rate after the start, whatever the number of
//     threads; every time is computed from k, so no error adds up.
//   - Poisson: each thread draws its own arrivals at its share of the rate, from a
//     generator seeded by Seed and the thread's number. The union is a Poisson
//     process of the whole rate; the assignment to connections goes round each
//     thread's own.
type Schedule struct {
	// At is when the next message is due, nanoseconds from the start, Conn which
	// of the thread's connections sends it.
	At   int64
	Conn int

	conns   int // of this thread
	thread  int
	threads int
	all     int     // connections of all threads
	gap     float64 // mean nanoseconds between messages: of all threads if fixed, of this one else
	rng     *rand.Rand
	cycle   int64
	at      float64 // Poisson: exact time of the next message
}

// NewSchedule returns the schedule of a thread, 0 <= thread < threads <= Conns, of
// an open loop.
func NewSchedule(w *Workload, thread, threads int) *Schedule {
	s := &Schedule{conns: w.connsOf(thread, threads), thread: thread, threads: threads, all: w.Conns, gap: 1e9 / w.Rate}
	if w.Arrival == Poisson {
		s.rng = rand.New(rand.NewPCG(w.Seed, uint64(thread)))
		s.gap *= float64(w.Conns) / float64(s.conns)
	}
	s.set()
	return s
}

// Next goes on to the next message.
func (s *Schedule) Next() {
	s.Conn++
	if s.Conn == s.conns {
		s.Conn = 0
		s.cycle++
	}
	s.set()
}

func (s *Schedule) set() {
	if s.rng != nil {
		s.at += s.rng.ExpFloat64() * s.gap
		s.At = int64(s.at)
		return
	}
	k := s.cycle*int64(s.all) + int64(s.thread+s.Conn*s.threads)
	s.At = int64(math.Round(float64(k) * s.gap))
}
