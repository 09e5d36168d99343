package framing

import (
	"fmt"
	"io"
	"time"

	"github.com/kcm-go/kcm/bench/peers/stats"
)

// Row is what a contestant took of one stream.
type Row struct {
	Name   string
	Nanos  float64 // per message: the median of the rounds
	Ratio  float64 // of its time to that of kcm-batch: the median over the rounds
	Lo, Hi float64 // bounds of the ratio, 95 %
}

// reference is the contestant that the others are compared with.
const reference = "kcm-batch"

// Compare runs every contestant once a round, for about the given time, and
// compares those of one round.
func Compare(size int, read bool, rounds int, each time.Duration) ([]Row, error) {
	s := NewStage(1<<20/max(64, size), size, Whole)
	var names []string
	nanos := map[string][]float64{}
	for round := range rounds {
		for k := range Entries {
			e := Entries[(round+k)%len(Entries)] // nobody always runs behind the same one
			if !read && !e.Given {
				continue
			}
			took, err := s.Run(e, read, 4)
			if err != nil {
				return nil, err
			}
			n := max(1, int(4*each/max(took, 1)))
			if took, err = s.Run(e, read, n); err != nil {
				return nil, err
			}
			if round == 0 {
				names = append(names, e.Name)
			}
			nanos[e.Name] = append(nanos[e.Name], float64(took.Nanoseconds())/float64(n*s.Tally.Messages))
		}
	}
	var rows []Row
	for _, name := range names {
		ratios := make([]float64, rounds)
		for i, t := range nanos[name] {
			ratios[i] = t / nanos[reference][i]
		}
		lo, hi, _ := stats.Bounds(ratios, 0.95)
		rows = append(rows, Row{name, stats.Median(nanos[name]), stats.Median(ratios), lo, hi})
	}
	return rows, nil
}

// Write writes a table of rows.
func Write(w io.Writer, title string, rows []Row) error {
	_, err := fmt.Fprintf(w, "\n%s\n\n| | ns a message | times %s | 95 %% bounds |\n|---|---|---|---|\n", title, reference)
	for _, r := range rows {
		if err == nil {
			_, err = fmt.Fprintf(w, "| %s | %.2f | %.2f | %.2f to %.2f |\n", r.Name, r.Nanos, r.Ratio, r.Lo, r.Hi)
		}
	}
	return err
}
