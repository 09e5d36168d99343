//go:build linux

package ring

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// state returns what WriteState writes.
func state(t *testing.T, l *Loop) string {
	t.Helper()
	var b strings.Builder
	if err := l.WriteState(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// line returns the line of the state that begins with the words, blanks made one.
func line(t *testing.T, l *Loop, words string) string {
	t.Helper()
	s := state(t, l)
	for x := range strings.Lines(s) {
		if x = strings.Join(strings.Fields(x), " "); strings.HasPrefix(x, words+" ") {
			return x
		}
	}
	t.Errorf("no line begins with %q in\n%s", words, s)
	return ""
}

// The whole picture of a loop with an idle stream.
func TestWriteState(t *testing.T) {
	o := small()
	o.Name = "l0"
	b := newBed(t, o)
	sv := b.listen()
	r, peer := b.pair()
	b.write(peer, []byte("hello"))
	b.until("it is there", func() bool { return len(r.got) == 5 })
	r.s.StartTimer(70*time.Millisecond, 1)
	b.l.Post(func() {})
	got := regexp.MustCompile(`turn \d+`).ReplaceAllString(state(t, b.l), "turn N")
	const want = `loop "l0": sim, turn N
  receive buffers: 16 of 1024 bytes, 15 with the back end, 0 held
  memory in use: 0 of 65536 bytes of the large region, 0 of 1048576 private
  posted: 1; timers: 1, the next within 64ms; spin budget: 0s
  streams with news: 0; to send: 0; without write space: 0; closing: 0; without receive buffer: 0; without region: 0; holding buffers: 0; reading ahead: 0
  listener 1.0 fd 65536 10.0.0.1:80: accepting
  stream     fd     state         unread    wanted       out    pushed         sent  in flight            remote
  2.0        65537  open               0         0         0         0            0  recv                 10.0.0.1:1; timer in 71ms
`
	if x := strings.Replace(got, r.s.RemoteAddr().String(), "10.0.0.1:1", 1); x != want {
		t.Errorf("got\n%s\nwant\n%s", x, want)
	}
	sv.Close()
	b.close()
	if got := state(t, b.l); got != "loop \"l0\": sim, ended\n" {
		t.Errorf("after Close: %s", got)
	}
}

// What a stream waits for is said in its line.
func TestWriteStateOfStreams(t *testing.T) {
	o := small()
	o.SendTimeout = 10 * time.Second
	b := newBed(t, o)
	stuck, peer := b.stick(1, 3000)
	want := fmt.Sprintf("1.0 %d open 0 0 2999 0 1 recv,poll %v; waits for write space; ends in 10.001s", stuck.s.fd, stuck.s.RemoteAddr())
	if got := line(t, b.l, "1.0"); got != want {
		t.Errorf("stuck: %s\nwant %s", got, want)
	}
	stuck.s.Drain(nil)
	if got := line(t, b.l, "1.0"); !strings.Contains(got, " draining ") {
		t.Errorf("draining: %s", got)
	}
	stuck.s.Close(errors.New("enough"))
	if got := line(t, b.l, "1.0"); !strings.Contains(got, " closing 0 0 2999 0 1 (recv),(poll) ") {
		t.Errorf("closing: %s", got)
	}
	b.until("it is gone", func() bool { return stuck.closes == 1 })
	peer.Close()

	failed, _ := b.opened()
	failed.keep = true
	failed.s.fail(syscall.EPIPE)
	if got := line(t, b.l, "1.1"); !strings.HasSuffix(got, "; sending: broken pipe") {
		t.Errorf("failed: %s", got)
	}
}

// Who waits for memory, and for which.
func TestWriteStateOfMemory(t *testing.T) {
	o := small()
	o.Buffers, o.RegionBytes = 2, -1
	b := newBed(t, o)
	holder := b.takeBuffers(2)
	r, peer := b.pair()
	b.write(peer, make([]byte, 100))
	b.quiet()
	if got := line(t, b.l, "2.0"); !strings.HasSuffix(got, "; waits for a receive buffer") {
		t.Errorf("%s", got)
	}
	if got := line(t, b.l, "receive buffers:"); got != "receive buffers: 2 of 1024 bytes, 0 with the back end, 2 held" {
		t.Errorf("%s", got)
	}
	holder.hold.Reset()
	b.until("it goes on", func() bool { return len(r.got) == 100 })
}

// A listener that cannot accept says so.
func TestWriteStateOfAListener(t *testing.T) {
	b := newBed(t, small())
	b.spy.refuse = []syscall.Errno{syscall.EMFILE}
	sv := b.listen()
	b.until("it pauses", func() bool { return sv.pause.Armed() })
	if got := line(t, b.l, "listener"); !strings.HasSuffix(got, "paused: no descriptors or memory") {
		t.Errorf("%s", got)
	}
	sv.Close()
	if got := line(t, b.l, "listener"); !strings.HasSuffix(got, "ending") {
		t.Errorf("%s", got)
	}
}

// A loop whose handler does not return is known by its stack.
func TestWriteStateOfAStuckLoop(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l := start(t, Options{Backend: be, Name: "stuck " + be.String()})
		entered, leave := make(chan struct{}), make(chan struct{})
		l.Post(func() { notReturning(entered, leave) })
		<-entered
		got := state(t, l)
		want := fmt.Sprintf("loop %q: %s, does not answer for 1s\n  goroutine {\"kcm_loop\":%q}\n", l.opt.Name, l.Backend(), l.opt.Name)
		if !strings.HasPrefix(got, want) || !strings.Contains(got, "ring.notReturning+") {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		close(leave)
		if got := state(t, l); !strings.Contains(got, ", turn ") {
			t.Errorf("when it has gone on\n%s", got)
		}
	})
}

func notReturning(entered chan<- struct{}, leave <-chan struct{}) {
	close(entered)
	<-leave
}

// From several goroutines, from the loop itself, and while it ends.
func TestWriteStateFromAnywhere(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		l, err := New(Options{Backend: be, Name: "l0"})
		if err != nil {
			t.Fatal(err)
		}
		if got := state(t, l); got != fmt.Sprintf("loop \"l0\": %s, not started\n", l.Backend()) {
			t.Errorf("before Start: %s", got)
		}
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		r := &rec{t: t}
		peer := attach(t, l, r)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					if got := state(t, l); !strings.Contains(got, "1.0 ") && !strings.Contains(got, "ended") && !strings.Contains(got, ", closing\n") {
						t.Errorf("no stream in\n%s", got)
						return
					}
				}
			})
		}
		for range 100 {
			peer.Write(make([]byte, 5000))
		}
		var own string
		if err := l.Do(func() { own = state(t, l) }); err != nil || !strings.Contains(own, "1.0 ") {
			t.Errorf("on the loop: %v\n%s", err, own)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if got := state(t, l); !strings.HasSuffix(got, ", ended\n") {
			t.Errorf("after Close: %s", got)
		}
	})
}

// A loop that failed says why.
func TestWriteStateOfAFailedLoop(t *testing.T) {
	b := newBed(t, small())
	b.spy.waitErr = syscall.EBADF
	b.turn()
	if got := state(t, b.l); got != "loop \"\": sim, ended: ring: sim: bad file descriptor\n" {
		t.Errorf("%s", got)
	}
}
