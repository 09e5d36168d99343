package bench

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// Values are numbers from a file: sizes, times of service or times of arrival.
type Values struct {
	Name string // of the file
	List []int64
}

// MaxValues is the most that is read from a file.
const MaxValues = MaxJobs

// readValues reads one value a line, the text before a comma if there is one. Empty
// lines, those that begin with # and a first line that parse does not understand, a
// heading, do not count. Errors name the line.
func readValues(name string, parse func(string) (int64, error)) (*Values, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v := &Values{Name: name}
	s := bufio.NewScanner(f)
	for line := 1; s.Scan(); line++ {
		text, _, _ := strings.Cut(s.Text(), ",")
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		n, err := parse(text)
		switch {
		case err == nil && len(v.List) == MaxValues:
			return nil, fmt.Errorf("%s: more than %d values", name, MaxValues)
		case err == nil:
			v.List = append(v.List, n)
		case line > 1:
			return nil, fmt.Errorf("%s: line %d: %q: %w", name, line, text, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(v.List) == 0 {
		return nil, fmt.Errorf("%s: no values", name)
	}
	return v, nil
}

// pick returns one of the values, each as likely as the others.
func (v *Values) pick(bits uint64) int64 { return v.List[bits%uint64(len(v.List))] }

// uniform makes a number of random bits: 53 of them count, and it is neither 0 nor 1.
func uniform(bits uint64) float64 { return (float64(bits>>11) + 0.5) / (1 << 53) }

// expQuantile is the quantile of an exponential distribution.
func expQuantile(u, mean float64) float64 { return -math.Log(u) * mean }

// logNormalQuantile is the quantile of a log-normal distribution.
func logNormalQuantile(u, median, sigma float64) float64 {
	return median * math.Exp(sigma*math.Sqrt2*math.Erfinv(2*u-1))
}

const maxSigma = 10

// fraction reads a share, such as 1%, of more than 0 and less than 100.
func fraction(text string) (percent float64, ok bool) {
	digits, ok := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(digits, 64)
	return percent, ok && err == nil && percent > 0 && percent < 100
}
