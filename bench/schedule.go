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
//   - A Profile stretches and squeezes time: what either of them has due when k
//     messages are is due when the Profile has sent k.
//   - Replay: message k is due at the k-th of the given times.
//
// With a Batch the same is true of batches in place of messages.
type Schedule struct {
	// At is when the next message is due, nanoseconds from the start, Conn which
	// of the thread's connections sends it. There are no more if At is beyond the end
	// of the run.
	At   int64
	Conn int

	w       *Workload
	conns   int // of this thread
	thread  int
	threads int
	rest    int     // messages of the batch behind the next one
	gap     float64 // mean nanoseconds between batches: of all threads if fixed, of this one else
	rng     *rand.Rand
	cycle   int64
	at      float64 // Poisson: exact time of the next batch at an even rate
}

// NewSchedule returns the schedule of a thread, 0 <= thread < threads <= Conns, of
// an open loop.
func NewSchedule(w *Workload, thread, threads int) *Schedule {
	s := &Schedule{w: w, conns: w.connsOf(thread, threads), thread: thread, threads: threads}
	s.gap = 1e9 / w.Rate * float64(w.batch())
	if w.Arrival == Poisson {
		s.rng = rand.New(rand.NewPCG(w.Seed, uint64(thread)))
		s.gap *= float64(w.Conns) / float64(s.conns)
	}
	s.set()
	return s
}

// Next goes on to the next message.
func (s *Schedule) Next() {
	if s.rest > 0 {
		s.rest--
		return
	}
	s.Conn++
	if s.Conn == s.conns {
		s.Conn = 0
		s.cycle++
	}
	s.set()
}

func (s *Schedule) set() {
	s.rest = s.w.batch() - 1
	if s.rng != nil {
		s.at += s.rng.ExpFloat64() * s.gap
		s.At = s.when(int64(s.at), s.at)
		return
	}
	k := s.cycle*int64(s.w.Conns) + int64(s.thread+s.Conn*s.threads)
	if s.w.Replay != nil {
		s.At = far
		if k < int64(len(s.w.Replay.List)) {
			s.At = s.w.Replay.List[k]
		}
		return
	}
	at := float64(k) * s.gap
	s.At = s.when(int64(math.Round(at)), at)
}

// when returns the time of a message that is due at a time at an even rate.
func (s *Schedule) when(even int64, at float64) int64 {
	if s.w.Profile.Shape == Steady {
		return even
	}
	return int64(math.Round(s.w.when(at * s.w.Rate / 1e9)))
}
