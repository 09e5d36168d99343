package bench

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Profile is how the rate of an open loop changes in time. Arrival says how the
// messages are spaced at the rate of the moment.
type Profile struct {
	Shape ProfileShape
	// On and Off are how long messages come and how long none does, Bursty only.
	On, Off time.Duration
	// From is the rate until measuring begins, and After how long it stays after that,
	// Step only. Ramp and Step end at Workload.Rate.
	From  float64
	After time.Duration
}

// ProfileShape is the form of a Profile.
type ProfileShape uint8

const (
	Steady ProfileShape = iota // always Workload.Rate
	Bursty                     // nothing for a while, then more: Workload.Rate is the mean
	Ramp                       // linear in the measured time
	Step                       // all at once
)

const wantProfile = "want steady, bursty:ON,OFF, ramp:RATE or step:RATE,TIME, such as bursty:10ms,90ms, ramp:1000 or step:1000,2s"

// ParseProfile reads steady, bursty:ON,OFF, ramp:RATE or step:RATE,TIME.
func ParseProfile(text string) (Profile, error) {
	shape, rest, _ := strings.Cut(text, ":")
	args := strings.Split(rest, ",")
	p := Profile{}
	var err error
	switch {
	case text == "steady":
	case shape == "bursty" && len(args) == 2:
		var err2 error
		p.Shape = Bursty
		p.On, err = time.ParseDuration(args[0])
		p.Off, err2 = time.ParseDuration(args[1])
		err = errors.Join(err, err2)
	case shape == "ramp" && len(args) == 1:
		p.Shape = Ramp
		p.From, err = strconv.ParseFloat(args[0], 64)
	case shape == "step" && len(args) == 2:
		var err2 error
		p.Shape = Step
		p.From, err = strconv.ParseFloat(args[0], 64)
		p.After, err2 = time.ParseDuration(args[1])
		err = errors.Join(err, err2)
	default:
		err = errors.New("")
	}
	if err != nil {
		return Profile{}, errors.New(wantProfile)
	}
	if want := p.problem(); want != "" {
		return Profile{}, fmt.Errorf("want %s", want)
	}
	return p, nil
}

// String is what ParseProfile reads.
func (p Profile) String() string {
	rate := strconv.FormatFloat(p.From, 'g', -1, 64)
	switch p.Shape {
	case Bursty:
		return "bursty:" + timeText(p.On) + "," + timeText(p.Off)
	case Ramp:
		return "ramp:" + rate
	case Step:
		return "step:" + rate + "," + timeText(p.After)
	}
	return "steady"
}

// problem says what would be right, "" if all is.
func (p Profile) problem() string {
	switch {
	case p.Shape > Step:
		return "a shape there is"
	case p.Shape == Bursty && (p.On < time.Microsecond || p.Off < time.Microsecond):
		return "a microsecond or more on and off"
	case !(p.From >= 0 && p.From <= 1e9):
		return "0 to 1e9 messages per second"
	case p.After < 0:
		return "a time, or 0"
	}
	return ""
}

// far is later than any run.
const far = 1 << 60

// count returns how many messages are due from the start until t, in nanoseconds, as a
// real number.
func (w *Workload) count(t float64) float64 {
	p, rate := &w.Profile, w.Rate/1e9
	t = max(t, 0)
	switch p.Shape {
	case Bursty:
		on, period := float64(p.On), float64(p.On+p.Off)
		cycles := math.Floor(t / period)
		return rate * (cycles*period + min(t-cycles*period, on)*period/on)
	case Ramp:
		from, start := p.From/1e9, float64(w.Warmup)
		if t <= start {
			return from * t
		}
		u := t - start
		return from*start + from*u + (rate-from)/(2*float64(w.Duration))*u*u
	case Step:
		start := float64(w.Warmup + p.After)
		return p.From/1e9*min(t, start) + rate*max(0, t-start)
	}
	return rate * t
}

// when is the inverse of count: when message x is due, far if it never is.
func (w *Workload) when(x float64) float64 {
	p, rate := &w.Profile, w.Rate/1e9
	switch p.Shape {
	case Bursty:
		on, period := float64(p.On), float64(p.On+p.Off)
		cycles := math.Floor(x / (rate * period))
		return min(far, cycles*period+(x-cycles*rate*period)/(rate*period)*on)
	case Ramp:
		from, start := p.From/1e9, float64(w.Warmup)
		if x <= from*start && from > 0 {
			return x / from
		}
		x -= from * start
		root := from*from + 2*(rate-from)/float64(w.Duration)*x
		if root < 0 {
			return far
		}
		if x == 0 {
			return start
		}
		return min(far, start+2*x/(from+math.Sqrt(root)))
	case Step:
		from, start := p.From/1e9, float64(w.Warmup+p.After)
		if x < from*start {
			return x / from
		}
		return min(far, start+(x-from*start)/rate)
	}
	return min(far, x/rate)
}

// ReadReplay reads a schedule: a file with one time a line, in nanoseconds from the start
// of the run, or the CSV that Trace.WriteCSV writes. The times need not be in order.
func ReadReplay(file string) (*Values, error) {
	v, err := readValues(file, func(s string) (int64, error) {
		n, err := strconv.ParseInt(s, 10, 60)
		if err != nil || n < 0 {
			return 0, errors.New("want nanoseconds from the start of the run")
		}
		return n, nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(v.List)
	return v, nil
}

// expected returns how many messages are due from one time of the run to another; with
// Poisson arrivals it is the mean.
func (w *Workload) expected(from, to time.Duration) float64 {
	if w.Replay == nil {
		return w.count(float64(to)) - w.count(float64(from))
	}
	a, _ := slices.BinarySearch(w.Replay.List, int64(from))
	b, _ := slices.BinarySearch(w.Replay.List, int64(to))
	return float64(b - a)
}
