package watch

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A burst, and then one in a second; what was left out is told once.
func TestLimit(t *testing.T) {
	l := Limit{Burst: 3, Every: time.Second}
	const start = 5 * time.Hour
	for i, c := range []struct {
		at   time.Duration
		left uint64
		ok   bool
	}{
		{0, 0, true}, {0, 0, true}, {1, 0, true},
		{1, 0, false}, {time.Second - 1, 0, false},
		{time.Second, 2, true}, {time.Second, 0, false},
		{2 * time.Second, 1, true},
		// After a pause the whole burst again, and no more.
		{time.Minute, 0, true}, {time.Minute, 0, true}, {time.Minute, 0, true}, {time.Minute, 0, false},
	} {
		if left, ok := l.Take(start + c.at); ok != c.ok || left != c.left {
			t.Errorf("%d: at %v: %v with %d left out, want %v with %d", i, c.at, ok, left, c.ok, c.left)
		}
	}
}

// However long and fast events come, as many are told as the limit says, and with those
// left out they are all.
func TestLimitBoundsTheRate(t *testing.T) {
	l := Limit{Burst: 5, Every: 10 * time.Millisecond}
	told, left := 0, uint64(0)
	const events = 100_000
	for i := range events {
		if n, ok := l.Take(time.Duration(i) * 100 * time.Microsecond); ok {
			told++
			left += n
		}
	}
	if told != 5+999 {
		t.Errorf("%d told in 10 s, want 1004", told)
	}
	if uint64(told)+left+l.left != events {
		t.Errorf("%d told, %d and %d left out, want %d in all", told, left, l.left, events)
	}
}

// Who does not want the level neither gets the record nor uses the limit up.
func TestTell(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	l := Limit{Burst: 1, Every: time.Second}
	Tell(log, &l, 0, slog.LevelDebug, "unwanted")
	for range 3 {
		Tell(log, &l, 0, slog.LevelWarn, "short", slog.Int(Free, 7))
	}
	Tell(log, &l, time.Second, slog.LevelWarn, "short", slog.Int(Free, 8))
	got := b.String()
	if strings.Count(got, "\n") != 2 || strings.Count(got, "msg=short") != 2 || !strings.HasSuffix(got, "free=8 left_out=2\n") {
		t.Errorf("got\n%s", got)
	}
}
