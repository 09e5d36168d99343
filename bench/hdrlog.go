package bench

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// LogWriter writes an interval log of the HdrHistogram project, format 1.3: a line for
// each histogram of each Interval, in nanoseconds. Latency has no tag, every other one
// has its name for a tag. The column Interval_Max is in milliseconds, as the project's
// writers have it.
//
// hdrhistogram-go has a writer too; it keeps no more than seconds of the start time.
type LogWriter struct {
	w     io.Writer
	start time.Time
}

// NewLogWriter returns a writer to w.
func NewLogWriter(w io.Writer) *LogWriter { return &LogWriter{w: w} }

// begin writes the head of the log, once.
func (l *LogWriter) begin(start time.Time) error {
	if !l.start.IsZero() {
		return nil
	}
	l.start = start
	s := fmt.Sprintf("%d.%03d", start.Unix(), start.Nanosecond()/1e6)
	_, err := fmt.Fprintf(l.w, "#[Histogram log format version 1.3]\n"+
		"#[BaseTime: %s (seconds since epoch)]\n#[StartTime: %s (seconds since epoch), %s]\n"+
		"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
		s, s, start.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	return err
}

// seconds prints a time with milliseconds.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// Write writes the lines of an interval. The log's time begins with that of the first.
func (l *LogWriter) Write(i *Interval) error {
	if err := l.begin(i.Start); err != nil {
		return err
	}
	from := i.Start.Sub(l.start)
	return l.lineEach(from, i.To-i.From, i.Histograms())
}

func (l *LogWriter) lineEach(from, length time.Duration, hists []NamedHist) error {
	var b bytes.Buffer
	for _, h := range hists {
		if h.Name != LatencyName {
			fmt.Fprintf(&b, "Tag=%s,", tagOf(h.Name))
		}
		v2, err := h.h.EncodeV2()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s,%s,%.3f,%s\n", seconds(from), seconds(length), float64(h.h.Max())/1e6, v2)
	}
	_, err := l.w.Write(b.Bytes())
	return err
}

// tagOf makes a tag of a name: the format has no commas and spaces in one.
func tagOf(name string) string {
	return strings.Map(func(r rune) rune {
		if r == ',' || r <= ' ' || r == 0x7f {
			return '_'
		}
		return r
	}, name)
}
