package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Sizes is a distribution of the lengths of payloads. The length of a message follows
// from the seed and the message's number alone.
type Sizes struct {
	// Min and Max are the shortest and the longest there is. What an exponential or
	// log-normal distribution has beyond them takes the bound.
	Min, Max int
	Shape    SizeShape
	// Mean is the mean, exponential, or the median, log-normal, and Sigma the standard
	// deviation of the logarithm.
	Mean, Sigma float64
	// Percent of the messages have Max bytes, the others Min; bimodal only.
	Percent float64
	// Values are the lengths, each as likely as the others, FileSizes only.
	Values *Values
}

// SizeShape is the form of a distribution of lengths.
type SizeShape uint8

const (
	UniformSizes     SizeShape = iota // Min to Max, all equally likely
	ExponentialSizes                  // many short ones
	LogNormalSizes                    // as files and rows of a database often are
	BimodalSizes                      // Min or Max
	FileSizes                         // those of a file
)

// Bounds of a distribution that are not given: that many means or deviations.
const (
	meansToMax  = 16
	sigmasToMax = 5
)

const wantSizes = "want SIZE, MIN-MAX, exp:MEAN[,MIN-MAX], lognormal:MEDIAN,SIGMA[,MIN-MAX], bimodal:SIZE,SIZE,PERCENT% or file:NAME"

// ParseSizes reads SIZE, MIN-MAX, exp:MEAN[,MIN-MAX], lognormal:MEDIAN,SIGMA[,MIN-MAX],
// bimodal:SIZE,SIZE,PERCENT% (that share has the second, larger size) or file:NAME, a
// file with a size on each line. Each size is as ParseBytes has it. Without bounds there
// are none below, and above 16 means or 5 sigmas.
func ParseSizes(text string) (Sizes, error) {
	shape, rest, named := strings.Cut(text, ":")
	if !named {
		return parseRange(text)
	}
	args := strings.Split(rest, ",")
	switch {
	case shape == "exp" && len(args) <= 2:
		mean, err := ParseBytes(args[0])
		if err != nil {
			return Sizes{}, err
		}
		s := Sizes{Shape: ExponentialSizes, Mean: float64(mean)}
		return s.within(args[1:], meansToMax*s.Mean)
	case shape == "lognormal" && (len(args) == 2 || len(args) == 3):
		median, err := ParseBytes(args[0])
		if err != nil {
			return Sizes{}, err
		}
		s := Sizes{Shape: LogNormalSizes, Mean: float64(median)}
		if s.Sigma, err = strconv.ParseFloat(args[1], 64); err != nil || !(s.Sigma > 0 && s.Sigma <= maxSigma) {
			return Sizes{}, fmt.Errorf("want a sigma of more than 0, at most %d", maxSigma)
		}
		return s.within(args[2:], s.Mean*math.Exp(sigmasToMax*s.Sigma))
	case shape == "bimodal" && len(args) == 3:
		small, err1 := ParseBytes(args[0])
		large, err2 := ParseBytes(args[1])
		percent, ok := fraction(args[2])
		if err1 != nil || err2 != nil || !ok || large <= small {
			return Sizes{}, errors.New("want the larger size second, and more than 0% and less than 100%")
		}
		return Sizes{Min: small, Max: large, Shape: BimodalSizes, Percent: percent}, nil
	case shape == "file" && rest != "":
		v, err := readValues(rest, func(s string) (int64, error) {
			n, err := ParseBytes(s)
			return int64(n), err
		})
		if err != nil {
			return Sizes{}, err
		}
		return Sizes{Min: int(slices.Min(v.List)), Max: int(slices.Max(v.List)), Shape: FileSizes, Values: v}, nil
	}
	return Sizes{}, errors.New(wantSizes)
}

func parseRange(text string) (Sizes, error) {
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		high = low
	}
	lo, err := ParseBytes(low)
	if err != nil {
		return Sizes{}, err
	}
	hi, err := ParseBytes(high)
	if err != nil {
		return Sizes{}, err
	}
	if hi < lo {
		return Sizes{}, fmt.Errorf("the range runs backwards")
	}
	return Sizes{Min: lo, Max: hi}, nil
}

// within gives s its bounds: those of bounds, if it has one, or 0 and most.
func (s Sizes) within(bounds []string, most float64) (Sizes, error) {
	if s.Mean < 1 {
		return Sizes{}, errors.New("want at least a byte")
	}
	if len(bounds) == 0 {
		s.Max = int(min(most, MaxSize))
		return s, nil
	}
	r, err := parseRange(bounds[0])
	s.Min, s.Max = r.Min, r.Max
	return s, err
}

// String is what ParseSizes reads.
func (s Sizes) String() string {
	switch s.Shape {
	case ExponentialSizes:
		return fmt.Sprintf("exp:%.0f,%d-%d", s.Mean, s.Min, s.Max)
	case LogNormalSizes:
		return fmt.Sprintf("lognormal:%.0f,%s,%d-%d", s.Mean, strconv.FormatFloat(s.Sigma, 'g', -1, 64), s.Min, s.Max)
	case BimodalSizes:
		return fmt.Sprintf("bimodal:%d,%d,%s%%", s.Min, s.Max, strconv.FormatFloat(s.Percent, 'g', -1, 64))
	case FileSizes:
		return "file:" + s.Values.Name
	}
	if s.Min == s.Max {
		return strconv.Itoa(s.Min)
	}
	return fmt.Sprintf("%d-%d", s.Min, s.Max)
}

// MarshalJSON writes a number, or for more than one size the string.
func (s Sizes) MarshalJSON() ([]byte, error) {
	if s.Min == s.Max {
		return json.Marshal(s.Min)
	}
	return json.Marshal(s.String())
}

// UnmarshalJSON reads what MarshalJSON writes. Values of a file are not read again.
func (s *Sizes) UnmarshalJSON(b []byte) (err error) {
	var n int
	if json.Unmarshal(b, &n) == nil {
		*s = Sizes{Min: n, Max: n}
		return nil
	}
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	if name, ok := strings.CutPrefix(text, "file:"); ok {
		*s = Sizes{Shape: FileSizes, Values: &Values{Name: name}}
		return nil
	}
	*s, err = ParseSizes(text)
	return err
}

// problem says what would be right, "" if all is.
func (s Sizes) problem() string {
	if s.Min < 0 || s.Max < s.Min || s.Max > MaxSize || s.Shape > FileSizes || s.Shape == FileSizes && s.Values == nil {
		return fmt.Sprintf("0 to %d bytes", MaxSize)
	}
	return ""
}

// draw returns the length of a message.
func (s *Sizes) draw(seed, number uint64) int {
	if s.Min == s.Max {
		return s.Min
	}
	bits := mix(number ^ mix(seed))
	switch s.Shape {
	case ExponentialSizes:
		return s.clamp(expQuantile(uniform(bits), s.Mean))
	case LogNormalSizes:
		return s.clamp(logNormalQuantile(uniform(bits), s.Mean, s.Sigma))
	case BimodalSizes:
		if uniform(bits)*100 < s.Percent {
			return s.Max
		}
		return s.Min
	case FileSizes:
		return int(s.Values.pick(bits))
	}
	return s.Min + int(bits%uint64(s.Max-s.Min+1))
}

func (s *Sizes) clamp(n float64) int {
	return int(math.Round(min(max(n, float64(s.Min)), float64(s.Max))))
}

// ParseBytes reads a number of bytes: digits, optionally followed by KiB, MiB or
// GiB.
func ParseBytes(s string) (int, error) {
	digits, unit := s, 1
	for i, name := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(s, name); ok {
			digits, unit = rest, 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > uint64(math.MaxInt/unit) {
		return 0, fmt.Errorf("want a number of bytes such as 64, 4KiB or 16MiB")
	}
	return int(n) * unit, nil
}
