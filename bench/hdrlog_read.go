package bench

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// logLine is a histogram of a log, and its interval, in seconds since 1970.
type logLine struct {
	name         string
	from, length float64
	hist         *Hist
}

// maxLogLine is the longest line that is read: more than a histogram of this package's
// range can need.
const maxLogLine = 4 << 20

// year is in seconds. Lines whose times are more than that before the start time have
// them relative to it, as readers of the format agree.
const year = 365 * 24 * 3600

// readLog reads a log. The error says in which line it is damaged, or that a histogram is
// not of this package's range.
func readLog(from io.Reader) (lines []logLine, err error) {
	s := bufio.NewScanner(from)
	s.Buffer(nil, maxLogLine)
	start, base, based := 0.0, 0.0, false
	for n := 1; s.Scan(); n++ {
		text := strings.TrimSpace(s.Text())
		var err error
		switch {
		case strings.HasPrefix(text, "#[StartTime:"):
			start, err = headTime(text)
		case strings.HasPrefix(text, "#[BaseTime:"):
			base, err = headTime(text)
			based = true
		case text == "" || text[0] == '#' || strings.HasPrefix(text, `"StartTimestamp"`):
		default:
			var l logLine
			if l, err = parseLogLine(text); err == nil {
				if !based && l.from < start-year {
					base = start
				}
				based = true
				l.from += base
				lines = append(lines, l)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	if s.Err() != nil {
		return nil, s.Err()
	}
	if len(lines) == 0 {
		return nil, errors.New("no histogram")
	}
	return lines, nil
}

// headTime returns the number in a line #[StartTime: 1.5 (seconds since epoch), ...].
func headTime(text string) (float64, error) {
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return 0, errors.New("no time")
	}
	return number(strings.TrimRight(fields[1], "],"))
}

// number reads a finite one.
func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%.40q is no number", s)
	}
	return v, nil
}

func parseLogLine(text string) (l logLine, err error) {
	l.name = LatencyName
	if tag, rest, ok := strings.Cut(text, ","); ok && strings.HasPrefix(tag, "Tag=") {
		l.name, text = tag[len("Tag="):], rest
	}
	fields := strings.Split(text, ",")
	if len(fields) != 4 {
		return l, fmt.Errorf("%d fields, want 4", len(fields))
	}
	if l.from, err = number(fields[0]); err != nil {
		return l, err
	}
	if l.length, err = number(fields[1]); err != nil {
		return l, err
	}
	l.hist = new(Hist)
	return l, l.hist.decode(fields[3])
}

// NamedLog is a log to be merged.
type NamedLog struct {
	Name string
	io.Reader
}

// MergeLogs writes a log with the histograms of several, of generators that sent parts of
// one load at the same time: those of the same tag whose intervals begin at the same
// time, to half an interval, are added up. The intervals are as long as the first of the
// first log.
//
// It refuses logs whose tags differ, as those of different workloads do, and logs that
// begin more than spread apart. It counts: what is written has as many times of each tag
// as the logs had together. total is their number, over all tags.
func MergeLogs(w io.Writer, logs []NamedLog, spread time.Duration) (total int64, err error) {
	if len(logs) < 2 {
		return 0, errors.New("merge: want two logs or more")
	}
	var all []logLine
	var tags []string
	var begins []float64
	for i, log := range logs {
		lines, err := readLog(log)
		if err != nil {
			return 0, fmt.Errorf("merge: %s: %w", log.Name, err)
		}
		names := make(map[string]bool)
		begin := lines[0].from
		for _, l := range lines {
			names[l.name] = true
			begin = min(begin, l.from)
		}
		sorted := slices.Sorted(maps.Keys(names))
		if i == 0 {
			tags = sorted
		}
		if !slices.Equal(sorted, tags) {
			return 0, fmt.Errorf("merge: %s: other workload: it has %s, and the first %s", log.Name, strings.Join(sorted, ", "), strings.Join(tags, ", "))
		}
		begins = append(begins, begin)
		all = append(all, lines...)
	}
	begin := slices.Min(begins)
	if d := time.Duration((slices.Max(begins) - begin) * 1e9); d > spread {
		return 0, fmt.Errorf("merge: they began up to %v apart, allowed are %v: no load of one time", d.Round(time.Millisecond), spread)
	}
	return writeMerged(w, all, begin)
}

// place is an interval of a merged log, and a tag.
type logPlace struct {
	number int
	name   string
}

func writeMerged(w io.Writer, all []logLine, begin float64) (total int64, err error) {
	length := all[0].length
	if length <= 0 {
		return 0, errors.New("merge: the first interval has no length")
	}
	want, got := make(map[string]int64), make(map[string]int64)
	sums := make(map[logPlace]*logLine)
	for _, l := range all {
		want[l.name] += l.hist.Count()
		p := logPlace{int(math.Round((l.from - begin) / length)), l.name}
		sum := sums[p]
		if sum == nil {
			sums[p] = &l
			continue
		}
		if err := sum.hist.Merge(l.hist); err != nil {
			return 0, fmt.Errorf("merge: %s: %w", l.name, err)
		}
		end := max(sum.from+sum.length, l.from+l.length)
		sum.from = min(sum.from, l.from)
		sum.length = end - sum.from
	}
	places := slices.SortedFunc(maps.Keys(sums), func(a, b logPlace) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(tagRank(a.name), tagRank(b.name)), cmp.Compare(a.name, b.name))
	})
	out := NewLogWriter(w)
	if err := out.begin(time.UnixMilli(int64(math.Round(begin * 1e3)))); err != nil {
		return 0, err
	}
	for _, p := range places {
		l := sums[p]
		got[p.name] += l.hist.Count()
		total += l.hist.Count()
		offset := time.Duration((l.from - begin) * 1e9)
		if err := out.lineEach(offset, time.Duration(l.length*1e9), []NamedHist{{p.name, l.hist}}); err != nil {
			return 0, err
		}
	}
	if !maps.Equal(got, want) {
		return 0, fmt.Errorf("merge: %v times of %v", got, want)
	}
	return total, nil
}

// tagRank puts latency, which has no tag, first.
func tagRank(name string) int {
	if name == LatencyName {
		return 0
	}
	return 1
}
