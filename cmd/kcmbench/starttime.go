package main

import (
	"errors"
	"flag"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench"
)

// defineStart defines the flags of a start that several generators agree on.
func defineStart(f *flag.FlagSet, c *bench.Config) {
	f.Var(text[time.Time]{&c.StartAt, parseTime, printTime}, "start-at", "send the first message at this `time`, on which several generators agree: 2006-01-02T15:04:05Z or @SECONDS since 1970")
	f.Func("max-clock-error", "with -start-at: how far the clock may be off, as the system bounds it; 0: not looked at (default 100ms)", func(s string) error {
		d, err := time.ParseDuration(s)
		if c.MaxClockError = d; d == 0 {
			c.MaxClockError = -1
		}
		if err == nil && d < 0 {
			err = errors.New("want a time, or 0")
		}
		return err
	})
}

// parseTime reads a time as RFC 3339 has it, or as @SECONDS since 1970, what date +%s
// prints.
func parseTime(s string) (time.Time, error) {
	if seconds, ok := strings.CutPrefix(s, "@"); ok {
		v, err := strconv.ParseFloat(seconds, 64)
		if err == nil && v > 0 && v < 1e11 {
			return time.UnixMicro(int64(math.Round(v * 1e6))), nil
		}
	} else if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	return time.Time{}, errors.New("want a time such as 2006-01-02T15:04:05Z, or @SECONDS since 1970")
}

func printTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}
