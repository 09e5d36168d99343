package watch

import (
	"context"
	"log/slog"
	"time"
)

// Limit bounds how often an event is told: Burst times at once, and then once in Every.
// What is left out is counted. It belongs to one goroutine.
type Limit struct {
	Burst int
	Every time.Duration

	due  time.Duration // when what was told would have been, at one in Every
	left uint64
}

// Take reports whether the event may be told at the time now of any one clock, and if so
// how many before it were left out.
func (l *Limit) Take(now time.Duration) (leftOut uint64, ok bool) {
	l.due = max(l.due, now)
	if l.due-now > time.Duration(l.Burst-1)*l.Every {
		l.left++
		return 0, false
	}
	l.due += l.Every
	leftOut, l.left = l.left, 0
	return leftOut, true
}

// Tell writes a record unless the limit forbids it. What the handler of a log does with
// its error is its own matter. log is not nil.
func Tell(log *slog.Logger, limit *Limit, now time.Duration, level slog.Level, what string, attrs ...slog.Attr) {
	ctx := context.Background()
	if !log.Enabled(ctx, level) {
		return
	}
	left, ok := limit.Take(now)
	if !ok {
		return
	}
	if left > 0 {
		attrs = append(attrs, slog.Uint64(LeftOut, left))
	}
	log.LogAttrs(ctx, level, what, attrs...)
}

// Because is the attribute Cause.
func Because(err error) slog.Attr { return slog.String(Cause, err.Error()) }
