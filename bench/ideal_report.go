package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// IdealReport is what Ideal says of some Jobs.
type IdealReport struct {
	Schema      int           `json:"schema"`  // as Report's
	Workers     int           `json:"workers"` // that serve the jobs
	Messages    int           `json:"messages"`
	Load        float64       `json:"load"` // work that arrives in the mean, of what the workers can do; 1 and more is too much
	Disciplines []IdealResult `json:"disciplines"`
}

// IdealResult is one discipline's.
type IdealResult struct {
	Discipline string `json:"discipline"`
	// Utilisation is the share of the workers' time from the first arrival to the
	// last end, warm-up included, that is work.
	Utilisation float64 `json:"utilisation"`
	IdealTimes
	Classes []IdealClass `json:"classes"` // in the order of the Jobs'
}

// IdealClass is one class's share of an IdealResult.
type IdealClass struct {
	Name     string `json:"name"`
	Messages int    `json:"messages"`
	IdealTimes
}

// IdealTimes are what a message would take, of the measured time.
type IdealTimes struct {
	Waiting *Quantiles `json:"waiting_us,omitempty"` // before its work begins; FCFS only
	Sojourn Quantiles  `json:"sojourn_us"`           // from arrival to end
}

// Ideal simulates each discipline.
func (j *Jobs) Ideal(workers int, disciplines ...Discipline) *IdealReport {
	rep := &IdealReport{Schema: Schema, Workers: workers}
	var work float64
	var last time.Duration
	for _, job := range j.List {
		work += float64(job.Service)
		if job.Arrival >= j.From {
			rep.Messages++
		}
		last = job.Arrival
	}
	share := func(of time.Duration) float64 {
		if of <= 0 {
			return 0
		}
		return work / float64(of) / float64(workers)
	}
	var first time.Duration
	if len(j.List) > 0 {
		first = j.List[0].Arrival
	}
	rep.Load = share(last - first)
	for _, d := range disciplines {
		sojourn := Ideal(j.List, workers, d)
		end := first
		for i, s := range sojourn {
			end = max(end, j.List[i].Arrival+s)
		}
		res := IdealResult{Discipline: d.String(), Utilisation: share(end - first), IdealTimes: j.times(d, sojourn, -1)}
		for class, name := range j.Classes {
			n := 0
			for _, job := range j.List {
				if job.Class == class && job.Arrival >= j.From {
					n++
				}
			}
			res.Classes = append(res.Classes, IdealClass{name, n, j.times(d, sojourn, class)})
		}
		rep.Disciplines = append(rep.Disciplines, res)
	}
	return rep
}

// times sums up what the measured jobs of a class took, of all if it is negative.
func (j *Jobs) times(d Discipline, sojourn []time.Duration, class int) IdealTimes {
	var stay, wait []time.Duration
	for i, job := range j.List {
		if job.Arrival >= j.From && (class < 0 || job.Class == class) {
			stay = append(stay, sojourn[i])
			wait = append(wait, sojourn[i]-job.Service)
		}
	}
	t := IdealTimes{Sojourn: quantilesOf(stay)}
	if d == FCFS {
		q := quantilesOf(wait)
		t.Waiting = &q
	}
	return t
}

// WriteJSON writes the report as one indented JSON object to a file.
func (r *IdealReport) WriteJSON(file string) error { return writeJSON(file, r) }

// WriteText writes the report for people.
func (r *IdealReport) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s %d, load %.4f of %d workers\n", "messages", r.Messages, r.Load, r.Workers)
	for _, res := range r.Disciplines {
		fmt.Fprintf(&b, "\n%-11s utilisation %.4f\n", res.Discipline, res.Utilisation)
		fmt.Fprintf(&b, "%-11s %s\n", "µs", quantileColumns)
		row := func(name string, q *Quantiles) {
			fmt.Fprintf(&b, "%-11s %s\n", name, q.columns())
		}
		rows := func(name string, of func(*IdealTimes) *Quantiles) {
			all := of(&res.IdealTimes)
			if all == nil {
				return
			}
			row(name, all)
			if len(res.Classes) > 1 {
				for i := range res.Classes {
					row("  "+res.Classes[i].Name, of(&res.Classes[i].IdealTimes))
				}
			}
		}
		rows("waiting", func(t *IdealTimes) *Quantiles { return t.Waiting })
		rows("sojourn", func(t *IdealTimes) *Quantiles { return &t.Sojourn })
	}
	_, err := io.WriteString(w, b.String())
	return err
}
