package main

import (
	"errors"
	"testing"
)

func TestSearch(t *testing.T) {
	for _, truth := range []float64{0, 400, 500, 501, 7000, 31415, 127000, 128000, 1e6} {
		trials := 0
		got, err := search(func(rate float64) (bool, error) {
			trials++
			return rate <= truth, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case truth < lowest:
			if got != 0 {
				t.Errorf("%v: found %v, want 0", truth, got)
			}
		case truth >= highest:
			if got != highest {
				t.Errorf("%v: found %v, want %v", truth, got, highest)
			}
		case got > truth || got < truth/precision-1:
			t.Errorf("%v: found %v", truth, got)
		}
		if trials > 25 {
			t.Errorf("%v: %d trials", truth, trials)
		}
	}
}

// A single trial that lies, far from the edge, does not make the answer too
// high, and one of three at the edge does not move it.
func TestSearchNoise(t *testing.T) {
	const truth = 5000
	for lie := 5; lie <= 12; lie++ {
		trials := 0
		got, err := search(func(rate float64) (bool, error) {
			trials++
			return (rate <= truth) != (trials == lie), nil
		})
		if err != nil || got > truth {
			t.Errorf("lie %d: found %v, %v, want at most %v", lie, got, err, truth)
		}
	}
	trials := make(map[float64]int)
	got, err := search(func(rate float64) (bool, error) {
		trials[rate]++
		lies := rate > truth/1.2 && rate < truth*1.2 && trials[rate] == 2
		return (rate <= truth) != lies, nil
	})
	if err != nil || got > truth || got < truth/precision-1 {
		t.Errorf("one lie in three: found %v, %v", got, err)
	}
}

func TestSearchError(t *testing.T) {
	failed := errors.New("failed")
	for n := 1; n <= 10; n++ {
		trials := 0
		_, err := search(func(rate float64) (bool, error) {
			if trials++; trials == n {
				return false, failed
			}
			return rate < 5000, nil
		})
		if err != failed || trials != n {
			t.Errorf("trial %d fails: %v after %d trials", n, err, trials)
		}
	}
}
