package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// transcript runs jobs given as pairs of arrival and service.
func transcript(workers int, d Discipline, pairs ...time.Duration) []time.Duration {
	var jobs []Job
	for i := 0; i < len(pairs); i += 2 {
		jobs = append(jobs, Job{Arrival: pairs[i], Service: pairs[i+1]})
	}
	return Ideal(jobs, workers, d)
}

// Worked out by hand.
func TestIdealTranscripts(t *testing.T) {
	for _, c := range []struct {
		what    string
		workers int
		d       Discipline
		jobs    []time.Duration // arrival, service
		want    []time.Duration
	}{
		{"no jobs", 1, FCFS, nil, []time.Duration{}},
		{"no jobs", 1, PS, nil, []time.Duration{}},
		{"alone, then after a pause", 1, FCFS, []time.Duration{5, 10, 100, 20}, []time.Duration{10, 20}},
		{"alone, then after a pause", 1, PS, []time.Duration{5, 10, 100, 20}, []time.Duration{10, 20}},
		{"behind a long one", 1, FCFS, []time.Duration{0, 100, 10, 1, 20, 1}, []time.Duration{100, 91, 82}},
		// 0-10 alone; two share until the second has got 1, at 12; likewise 20-22; the
		// first had 10 + 1 + 8 + 1 by then and ends alone.
		{"beside a long one", 1, PS, []time.Duration{0, 100, 10, 1, 20, 1}, []time.Duration{102, 2, 2}},
		{"a worker is free", 2, FCFS, []time.Duration{0, 100, 10, 1, 20, 1}, []time.Duration{100, 1, 1}},
		{"a worker is free", 2, PS, []time.Duration{0, 100, 10, 1, 20, 1}, []time.Duration{100, 1, 1}},
		// Workers end at 10 and 20; the third begins at 10, the fourth at 15.
		{"two workers, four at once", 2, FCFS, []time.Duration{0, 10, 0, 20, 0, 5, 0, 4}, []time.Duration{10, 20, 15, 19}},
		// Four share two workers, half each: the 4 ends at 8. Three at 2/3: the 5 has 1
		// to go and ends at 9.5, the 10 then has 5 to go, alone with the 20: at 14.5,
		// and the 20 has 10 to go.
		{"two workers, four at once", 2, PS, []time.Duration{0, 10, 0, 20, 0, 5, 0, 4}, []time.Duration{15, 25, 10, 8}},
		{"more workers than jobs", 9, FCFS, []time.Duration{0, 3, 0, 4}, []time.Duration{3, 4}},
		{"equal jobs end together", 1, PS, []time.Duration{0, 10, 0, 10, 0, 10}, []time.Duration{30, 30, 30}},
		{"no work", 1, FCFS, []time.Duration{0, 10, 5, 0}, []time.Duration{10, 5}},
		{"no work", 1, PS, []time.Duration{0, 10, 5, 0}, []time.Duration{10, 0}},
		// One ends in the moment the next comes.
		{"hand over", 1, FCFS, []time.Duration{0, 10, 10, 10}, []time.Duration{10, 10}},
		{"hand over", 1, PS, []time.Duration{0, 10, 10, 10}, []time.Duration{10, 10}},
	} {
		if got := transcript(c.workers, c.d, c.jobs...); !slices.Equal(got, c.want) {
			t.Errorf("%s, %s, %d workers: %d, want %d", c.what, c.d, c.workers, got, c.want)
		}
	}
}

func TestIdealRefusesNonsense(t *testing.T) {
	for what, call := range map[string]func(){
		"workers":    func() { transcript(0, FCFS, 0, 1) },
		"discipline": func() { transcript(1, PS+1, 0, 1) },
		"order":      func() { transcript(1, FCFS, 5, 1, 4, 1) },
		"arrival":    func() { transcript(1, PS, -1, 1) },
		"service":    func() { transcript(1, PS, 1, -1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", what)
				}
			}()
			call()
		}()
	}
}

// unit is the mean service time of the queues below, long enough that nanoseconds are
// exact.
const unit = 1e6

// poissonJobs returns n jobs of Poisson arrivals that load workers to rho; service
// yields times of mean 1.
func poissonJobs(seed uint64, n, workers int, rho float64, service func(*rand.Rand) float64) []Job {
	rng := rand.New(rand.NewPCG(seed, 7))
	jobs := make([]Job, n)
	at := 0.0
	for i := range jobs {
		at += rng.ExpFloat64() * unit / rho / float64(workers)
		jobs[i] = Job{Arrival: time.Duration(at), Service: time.Duration(service(rng) * unit)}
	}
	return jobs
}

func exponential(rng *rand.Rand) float64 { return rng.ExpFloat64() }
func constant(*rand.Rand) float64        { return 1 }

// twoSided is short or long: mean 1, variance 9.
func twoSided(rng *rand.Rand) float64 {
	if rng.IntN(10) == 0 {
		return 10
	}
	return 0
}

// mean returns the mean of times, in units.
func mean(times []time.Duration) float64 {
	sum := 0.0
	for _, d := range times {
		sum += float64(d)
	}
	return sum / float64(len(times)) / unit
}

// erlangC returns the probability that a job finds all of k workers busy (M/M/k).
func erlangC(k int, rho float64) float64 {
	b := 1.0 // Erlang B, by its recursion
	for i := 1; i <= k; i++ {
		a := rho * float64(k)
		b = a * b / (float64(i) + a*b)
	}
	return b / (1 - rho*(1-b))
}

// within reports an error of more than 3 %.
func within(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got/want-1) > 0.03 {
		t.Errorf("%s: %.4f, want %.4f", what, got, want)
	}
}

func TestIdealErlangC(t *testing.T) {
	for _, k := range []int{1, 2, 4} {
		for _, rho := range []float64{0.5, 0.8} {
			jobs := poissonJobs(3, 400_000, k, rho, exponential)
			wait := Ideal(jobs, k, FCFS)
			for i := range wait {
				wait[i] -= jobs[i].Service
			}
			c, rate := erlangC(k, rho), float64(k)*(1-rho)
			name := fmt.Sprintf("M/M/%d at %v", k, rho)
			within(t, name+", mean wait", mean(wait), c/rate)
			for _, x := range []float64{0, 0.5, 1} { // in mean waits of those who wait
				n := 0
				for _, w := range wait {
					if float64(w) > x/rate*unit {
						n++
					}
				}
				within(t, fmt.Sprintf("%s, P(W > %v)", name, x), float64(n)/float64(len(wait)), c*math.Exp(-x))
			}
		}
	}
}

// Pollaczek and Khinchine: the mean wait is rho E[S^2] / (2 E[S] (1-rho)).
func TestIdealPollaczekKhinchine(t *testing.T) {
	for name, c := range map[string]struct {
		service func(*rand.Rand) float64
		squares float64
	}{"M/D/1": {constant, 1}, "M/M/1": {exponential, 2}, "M/G/1": {twoSided, 10}} {
		const rho = 0.6
		jobs := poissonJobs(5, 400_000, 1, rho, c.service)
		got := mean(Ideal(jobs, 1, FCFS)) - 1
		within(t, name, got, rho*c.squares/2/(1-rho))
	}
}

// In processor sharing only the mean of the service times matters, and the mean sojourn
// of jobs of one length is that length divided by 1-rho.
func TestIdealProcessorSharing(t *testing.T) {
	for name, service := range map[string]func(*rand.Rand) float64{"M/M/1": exponential, "M/D/1": constant, "M/G/1": twoSided} {
		const rho = 0.6
		jobs := poissonJobs(9, 300_000, 1, rho, service)
		sojourn := Ideal(jobs, 1, PS)
		within(t, name+"-PS", mean(sojourn), 1/(1-rho))
		var long []time.Duration
		ask := 0.0
		for i, s := range sojourn {
			if jobs[i].Service > 3*unit {
				long = append(long, s)
				ask += float64(jobs[i].Service) / unit
			}
		}
		if len(long) > 0 {
			within(t, name+"-PS, long jobs", mean(long), ask/float64(len(long))/(1-rho))
		}
	}
	// With k workers and exponential times the number of jobs moves as it does first
	// come, first served, so the mean sojourn is the same.
	for _, k := range []int{2, 4} {
		const rho = 0.8
		jobs := poissonJobs(11, 300_000, k, rho, exponential)
		got := mean(Ideal(jobs, k, PS))
		within(t, fmt.Sprintf("M/M/%d-PS", k), got, 1+erlangC(k, rho)/float64(k)/(1-rho))
	}
}

// A second opinion: processor sharing in steps of a nanosecond, in which each job
// present gets its share in whole parts. A job that ends within a step wastes the rest
// of it, so the times differ by a step per job at most.
func TestIdealSharingAgainstSmallSteps(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	const parts = 2520 // of a step: divisible by 1 to 10
	for range 20 {
		workers := 1 + rng.IntN(3)
		jobs := make([]Job, 10)
		left := make([]int, len(jobs)) // in parts
		at := 0
		for i := range jobs {
			at += rng.IntN(300 / workers)
			service := 1 + rng.IntN(600)
			jobs[i] = Job{Arrival: time.Duration(at), Service: time.Duration(service)}
			left[i] = service * parts
		}
		got := Ideal(jobs, workers, PS)
		shared := false
		for now, open := 0, len(jobs); open > 0; now++ {
			var in []int
			for i := range jobs {
				if left[i] > 0 && int(jobs[i].Arrival) <= now {
					in = append(in, i)
				}
			}
			shared = shared || len(in) > workers
			for _, i := range in {
				left[i] -= parts * min(len(in), workers) / len(in)
				if left[i] <= 0 {
					open--
					stay := now + 1 - int(jobs[i].Arrival)
					if d := stay - int(got[i]); d < -len(jobs) || d > len(jobs) {
						t.Fatalf("%d workers, %+v: job %d stays %v, small steps say %d", workers, jobs, i, got[i], stay)
					}
				}
			}
		}
		if !shared {
			t.Errorf("%d workers, %+v: nothing was shared", workers, jobs)
		}
	}
}

func TestQuantilesOfAreExact(t *testing.T) {
	var times []time.Duration
	for i := range 10_000 {
		times = append(times, time.Duration((i*7919%10_000+1)*1000)) // 1 us to 10 ms, mixed
	}
	want := Quantiles{P50: 5000, P90: 9000, P99: 9900, P999: 9990, P9999: 9999, Max: 10_000, Mean: 5000.5}
	if got := quantilesOf(times); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	one := Quantiles{P50: 3, P90: 3, P99: 3, P999: 3, P9999: 3, Max: 3, Mean: 3}
	if got := quantilesOf([]time.Duration{3000}); got != one {
		t.Errorf("%+v, want %+v", got, one)
	}
	if got := quantilesOf(nil); got != (Quantiles{}) {
		t.Errorf("of nothing: %+v", got)
	}
}
