//go:build linux

package ring

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/uapi"
	"github.com/kcm-go/kcm/ring/ringtest"
)

// logTo returns a logger without times that writes to b.
func logTo(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// logged checks what was written since the last time.
func logged(t *testing.T, b *bytes.Buffer, want ...string) {
	t.Helper()
	if got, w := b.String(), strings.Join(want, ""); got != w {
		t.Errorf("logged\n%s\nwant\n%s", got, w)
	}
	b.Reset()
}

func TestLogOfALoop(t *testing.T) {
	var log bytes.Buffer
	o := small()
	o.Name, o.Logger = "l0", logTo(&log)
	b := newBed(t, o)
	logged(t, &log, "level=INFO msg=\"loop started\" loop=l0 backend=sim\n")
	b.close()
	logged(t, &log, "level=INFO msg=\"loop ended\" loop=l0\n")

	b = newBed(t, o)
	log.Reset()
	b.spy.waitErr = syscall.EBADF
	if b.l.Turn() {
		t.Error("the loop goes on")
	}
	b.over = true
	logged(t, &log, "level=ERROR msg=\"loop ended\" loop=l0 cause=\"ring: sim: bad file descriptor\"\n")
}

// A loop that was never started has no changes of state.
func TestLogOfALoopThatNeverRan(t *testing.T) {
	var log bytes.Buffer
	l, err := New(Options{Logger: logTo(&log), Backend: Epoll})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	logged(t, &log)
}

// What a loop runs on and why is told once, when it starts.
func TestLogOfFallback(t *testing.T) {
	if _, set := os.LookupEnv(childEnv); !set {
		child(t)
		return
	}
	forbid(t, uapi.SyscallSetup, syscall.EPERM)
	var log bytes.Buffer
	l, err := New(Options{Name: "l0", Logger: logTo(&log)})
	if err == nil {
		err = l.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	notes := l.Notes()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{"level=INFO msg=\"loop started\" loop=l0 backend=epoll\n",
		fmt.Sprintf("level=WARN msg=\"loop runs on epoll\" loop=l0 cause=%q\n", notes[0])}
	for _, n := range notes[1:] {
		want = append(want, fmt.Sprintf("level=INFO msg=\"loop does without\" loop=l0 note=%q\n", n))
	}
	logged(t, &log, append(want, "level=INFO msg=\"loop ended\" loop=l0\n")...)
}

// A listener without descriptors is told of when it pauses and when it goes on; while it
// pauses again and again, five times and then once a second.
func TestLogOfAListener(t *testing.T) {
	var log bytes.Buffer
	o := small()
	o.Logger = logTo(&log)
	b := newBed(t, o)
	log.Reset()
	for range 150 {
		b.spy.refuse = append(b.spy.refuse, syscall.EMFILE)
	}
	sv := b.listen()
	b.dial(1)
	b.until("it accepts", func() bool { return len(sv.fds) == 1 })
	const paused = "level=WARN msg=\"listener paused\" loop=\"\" address=" + simAddr + " cause=\"too many open files\""
	lines := strings.SplitAfter(log.String(), "\n")
	if len(lines) != 8 || lines[0] != paused+"\n" || lines[5] != paused+" left_out=95\n" ||
		!strings.HasPrefix(lines[6], "level=INFO msg=\"listener accepts again\" loop=\"\" address=") {
		t.Errorf("logged of 150 pauses of %v\n%s", acceptPause, log.String())
	}
	log.Reset()
	b.dial(1)
	b.until("it accepts", func() bool { return len(sv.fds) == 2 })
	logged(t, &log)
}

// Without receive buffers somebody waits: it is told, and not more often than that.
func TestLogOfStarvation(t *testing.T) {
	var log bytes.Buffer
	o := small()
	o.Buffers, o.RegionBytes, o.Logger = 2, -1, logTo(&log)
	b := newBed(t, o)
	holder := b.takeBuffers(2)
	log.Reset()
	r, peer := b.pair()
	b.write(peer, make([]byte, 100))
	b.quiet()
	const short = "level=WARN msg=\"receive buffers are short\" loop=\"\" free=0\n"
	if got := log.String(); !strings.HasPrefix(got, short) || strings.Count(got, "\n") > 5 {
		t.Errorf("logged\n%s\nwant one to five times\n%s", got, short)
	}
	log.Reset()
	holder.hold.Reset()
	b.until("the stream has gone on", func() bool { return len(r.got) == 100 })
	logged(t, &log)
}

func TestLogOfMemory(t *testing.T) {
	var log bytes.Buffer
	o := small()
	o.Buffers, o.RegionBytes, o.Logger = 8, -1, logTo(&log)
	b := newBed(t, o)
	log.Reset()
	// Peers that do not read: their queues are copied.
	first, _ := b.stick(9, 2500)
	var peers []*ringtest.Peer
	for i := range 3 {
		_, peer := b.stick(uint64(i), 2500)
		peers = append(peers, peer)
	}
	b.quiet()
	if b.l.Stats().Evicted != 2 {
		t.Errorf("%d queues were copied, want 2", b.l.Stats().Evicted)
	}
	logged(t, &log, "level=WARN msg=\"receive buffers are short\" loop=\"\" free=0\n",
		"level=INFO msg=\"copied out of receive buffers\" loop=\"\" free=6 bytes=8192\n")
	// And when private memory is used up, one of them is ended for it.
	hog, err := b.l.Alloc(o.SpillBytes / 2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.l.Alloc(o.SpillBytes); !errors.Is(err, syscall.ENOMEM) {
		t.Fatalf("Alloc of more than there is: %v", err)
	}
	b.until("one is ended", func() bool { return first.closes == 1 })
	logged(t, &log, fmt.Sprintf("level=WARN msg=\"stream ended for its memory\" loop=\"\" remote=%v bytes=2499\n", first.s.RemoteAddr()))
	hog.Buf.Release()
	for i, peer := range peers {
		peer.SetReadBuffer(1 << 20)
		b.expect(peer, random(uint64(i), 2500))
	}
}

// Who has no Logger pays a comparison.
func TestNoLogCostsNothing(t *testing.T) {
	b := newBed(t, small())
	sv := b.listen()
	r, _ := b.pair()
	if n := testing.AllocsPerRun(100, func() {
		b.l.tellStarved()
		b.l.tellEvicted(true)
		r.s.tellSacrificed()
		sv.tellPaused(syscall.EMFILE)
		sv.tellAccepts()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	sv.Close()
	b.quiet()
}

// A handler of a log that is slow is a slow loop; the clock of the limit is the loop's, so
// that simulations are the same each time.
func TestLogLimitUsesTheLoopsClock(t *testing.T) {
	var log bytes.Buffer
	o := small()
	o.Logger = logTo(&log)
	b := newBed(t, o)
	log.Reset()
	for range 10 {
		b.l.tellStarved()
	}
	if n := strings.Count(log.String(), "\n"); n != 5 {
		t.Errorf("%d records at once, want 5", n)
	}
	log.Reset()
	at := b.l.Now() + time.Second
	b.l.Alarm(at)
	b.until("a second has gone by", func() bool { return b.l.Now() >= at })
	b.l.tellStarved()
	logged(t, &log, "level=WARN msg=\"receive buffers are short\" loop=\"\" free=16 left_out=5\n")
}
