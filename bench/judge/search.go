package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Finding is what became of one trial. All but Held fail it.
type Finding uint8

const (
	// Held: the rate was offered, everything was answered, within the target.
	Held Finding = iota
	// Missed: the server was slower than the target.
	Missed
	// Lost: a message was lost, changed or duplicated. That fails the rate, whatever
	// its other trials show.
	Lost
	// Behind: the generator did not keep its schedule, and nothing else was wrong.
	// Nothing is known about the server.
	Behind
)

var findings = [...]string{"held", "missed", "lost", "behind"}

func (f Finding) String() string {
	if int(f) >= len(findings) {
		return fmt.Sprintf("finding %d", uint8(f))
	}
	return findings[f]
}

// MarshalText writes the name.
func (f Finding) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the name.
func (f *Finding) UnmarshalText(b []byte) error {
	i := slices.Index(findings[:], string(b))
	if i < 0 {
		return fmt.Errorf("finding %q: want held, missed, lost or behind", b)
	}
	*f = Finding(i)
	return nil
}

// Outcome is the result of one trial.
type Outcome struct {
	Finding Finding `json:"finding"`
	Why     string  `json:"why,omitempty"` // it did not hold
	// Figures are whatever else is to be kept of it.
	Figures any `json:"figures,omitempty"`
}

// Trial offers a rate once and says what became of it; n counts the trials of a
// search from 0, for seeds and displays. An error ends the search: that nothing could
// be measured, not that the target was missed.
type Trial func(ctx context.Context, rate float64, n int) (Outcome, error)

// Options of a search.
type Options struct {
	// Start is the first rate, Min and Max are the lowest and the highest to be
	// tried. Min is Start when zero; no Max is 1e9.
	Start, Min, Max float64
	// Resolution is the ratio of neighbouring rates, less one: 0.01 when zero.
	Resolution float64
	// Repeats is how many trials of a rate decide on it: an odd number, 5 when zero.
	Repeats int
}

// filled returns o with what zeros stand for.
func (o Options) filled() Options {
	if o.Min == 0 {
		o.Min = o.Start
	}
	if o.Max == 0 {
		o.Max = 1e9
	}
	if o.Resolution == 0 {
		o.Resolution = 0.01
	}
	if o.Repeats == 0 {
		o.Repeats = 5
	}
	return o
}

// Check says what is wrong with the options, nil if nothing is.
func (o Options) Check() error {
	o = o.filled()
	switch {
	case !(o.Min > 0 && o.Min <= o.Start && o.Start <= o.Max && o.Max <= 1e9):
		return fmt.Errorf("search from %.6g within %.6g to %.6g: want positive rates in order, up to 1e9", o.Start, o.Min, o.Max)
	case !(o.Resolution >= 1e-4 && o.Resolution <= 1):
		return fmt.Errorf("resolution %g: want 0.0001 to 1", o.Resolution)
	case o.Repeats < 1 || o.Repeats%2 == 0 || o.Repeats > 99:
		return fmt.Errorf("repeats %d: want an odd number, 1 to 99", o.Repeats)
	}
	return nil
}

// Result is what a search found.
type Result struct {
	// Rate is the highest rate that passed: most of its trials held and none lost
	// anything. 0: none did.
	Rate float64 `json:"rate"`
	// Low and High enclose the rate at which every other trial holds, with Confidence
	// or more: at Low all trials held, at High none did. A Low of 0 and a High of 0
	// mean that there is no such rate down to Min, or up to Max.
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"`
	// Limit is what failed the next rate above Rate; Held if Rate is the highest
	// allowed. Why is the reason of one of its trials.
	Limit Finding `json:"limit"`
	Why   string  `json:"why,omitempty"`
	// Rates are those tried, in their order; Trials all trials, as they came.
	Rates  []Tried      `json:"rates"`
	Trials []TrialOfOne `json:"trials"`
}

// Tried is a rate with its trials.
type Tried struct {
	Rate   float64 `json:"rate"`
	Held   int     `json:"held"`
	Trials int     `json:"trials"`
	lost   bool
	failed Finding // of the last trial that did
	why    string
}

// passes reports whether the rate passes when n trials decide, and whether that is
// certain already.
func (t *Tried) passes(n int) (pass, certain bool) {
	switch {
	case t.lost || t.Trials-t.Held > n/2:
		return false, true
	case t.Held > n/2:
		return true, true
	}
	return false, false
}

// TrialOfOne is a trial and its outcome.
type TrialOfOne struct {
	Rate float64 `json:"rate"`
	Outcome
}

// ErrUnreachable is that not even the lowest rate passed.
var ErrUnreachable = errors.New("no rate meets the target")

// Search looks for the highest rate that passes, by bisection. It takes for granted
// that a server which misses the target at some rate is no better above.
//
// Rates are Start times powers of 1+Resolution. From Start the search goes up, or
// down, in steps of about 4 until one rate passes and a higher one fails, and then
// halves what is between (the logarithms) until they are neighbours. Trials of a rate
// are repeated until it is certain which way most of Repeats would go, so that a rate
// that is clear takes few.
//
// For the interval it goes down from the answer to the first rate of which all Repeats
// trials held, and up to the first of which all failed, in steps that double. At a rate
// where a trial holds with a probability of one half, or less, all n do with one of
// 2^-n or less, and so for failing (the sign test): the two rates enclose that one with
// a confidence of 1 - 2*2^-n. The choice among several rates is not accounted for; a
// test counts how often the interval is right.
//
// The error is that of a trial or of ctx, and the Result, never nil but for wrong
// options, is what is known until then; or it wraps ErrUnreachable.
func Search(ctx context.Context, o Options, trial Trial) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	o = o.filled()
	s := &search{Options: o, ctx: ctx, trial: trial, tried: map[int]*Tried{}, res: &Result{
		Confidence: 1 - 2*math.Pow(0.5, float64(o.Repeats)),
		Rates:      []Tried{}, Trials: []TrialOfOne{},
	}}
	s.least = s.index(o.Min)
	s.most = s.index(o.Max)
	err := s.run()
	for _, t := range s.tried {
		if t.Trials > 0 {
			s.res.Rates = append(s.res.Rates, *t)
		}
	}
	slices.SortFunc(s.res.Rates, func(a, b Tried) int { return cmp.Compare(a.Rate, b.Rate) })
	return s.res, err
}

// search is the state of Search. Rates go by index: the power of 1+Resolution.
type search struct {
	Options
	ctx         context.Context
	trial       Trial
	least, most int // indices of rates
	tried       map[int]*Tried
	res         *Result
}

func (s *search) index(rate float64) int {
	// Rounded inwards, but for what the division of equal rates leaves.
	x := math.Log(rate/s.Start) / math.Log1p(s.Resolution)
	if rate < s.Start {
		return int(math.Ceil(x - 1e-9))
	}
	return int(math.Floor(x + 1e-9))
}

func (s *search) rate(i int) float64 { return s.Start * math.Pow(1+s.Resolution, float64(i)) }

func (s *search) at(i int) *Tried {
	t := s.tried[i]
	if t == nil {
		t = &Tried{Rate: s.rate(i)}
		s.tried[i] = t
	}
	return t
}

// once does one trial more of a rate.
func (s *search) once(t *Tried) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	o, err := s.trial(s.ctx, t.Rate, len(s.res.Trials))
	if err != nil {
		return err
	}
	s.res.Trials = append(s.res.Trials, TrialOfOne{t.Rate, o})
	t.Trials++
	if o.Finding == Held {
		t.Held++
		return nil
	}
	if !t.lost {
		t.failed, t.why = o.Finding, o.Why
	}
	t.lost = t.lost || o.Finding == Lost
	return nil
}

// passes tries a rate until it is certain whether it passes.
func (s *search) passes(i int) (bool, error) {
	t := s.at(i)
	for {
		if pass, certain := t.passes(s.Repeats); certain {
			return pass, nil
		}
		if err := s.once(t); err != nil {
			return false, err
		}
	}
}

// agree tries a rate until all Repeats trials have held, or failed, or one has not.
func (s *search) agree(i int, held bool) (bool, error) {
	t := s.at(i)
	for {
		if n := t.Held; held && n < t.Trials || !held && n > 0 {
			return false, nil
		}
		if t.Trials >= s.Repeats || !held && t.lost {
			return true, nil
		}
		if err := s.once(t); err != nil {
			return false, err
		}
	}
}

func (s *search) run() error {
	low, high, err := s.bracket()
	if err != nil {
		return err
	}
	for high-low > 1 {
		s.found(low, high)
		middle := low + (high-low)/2
		pass, err := s.passes(middle)
		switch {
		case err != nil:
			return err
		case pass:
			low = middle
		default:
			high = middle
		}
	}
	s.found(low, high)
	return s.interval(low, high)
}

// found notes the answer so far.
func (s *search) found(low, high int) {
	s.res.Rate = s.rate(low)
	s.res.Limit, s.res.Why = Held, ""
	if t := s.tried[high]; t != nil {
		s.res.Limit, s.res.Why = t.failed, t.why
	}
}

// bracket finds a rate that passes and a higher one that does not, which is above
// the highest one allowed if that passes.
func (s *search) bracket() (low, high int, err error) {
	step := max(1, int(math.Round(math.Log(4)/math.Log1p(s.Resolution))))
	pass, err := s.passes(0)
	if err != nil {
		return 0, 0, err
	}
	for i := 0; ; {
		last, next := i, min(i+step, s.most)
		if !pass {
			next = max(i-step, s.least)
		} else {
			s.found(i, i+1)
		}
		if next == last {
			if pass {
				return last, last + 1, nil
			}
			t := s.at(last)
			s.res.Limit, s.res.Why = t.failed, t.why
			return 0, 0, fmt.Errorf("%w: at %.6g/s, the lowest tried, %s", ErrUnreachable, t.Rate, t.why)
		}
		now, err := s.passes(next)
		switch {
		case err != nil:
			return 0, 0, err
		case now != pass:
			return min(last, next), max(last, next), nil
		}
		i = next
	}
}

// interval looks for Low and High.
func (s *search) interval(low, high int) error {
	i, found, err := s.unanimous(low, -1, true)
	if found {
		s.res.Low = s.rate(i)
	}
	if err != nil {
		return err
	}
	i, found, err = s.unanimous(high, 1, false)
	if found {
		s.res.High = s.rate(i)
	}
	return err
}

// unanimous goes from a rate down or up, in steps that double, to the first of which all
// trials hold, or fail.
func (s *search) unanimous(from, direction int, held bool) (i int, found bool, err error) {
	end := s.least
	if direction > 0 {
		end = s.most
	}
	step := direction
	for i = from; s.least <= i && i <= s.most; step *= 2 {
		found, err = s.agree(i, held)
		if found || err != nil || i == end {
			return i, found, err
		}
		i = min(max(i+step, s.least), s.most)
	}
	return i, false, nil
}
