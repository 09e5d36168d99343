//go:build linux

package ring

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

var ringSeeds = flag.Int("ringseeds", 200, "seeds of random operations to run")

// actor is a stream on which random things are done, with its far end. Both
// directions carry a known sequence of bytes; whatever happens, each side has got
// a prefix of what the other sent.
type actor struct {
	*rec
	id     int
	b      *bed
	rng    *rand.Rand
	peer   *ringtest.Peer
	in     []byte // what the far end sends
	out    []byte // what the stream sends
	put    int    // bytes of in written by the far end
	queued int    // bytes of out given to Send
	back   []byte // what the far end got
	paused bool
	want   int // bytes of the message in progress, counted from the last boundary
	kept   []*sgmsg.Message
	gone   bool // the far end has closed
	over   bool // the far end has seen the end
	wait   waiter

	closing, detaching, given bool
}

func (a *actor) ready(s *Stream) {
	if a.paused {
		return
	}
	for e, ok := s.Peek(); ok; e, ok = s.Peek() {
		if n := a.rng.IntN(8); n == 0 && e.Len > 1 { // part of a chunk
			e.Len = uint32(1 + a.rng.IntN(int(e.Len)))
		}
		a.got = append(a.got, e.Bytes()...)
		if a.rng.IntN(10) == 0 && len(a.kept) < 3 {
			m := new(sgmsg.Message)
			m.AppendShared(e)
			a.kept = append(a.kept, m)
		}
		s.Consume(int(e.Len))
		if a.want = max(a.want-int(e.Len), 0); a.want == 0 && a.rng.IntN(4) == 0 {
			a.want = 1 + a.rng.IntN(1<<a.rng.IntN(16))
		}
		if a.rng.IntN(20) == 0 {
			a.paused = true
			break
		}
	}
	switch a.rng.IntN(12) {
	case 0: // give a message up
		a.want = 0
	case 1:
		s.Expect(a.rng.IntN(20_000))
	}
	if a.want > 0 {
		s.Want(a.want + s.Readable())
	} else {
		s.Want(0)
	}
	a.check()
}

func (a *actor) check() {
	a.t.Helper()
	if !bytes.HasPrefix(a.in, a.got) || len(a.got) > a.put {
		a.t.Fatalf("stream %d: %d received bytes are no prefix of the %d sent", a.id, len(a.got), a.put)
	}
	if !bytes.HasPrefix(a.out, a.back) || len(a.back) > a.queued {
		a.t.Fatalf("stream %d: the far end has %d bytes that are no prefix of the %d sent", a.id, len(a.back), a.queued)
	}
}

// far moves the far end.
func (a *actor) far() {
	if a.gone {
		return
	}
	switch a.rng.IntN(8) {
	case 0, 1, 2:
		if n := min(len(a.in)-a.put, 1+a.rng.IntN(1<<a.rng.IntN(15))); n > 0 {
			n, err := a.peer.Write(a.in[a.put : a.put+n])
			a.put += n
			a.failed(err)
		}
	case 3, 4, 5:
		p := make([]byte, 1+a.rng.IntN(1<<a.rng.IntN(15)))
		n, err := a.peer.Read(p)
		a.back = append(a.back, p[:n]...)
		a.check()
		if err == io.EOF {
			a.over = true
			a.peer.Close()
			a.gone = true
			return
		}
		a.failed(err)
	case 6:
		if a.rng.IntN(1000) == 0 {
			a.put = len(a.in)
			a.failed(a.peer.CloseWrite())
			a.in = a.in[:a.put]
		}
	case 7:
		switch a.rng.IntN(4000) {
		case 0:
			a.peer.Reset()
			a.gone = true
		case 1:
			a.peer.Close()
			a.gone = true
		}
	}
}

func (a *actor) failed(err error) {
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		a.peer.Close()
		a.gone = true
	}
}

// act does something to the stream, on the loop's thread.
func (a *actor) act() {
	if a.closes > 0 || a.s == nil {
		a.let(len(a.kept))
		return
	}
	s := a.s
	switch a.rng.IntN(14) {
	case 0, 1, 2, 3:
		n := min(len(a.out)-a.queued, 1+a.rng.IntN(1<<a.rng.IntN(13)))
		if n <= 0 || s.Overdrawn() {
			s.Await(&a.wait.Waiter)
			return
		}
		m := new(sgmsg.Message)
		if m.AppendCopy(a.b.l, a.out[a.queued:a.queued+n], 0) != nil {
			return
		}
		if err := s.Send(m); err != nil {
			m.Release()
			if !a.closing && s.state == open_ && s.side.failed == nil {
				a.t.Fatalf("stream %d: Send: %v", a.id, err)
			}
			return
		}
		a.queued += n
	case 4, 5:
		a.paused = false
		s.Kick()
	case 6, 7:
		a.let(1)
	case 8:
		s.StartTimer(time.Duration(a.rng.IntN(3000))*time.Microsecond, 1)
	case 9:
		if q, w := s.Queued(), int(s.Written()); q+w != a.queued {
			a.t.Fatalf("stream %d: Queued %d and Written %d of %d bytes", a.id, q, w, a.queued)
		}
	case 10:
		switch a.rng.IntN(400) {
		case 0:
			a.closing = true
			s.Close(errOurs)
		case 1:
			if !a.detaching {
				a.closing = true
				s.Drain(errOurs)
			}
		case 2:
			if a.closing || a.detaching {
				return
			}
			a.detaching = true
			s.Detach(func(fd int, rest *sgmsg.Message, err error) {
				if a.given {
					a.t.Fatalf("stream %d is given away for the second time", a.id)
				}
				a.given = true
				if err != nil {
					if fd != -1 {
						a.t.Errorf("stream %d: detach has a descriptor and %v", a.id, err)
					}
					return
				}
				a.got = rest.AppendTo(a.got)
				a.check()
				a.b.l.Discard(fd)
			})
		}
	case 11:
		a.b.l.Post(func() { a.paused = false; s.Kick() })
	}
}

// let releases n of the chunks that are kept.
func (a *actor) let(n int) {
	for ; n > 0 && len(a.kept) > 0; n-- {
		a.kept[0].Release()
		a.kept = a.kept[1:]
	}
}

func TestRandomOperations(t *testing.T) {
	o := ringtest.Storm()
	totals := map[string]int{}
	seeds := *ringSeeds
	if invariants.Race { // the detector finds little on one goroutine and takes its time
		seeds = (seeds + 3) / 4
	}
	ringtest.Seeds(t, seeds, o, func(t *testing.T, sim *ringtest.Sim) { operate(t, sim, totals) })
	if seeds >= 50 {
		for _, what := range []string{"closed by us", "given away", "large", "evicted", "starved", "whole", "woken"} {
			if totals[what] == 0 {
				t.Errorf("%s: never; seen %v", what, totals)
			}
		}
	}
	t.Logf("%v", totals)
}

func operate(t *testing.T, sim *ringtest.Sim, totals map[string]int) {
	rng := sim.Rand()
	o := Options{
		Buffers: 4 << rng.IntN(3), BufferSize: 1 << 10, RegionBytes: 32 << 10, LargeBytes: 3 << 10, SpillBytes: 1 << 20,
		Credit: 1 << 10 << rng.IntN(3), SendSoft: 4 << 10, SendHard: 64 << 10, Linger: 5 * time.Millisecond,
		TurnBytes: 512 << rng.IntN(8),
	}
	b := newBedOn(t, sim, o)
	var all []*actor
	turns := []func(){b.turn}
	for i := range 1 + rng.IntN(6) {
		a := &actor{id: i, b: b, rng: rng, in: random(uint64(2*i), 1+rng.IntN(1<<rng.IntN(17))), out: random(uint64(2*i+1), 1+rng.IntN(40_000))}
		a.rec, a.peer = b.pair()
		a.onReady, a.onCheck, a.onExpired = a.ready, a.ready, a.ready
		a.onState = func(s *Stream, err error) {
			if err == nil && !a.detaching && rng.IntN(2) == 0 {
				a.closing = true
				s.Drain(nil)
			}
		}
		a.wait.Wake = func() { a.wait.woken++ }
		all = append(all, a)
		turns = append(turns, a.far, a.act)
	}
	for range 400 + rng.IntN(2000) {
		sim.Step(turns...)
	}
	// The end: everybody goes on and nothing is kept, so what is on its way
	// arrives, unless the connection died.
	for _, a := range all {
		a.let(len(a.kept))
		if a.s.state == open_ && !a.detaching {
			b.l.Post(func() {
				a.onReady = nil
				a.onCheck = func(s *Stream) { a.take(s); a.check() }
				a.onExpired, a.onState = nil, nil
				a.s.Kick()
			})
		}
	}
	finish := func(a *actor) func() {
		return func() {
			if !a.gone {
				var p [8 << 10]byte
				n, err := a.peer.Read(p[:])
				a.back = append(a.back, p[:n]...)
				a.failed(err)
			}
		}
	}
	turns = []func(){b.turn}
	for _, a := range all {
		turns = append(turns, finish(a))
	}
	err := sim.Run(func() bool {
		for _, a := range all {
			if a.closes == 0 && a.s.state == open_ && !a.gone && (len(a.got) < a.put || len(a.back) < a.queued) && !a.s.Ended() {
				return false
			}
		}
		return true
	}, turns...)
	if err != nil {
		for _, a := range all {
			t.Logf("stream %d: %d of %d received, the far end %d of %d; state %d, operations %b, lists %b, want %d, unread %d, closed %d times, far end gone: %v",
				a.id, len(a.got), a.put, len(a.back), a.queued, a.s.state, a.s.ops, a.s.member, a.s.want, a.s.Readable(), a.closes, a.gone)
		}
		t.Fatal(err)
	}
	for _, a := range all {
		a.check()
		switch {
		case a.given:
			totals["given away"]++
		case a.closing:
			totals["closed by us"]++
		case !a.gone && a.closes == 0 && !a.s.Ended():
			totals["whole"]++
		}
		totals["woken"] += a.wait.woken
	}
	b.close()
	for _, a := range all {
		a.let(len(a.kept))
		if a.closes != 1 {
			t.Errorf("stream %d: Closed %d times", a.id, a.closes)
		}
		if a.given != a.detaching {
			t.Errorf("stream %d: detaching %v, given away %v", a.id, a.detaching, a.given)
		}
	}
	st := b.l.Stats()
	totals["large"] += int(st.Large)
	totals["evicted"] += int(st.Evicted)
	totals["starved"] += int(st.Starved)
	b.balanced()
}
