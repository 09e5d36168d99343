//go:build linux

package mux

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/sgmsg"
)

const idleTime = 2 * time.Second

// idles checks that a connection that was not idle until now ends a time-out from now, and
// not more than a quarter after that.
func (w *lives) idles(p *Psock) {
	w.t.Helper()
	now := w.l.Now()
	w.endsAt(p, now+idleTime, now+idleTime+idleTime/4+10*time.Millisecond)
}

// stands checks that a connection has not ended.
func (w *lives) stands(p *Psock) {
	w.t.Helper()
	if e, over := w.ended[p]; over {
		w.t.Fatalf("the connection ended at %v: %v", e.at, e.err)
	}
}

// Connections that never do anything, or no longer do, end when the time is up; what they
// have been sent before has left.
func TestIdleConnectionEnds(t *testing.T) {
	theLives(t, Options{IdleTimeout: idleTime}, func(w *lives) {
		w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict { p.Send(msg); return Done })
		w.pass(time.Duration(w.s.Rand().Int64N(int64(time.Second))))
		p, _ := w.pair()
		w.idles(p)
		p, peer := w.pair()
		for range 7 {
			w.pass(time.Duration(w.s.Rand().Int64N(int64(idleTime))))
			w.stands(p)
			w.write(peer, frames("hello"))
			w.reads(peer, string(frames("hello")))
		}
		w.idles(p)
		if n := peer.Buffered(); n != 0 {
			t.Errorf("the peer finds %d bytes more", n)
		}
	})
}

// A message either way keeps a connection up, as long as it comes within the time-out.
func TestActiveConnectionIsNotIdle(t *testing.T) {
	theLives(t, Options{IdleTimeout: idleTime}, func(w *lives) {
		w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict { return Done })
		talks, talker := w.pair()
		hears, hearer := w.pair()
		for range 20 {
			w.pass(idleTime * 9 / 10)
			w.write(talker, frames("x"))
			if err := hears.SendPayload([]byte("y")); err != nil {
				t.Fatal(err)
			}
			w.reads(hearer, string(frames("y")))
			w.stands(talks)
			w.stands(hears)
		}
		w.idles(talks)
		w.ends(hears)
	})
}

// A message that is with a worker, for however long, keeps its connection up; then the
// time begins.
func TestConnectionWithWorkIsNotIdle(t *testing.T) {
	theLives(t, Options{IdleTimeout: idleTime}, func(w *lives) {
		sock := w.socket()
		p, peer := w.pair()
		w.write(peer, frames("hard"))
		var r *Received
		w.until("a worker has it", func() (ok bool) { r, ok = sock.TryRecv(); return ok })
		r.Release()
		w.pass(10 * idleTime)
		w.stands(p)
		r.Done()
		w.idles(p)
	})
}

// A message that waits for a reader does so too, and one that is parked.
func TestConnectionThatWaitsForWorkersIsNotIdle(t *testing.T) {
	theLives(t, Options{IdleTimeout: idleTime, QueueBytes: 1}, func(w *lives) {
		p, peer := w.pair()
		w.write(peer, frames("first", "second", "third"))
		w.pass(10 * idleTime)
		w.stands(p)
		sock := w.socket()
		for n := 0; n < 3; {
			w.until("it is received", func() bool {
				r, ok := sock.TryRecv()
				if ok {
					n++
					r.Release()
					r.Done()
				}
				return ok
			})
		}
		w.idles(p)
	})
}

// Bytes that the peer does not read are not sent: the connection is not idle until it has
// read them. (How long that may take is SendTimeout's.)
func TestConnectionWithUnsentBytesIsNotIdle(t *testing.T) {
	o := Options{IdleTimeout: idleTime}
	o.Ring.SendTimeout = -1
	theLives(t, o, func(w *lives) {
		p, peer := w.pair()
		peer.SetReadBuffer(100)
		var b [1000]byte
		if err := p.SendPayload(b[:]); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * idleTime)
		w.stands(p)
		if p.stream.Queued() == 0 {
			t.Fatal("everything was sent")
		}
		got := 0
		w.until("the peer has read it", func() bool {
			n, _ := peer.Read(b[:]) // EAGAIN
			got += n
			return got == 1004
		})
		w.idles(p)
	})
}

// A connection that is made to wait for another one, which does not read, is not idle:
// its messages are unread because of us.
func TestConnectionThatIsMadeToWaitIsNotIdle(t *testing.T) {
	o := Options{IdleTimeout: idleTime}
	theLives(t, o, func(w *lives) {
		to, sink := w.pair()
		sink.SetReadBuffer(100)
		w.m.Handle(func(_ *Psock, msg *sgmsg.Message) Verdict { to.Send(msg); return Done })
		p, peer := w.pair()
		const messages = 12
		big := string(make([]byte, 1500))
		for range messages {
			w.write(peer, frames(big))
		}
		w.pass(3 * idleTime)
		w.stands(p)
		if p.holds == 0 {
			t.Fatal("the connection was not made to wait")
		}
		var b [4096]byte
		got := 0
		w.until("the sink has read", func() bool {
			n, _ := sink.Read(b[:]) // EAGAIN
			got += n
			return got == messages*len(frames(big))
		})
		w.stands(p)
		w.idles(to)
		w.ends(p)
	})
}

// Bytes that never make a message do not count, though they come all the time.
func TestSlowHalfMessageIsIdle(t *testing.T) {
	theLives(t, Options{IdleTimeout: idleTime, AssemblyTimeout: -1}, func(w *lives) {
		w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict { return Done })
		p, peer := w.pair()
		w.pass(idleTime / 2)
		w.write(peer, frames("whole"))
		w.handled()
		from := w.l.Now()
		long := frames(string(make([]byte, 1000)))
		for w.l.Now() < from+idleTime*9/10 {
			w.stands(p)
			w.write(peer, long[:10])
			long = long[10:]
			w.pass(idleTime / 20)
		}
		e := w.ends(p)
		var pe *PsockError
		if !errors.As(e.err, &pe) || !errors.Is(pe, syscall.ETIMEDOUT) || pe.Dropped == 0 {
			t.Errorf("it ended with %v, want ETIMEDOUT and some bytes dropped", e.err)
		}
		if e.at < from+idleTime || e.at > from+idleTime+idleTime/4+10*time.Millisecond {
			t.Errorf("it ended at %v, %v after its last message", e.at, e.at-from)
		}
	})
}

// handled waits until what was written has been handled.
func (w *lives) handled() {
	w.t.Helper()
	n := w.m.Stats().RxMessages
	w.until("it is handled", func() bool { return w.m.Stats().RxMessages > n })
}

func TestIdleTimeoutIsChecked(t *testing.T) {
	o := Options{IdleTimeout: -1}
	if err := o.checkIdle(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v, want EINVAL", err)
	}
}
