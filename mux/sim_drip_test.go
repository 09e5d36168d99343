//go:build linux

package mux

import (
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

// A peer sends a message a byte at a time, each of which comes in a receive buffer of its own.
// They are copied together before buffers are short, each byte costs a turn or two, and the
// peer's time is that of the message, not of the byte.
func TestMessageThatDripsEndsInTime(t *testing.T) {
	const limit = time.Second
	theLives(t, Options{AssemblyTimeout: limit}, func(w *lives) {
		p, peer := w.pair()
		msg := frames(string(make([]byte, 1000)))
		w.write(peer, msg[:1])
		w.until("the first byte is there", func() bool { return w.l.Stats().BytesIn == 1 })
		began := w.l.Now()
		for n := 1; w.l.Now() < began+limit*19/20; n++ {
			turns := w.l.Stats().Turns
			w.write(peer, msg[n:n+1])
			w.pass(limit / 60)
			if st := w.l.Stats(); st.BuffersFree < st.Buffers/4-1 {
				t.Fatalf("after %d bytes it holds %d of %d receive buffers", n, st.Buffers-st.BuffersFree, st.Buffers)
			}
			if d := w.l.Stats().Turns - turns; d > 5 {
				t.Fatalf("a byte cost %d turns", d)
			}
		}
		if w.l.Stats().Evicted == 0 {
			t.Error("buffers were never short")
		}
		w.endsAt(p, began+limit-time.Millisecond, began+limit+2*time.Millisecond)
	})
}

// A peer takes a few bytes whenever SendTimeout is nearly over, which is progress. What waits
// for it stays within the soft limit and one message, however many it asks for; its other
// messages stay in the kernel.
func TestReaderThatTricklesKeepsABoundedQueue(t *testing.T) {
	const limit = time.Second
	theLivesOn(t, func(ro *ring.Options) { ro.SendTimeout = limit }, Options{}, func(w *lives) {
		const reply = 1000
		handled := 0
		w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict {
			handled++
			if err := p.SendPayload(make([]byte, reply)); err != nil {
				t.Fatal(err)
			}
			return Done
		})
		p, peer := w.pair()
		peer.SetReadBuffer(100)
		ask := frames("?")
		most := w.l.Options().SendSoft + reply + 4
		got := 0
		var b [50]byte
		for range 30 {
			for range 100 {
				if _, err := peer.Write(ask); err != nil {
					break // EAGAIN
				}
			}
			w.pass(limit * 9 / 10)
			w.stands(p)
			if n := p.stream.Queued(); n > most {
				t.Fatalf("%d bytes wait, want at most %d", n, most)
			}
			n, _ := peer.Read(b[:]) // EAGAIN
			got += n
		}
		if most := (got+most)/reply + 2; handled > most {
			t.Errorf("%d messages handled, of whose replies %d bytes were taken; want at most %d", handled, got, most)
		}
		now := w.l.Now()
		w.endsAt(p, now, now+2*limit) // it takes nothing more
	})
}

// A connection is made to wait for another one, which does not read, and its peer goes on in
// segments of one byte, each of which comes in a receive buffer of its own. They are copied
// together when buffers run short, and others are served at once.
func TestTinySegmentsOfAPausedConnectionPinNoBuffers(t *testing.T) {
	o := Options{}
	o.Ring.SendTimeout = -1
	theLives(t, o, func(w *lives) {
		sink, _ := w.pair()
		handled := 0
		w.m.Handle(func(p *Psock, msg *sgmsg.Message) Verdict {
			if p.Value() == nil {
				handled++
			} else if err := sink.SendPayload(make([]byte, 16<<10)); err != nil {
				t.Fatal(err)
			}
			return Done
		})
		p, peer := w.pair()
		p.SetValue(true)
		_, honest := w.pair()
		for n := 0; p.holds == 0; n++ {
			w.write(peer, frames("?"))
			w.pass(time.Millisecond)
			if n == 100 {
				t.Fatal("the connection is not made to wait")
			}
		}
		buffers := w.l.Options().Buffers
		part := frames(string(make([]byte, 8*buffers)))
		for i := range 4 * buffers {
			w.write(peer, part[i:i+1])
			w.pass(time.Millisecond)
		}
		for i := range 3 {
			asked := w.l.Now()
			w.write(honest, frames("hello"))
			w.until("the honest message is handled", func() bool { return handled == i+1 })
			if d := w.l.Now() - asked; d > 2*time.Millisecond {
				t.Errorf("the honest message was handled after %v", d)
			}
		}
		if st := w.l.Stats(); st.BuffersFree == 0 || p.stream.Readable() == 0 {
			t.Errorf("%d buffers free, %d bytes unread", st.BuffersFree, p.stream.Readable())
		}
	})
}

// Many peers drip at once, so that of each only a byte or two are copied out of receive
// buffers at a time. The private memory they get that way is in proportion to their bytes.
func TestDripsTakePrivateMemoryForTheirBytesOnly(t *testing.T) {
	theLives(t, Options{}, func(w *lives) {
		const peers, each = 40, 60
		msg := frames(string(make([]byte, 1000)))
		var all []*ringtest.Peer
		for range peers {
			_, peer := w.pair()
			w.write(peer, msg[:4])
			all = append(all, peer)
		}
		for i := range each {
			for _, peer := range all {
				w.write(peer, msg[4+i:5+i])
			}
			w.pass(time.Millisecond)
		}
		const most = peers * 2 * 512 // blocks of private memory
		if st := w.l.Stats(); st.Evicted == 0 || st.SpillUsed > most {
			t.Errorf("%d times evicted, %d bytes of private memory for %d bytes of %d peers, want at most %d",
				st.Evicted, st.SpillUsed, peers*each, peers, most)
		}
	})
}
