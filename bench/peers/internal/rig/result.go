package rig

import (
	"encoding/json"
	"fmt"
	"os"
)

// Result is what the generator writes of a run, as far as it is needed here.
type Result struct {
	PerSecond float64 `json:"messages_per_second"` // of the measured time
	Measured  int64   `json:"messages"`            // of the measured time
	Total     int64   `json:"messages_total"`      // with warm-up

	Errors int64 `json:"errors"` // all of them
	Lost   int64 `json:"lost"`   // not answered when the generator gave up
	Unsent int64 `json:"unsent"` // not even sent then

	Latency  Quantiles  `json:"latency_us"`  // from the intended time in an open loop
	Lateness *Quantiles `json:"lateness_us"` // of the generator; open loop only
	Classes  []Class    `json:"classes"`     // by service time; none if messages carry none
}

// Quantiles of a time, in microseconds.
type Quantiles struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
}

// Class is what became of the messages of one service time.
type Class struct {
	Name     string    `json:"name"`
	Measured int64     `json:"messages"`
	Latency  Quantiles `json:"latency_us"` // from the intended time
}

// Class returns the class of that name.
func (r *Result) Class(name string) (Class, error) {
	for _, c := range r.Classes {
		if c.Name == name && c.Measured > 0 {
			return c, nil
		}
	}
	return Class{}, fmt.Errorf("no message of class %s", name)
}

// BehindError says that a server did not answer all messages in the time the
// generator waits for the last of them. Those it answered it answered right.
type BehindError struct{ Lost, Unsent int64 }

func (e *BehindError) Error() string {
	return fmt.Sprintf("%d messages not answered, %d not even sent", e.Lost, e.Unsent)
}

// checker is a result that can tell that it is none.
type checker interface{ check() error }

func (r *Result) check() error {
	switch {
	case r.Errors > 0 && r.Errors == r.Lost+r.Unsent:
		return &BehindError{r.Lost, r.Unsent}
	case r.Errors != 0:
		return fmt.Errorf("%d errors", r.Errors)
	case r.Measured <= 0 || r.PerSecond <= 0:
		return fmt.Errorf("no messages (%d, %v per second)", r.Measured, r.PerSecond)
	}
	return nil
}

// Ideal is what kcmbench computes of a load at servers that cost nothing.
type Ideal struct {
	Disciplines []struct {
		Name    string `json:"discipline"`
		Classes []struct {
			Name    string     `json:"name"`
			Waiting *Quantiles `json:"waiting_us"`
		} `json:"classes"`
	} `json:"disciplines"`
}

func (i *Ideal) check() error { return nil }

// Waiting returns the times that messages of a class wait if all workers take
// them first come, first served.
func (i *Ideal) Waiting(class string) (Quantiles, error) {
	for _, d := range i.Disciplines {
		for _, c := range d.Classes {
			if d.Name == "fcfs" && c.Name == class && c.Waiting != nil {
				return *c.Waiting, nil
			}
		}
	}
	return Quantiles{}, fmt.Errorf("ideal: no waiting times of class %s", class)
}

// readResult reads a file that the generator wrote.
func readResult(file string, result checker) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, result); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return result.check()
}
