package bench

import (
	"fmt"
	"strconv"
	"time"
)

// Job is a message as a queue sees it.
type Job struct {
	Arrival time.Duration // from some start
	Service time.Duration // the work it is, of one worker
	Class   int           // index of a class
}

// Discipline is how jobs share workers.
type Discipline uint8

const (
	// FCFS is first come, first served: one queue, and a worker that is free takes the
	// oldest job and finishes it.
	FCFS Discipline = iota
	// PS is processor sharing: of n jobs each gets the share min(1, workers/n) of a
	// worker, all the time.
	PS
)

func (d Discipline) String() string {
	if d > PS {
		return "discipline " + strconv.Itoa(int(d))
	}
	return [...]string{"fcfs", "ps"}[d]
}

// ParseDiscipline is the inverse of String.
func ParseDiscipline(s string) (Discipline, error) {
	for d := FCFS; d <= PS; d++ {
		if s == d.String() {
			return d, nil
		}
	}
	return 0, fmt.Errorf("want fcfs or ps")
}

// MaxWorkers is the most workers that make sense to ask for.
const MaxWorkers = 1 << 20

// Ideal returns how long each job would take from its arrival to its end if nothing
// but the work took time: the queue G/G/workers. The waiting time under FCFS is that
// less the job's Service. Jobs are in order of arrival, none has negative times, and
// there is at least one worker; anything else is the caller's mistake and panics.
//
// It goes from event to event, in O(n log n), and is exact: to the nanosecond for
// FCFS, but for rounding for PS.
func Ideal(jobs []Job, workers int, d Discipline) []time.Duration {
	if workers < 1 || d > PS {
		panic(fmt.Sprintf("bench: %v with %d workers", d, workers))
	}
	for i, j := range jobs {
		if j.Arrival < 0 || j.Service < 0 || i > 0 && j.Arrival < jobs[i-1].Arrival {
			panic(fmt.Sprintf("bench: job %d, %+v, is before the one in front of it or negative", i, j))
		}
	}
	if d == PS {
		return shared(jobs, workers)
	}
	return inTurn(jobs, workers)
}

// event is something that happens at a time.
type event[T time.Duration | float64] struct {
	at  T
	job int
}

// events is a binary heap, the earliest first; of equal times the job with the lower
// number.
type events[T time.Duration | float64] []event[T]

func (h events[T]) before(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].job < h[j].job
}

func (h *events[T]) push(e event[T]) {
	*h = append(*h, e)
	s := *h
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s.before(i, parent) {
			return
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
}

func (h *events[T]) pop() event[T] {
	s := *h
	first, last := s[0], len(s)-1
	s[0] = s[last]
	s = s[:last]
	*h = s
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if s.before(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}

// inTurn is FCFS: the next job begins when it arrives, or when the first of the
// workers is free.
func inTurn(jobs []Job, workers int) []time.Duration {
	sojourn := make([]time.Duration, len(jobs))
	busy := make(events[time.Duration], 0, min(workers, len(jobs))) // ends of the last jobs
	for i, j := range jobs {
		begin := j.Arrival
		if len(busy) == workers {
			begin = max(begin, busy.pop().at)
		}
		end := begin + j.Service
		busy.push(event[time.Duration]{end, i})
		sojourn[i] = end - j.Arrival
	}
	return sojourn
}

// shared is PS. Every job in the system has got the same share since it came, so all
// that is needed is one clock of it: work is how much a job would have got that has
// been there all the time. A job that finds the clock at w ends when it shows
// w + Service; who ends next never changes but by arrivals.
func shared(jobs []Job, workers int) []time.Duration {
	sojourn := make([]time.Duration, len(jobs))
	var in events[float64] // ends of the jobs in the system, on the clock of work
	var now, work float64  // nanoseconds
	for next := 0; next < len(jobs) || len(in) > 0; {
		if len(in) == 0 { // begin anew, which keeps rounding small
			now, work = float64(jobs[next].Arrival), 0
		}
		rate := min(1, float64(workers)/float64(len(in))) // no job: 1
		if len(in) > 0 {
			end := now + max(0, in[0].at-work)/rate
			if next == len(jobs) || end <= float64(jobs[next].Arrival) {
				e := in.pop()
				now, work = end, e.at
				sojourn[e.job] = time.Duration(end - float64(jobs[e.job].Arrival) + 0.5)
				continue
			}
		}
		at := float64(jobs[next].Arrival)
		work += (at - now) * rate
		now = at
		in.push(event[float64]{work + float64(jobs[next].Service), next})
		next++
	}
	return sojourn
}
