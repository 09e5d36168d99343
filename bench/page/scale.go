package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// scale places values on an axis.
type scale struct {
	low, high float64
	log       bool
	label     func(float64) string
	marks     []float64 // of the axis; niceMarks or decades if nil
}

// at returns where a value is, from 0 to 1, if it lies within the scale.
func (s *scale) at(v float64) float64 {
	if s.log {
		return math.Log(v/s.low) / math.Log(s.high/s.low)
	}
	return (v - s.low) / (s.high - s.low)
}

// ticks returns the values that the axis names.
func (s *scale) ticks() []float64 {
	switch {
	case s.marks != nil:
		return s.marks
	case s.log:
		return decades(s.low, s.high)
	}
	return niceMarks(s.low, s.high)
}

// linear covers the values from 0.
func linear(values []float64, label func(float64) string) scale {
	high := 0.0
	for _, v := range values {
		high = max(high, v)
	}
	if high == 0 {
		high = 1
	}
	return scale{0, high * 1.05, false, label, nil}
}

// logarithmic covers the positive values, to the next marks.
func logarithmic(values []float64, label func(float64) string) scale {
	low, high := math.Inf(1), 0.0
	for _, v := range values {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	if high == 0 {
		low, high = 1, 10
	}
	s := scale{low / 1.2, high * 1.2, true, label, nil}
	if s.high/s.low < 4 { // with less there would be no mark
		s.low, s.high = s.low/2, s.high*2
	}
	return s
}

// decades returns powers of ten, and if there are few also 2 and 5 times those.
func decades(low, high float64) (marks []float64) {
	steps := []float64{1}
	if math.Log10(high/low) < 3 {
		steps = []float64{1, 2, 5}
	}
	for e := math.Floor(math.Log10(low)); e <= math.Log10(high); e++ {
		for _, s := range steps {
			if v := s * math.Pow(10, e); v >= low && v <= high {
				marks = append(marks, v)
			}
		}
	}
	return marks
}

// niceMarks returns about five round values.
func niceMarks(low, high float64) (marks []float64) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, f := range []float64{5, 2} {
		if (high-low)/(step*f) >= 3 {
			step *= f
			break
		}
	}
	for i := math.Ceil(low / step); i*step <= high*(1+1e-9); i++ {
		marks = append(marks, i*step)
	}
	return marks
}

// digits prints three significant digits, and no zeros behind the point.
func digits(v float64) string {
	if v == 0 {
		return "0"
	}
	n := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	s := strconv.FormatFloat(v, 'f', n, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// micros prints a time given in microseconds.
func micros(us float64) string {
	switch {
	case us == 0:
		return "0"
	case us < 0.9995:
		return digits(us*1e3) + " ns"
	case us < 999.5:
		return digits(us) + " µs"
	case us < 999.5e3:
		return digits(us/1e3) + " ms"
	}
	return digits(us/1e6) + " s"
}

// count prints a number of messages, per second or not.
func count(v float64) string {
	switch {
	case v < 999.5:
		return digits(v)
	case v < 999.5e3:
		return digits(v/1e3) + "k"
	}
	return digits(v/1e6) + "M"
}

// nines prints a percentile that is given as 1/(1-percentile).
func nines(v float64) string {
	n := int(math.Round(math.Log10(v)))
	switch n {
	case 0:
		return "0"
	case 1, 2:
		return fmt.Sprintf("%d%%", 100-int(math.Pow(10, float64(2-n))))
	}
	return "99." + strings.Repeat("9", n-2) + "%"
}
