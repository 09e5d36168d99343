//go:build linux

package ring

import (
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/ringtest"
	"github.com/kcm-go/kcm/sgmsg"
)

// fillRegion makes a stream that holds the whole region in a body that is in
// progress, the first size bytes of it there.
func (b *bed) fillRegion(size int) (*rec, *ringtest.Peer) {
	b.t.Helper()
	r, peer := b.pair()
	r.need = size
	b.write(peer, make([]byte, 10))
	b.until("the region is in use", func() bool { return r.s.side.body.Buf != 0 })
	if used := b.l.mem.region.InUse(); used != b.l.opt.RegionBytes {
		b.t.Fatalf("%d bytes of the region are in use, want all %d", used, b.l.opt.RegionBytes)
	}
	return r, peer
}

// takeBuffers makes a stream whose handler holds n receive buffers.
func (b *bed) takeBuffers(n int) *rec {
	b.t.Helper()
	r, peer := b.pair()
	r.hold = new(sgmsg.Message)
	b.write(peer, make([]byte, n*b.l.opt.BufferSize))
	b.until("the buffers are held", func() bool { return len(r.got) == n*b.l.opt.BufferSize })
	return r
}

// shortage makes receive buffers scarce, so that a body that finds no room in the
// region has to wait for it and is not received in chunks.
func (b *bed) shortage() *rec {
	b.t.Helper()
	r := b.takeBuffers(b.l.opt.Buffers*3/4 + 1)
	r.onClosed = func(*Stream) { r.hold.Reset() }
	return r
}

// Bodies that find no room are served in the order in which they asked.
func TestRegionIsGrantedInOrder(t *testing.T) {
	b := newBed(t, small())
	const size = 50_000
	first, firstPeer := b.fillRegion(size)
	b.shortage()
	var order []int
	var streams []*rec
	var peers []*ringtest.Peer
	for i := range 4 {
		r, peer := b.pair()
		r.need = size
		r.onReady = func(s *Stream) {
			if r.take(s); len(r.got) == size {
				order = append(order, i)
				s.Close(nil)
			}
		}
		b.write(peer, random(uint64(i), size)[:10])
		b.quiet()
		if len(r.got) != 10 || r.s.ops != 0 {
			t.Fatalf("stream %d does not wait: %d bytes, operations %b", i, len(r.got), r.s.ops)
		}
		streams, peers = append(streams, r), append(peers, peer)
	}
	for i, peer := range peers {
		b.write(peer, random(uint64(i), size)[10:])
	}
	b.quiet()
	if len(order) != 0 {
		t.Fatalf("streams %v went on without memory", order)
	}
	b.write(firstPeer, make([]byte, size-10))
	b.until("all are done", func() bool { return len(order) == len(streams) })
	if !slices.Equal(order, []int{0, 1, 2, 3}) {
		t.Errorf("served in the order %v", order)
	}
	for i, r := range streams {
		same(t, "received", r.got, random(uint64(i), size))
	}
	if len(first.got) != size {
		t.Errorf("the first has %d bytes", len(first.got))
	}
}

// waitForRegion makes a stream that waits for the region, all of whose bytes have
// been sent.
func (b *bed) waitForRegion(size int) *rec {
	b.t.Helper()
	r, peer := b.pair()
	r.need = size
	b.write(peer, make([]byte, 10))
	b.quiet()
	b.write(peer, make([]byte, size-10))
	b.quiet()
	if len(r.got) != 10 || r.s.ops != 0 {
		b.t.Fatalf("the stream does not wait: %d bytes, operations %b", len(r.got), r.s.ops)
	}
	return r
}

// Memory may be released by what runs between the loop's look at those who wait
// for it and its sleep: a timer, or the end of another stream.
func TestRegionReleasedLateInTheTurn(t *testing.T) {
	const size = 50_000
	t.Run("by a timer", func(t *testing.T) {
		b := newBed(t, small())
		holder, peer := b.fillRegion(size)
		b.shortage()
		holder.hold = new(sgmsg.Message)
		b.write(peer, make([]byte, size-10))
		b.until("the body is held", func() bool { return len(holder.got) == size })
		r := b.waitForRegion(size)
		holder.onExpired = func(*Stream) { holder.hold.Reset() }
		holder.s.StartTimer(10*tick, 1)
		b.until("the other stream has gone on", func() bool { return len(r.got) == size })
	})
	t.Run("by the end of a stream", func(t *testing.T) {
		b := newBed(t, small())
		holder, _ := b.fillRegion(size)
		b.shortage()
		r := b.waitForRegion(size)
		holder.s.Close(nil)
		b.until("the other stream has gone on", func() bool { return len(r.got) == size })
	})
	t.Run("by the end of a stream with nothing in flight", func(t *testing.T) {
		b := newBed(t, small())
		holder, peer := b.fillRegion(size)
		b.shortage()
		holder.keep = true
		b.write(peer, make([]byte, size-10))
		b.until("the body is unread", func() bool { return holder.s.Readable() == size-10 })
		r := b.waitForRegion(size)
		holder.onExpired = func(s *Stream) { s.Close(nil) }
		holder.s.StartTimer(10*tick, 1)
		b.until("the other stream has gone on", func() bool { return len(r.got) == size })
	})
}

// Behind a stream that waits for the region another may wait only because there
// was no receive buffer. Both go on when these come back, though the region is
// held by a peer that sends nothing.
func TestBuffersServeThoseInLineForTheRegion(t *testing.T) {
	o := small()
	o.Buffers = 8
	b := newBed(t, o)
	b.fillRegion(50_000)
	r, peer := b.pair()
	r.need = 500
	b.write(peer, make([]byte, 10))
	b.until("the message has begun", func() bool { return len(r.got) == 10 })
	holder := b.takeBuffers(7)
	large := b.waitForRegion(50_000)
	last := b.takeBuffers(1)
	b.write(peer, make([]byte, 490))
	b.quiet()
	if len(r.got) != 10 {
		t.Fatalf("%d bytes came without memory", len(r.got))
	}
	last.hold.Reset()
	b.until("the small message is there", func() bool { return len(r.got) == 500 })
	holder.hold.Reset()
	b.until("the large message is there", func() bool { return len(large.got) == 50_000 })
}

// Without receive buffers a message in progress goes on through the region,
// however short its rest is; a stream between two messages waits.
func TestMessagesInProgressGoOnWithoutBuffers(t *testing.T) {
	o := small()
	o.Buffers = 2
	b := newBed(t, o)
	r, peer := b.pair()
	r.need = 500
	idle, idlePeer := b.pair()
	b.write(peer, random(1, 500)[:10])
	b.until("the message has begun", func() bool { return len(r.got) == 10 })
	holder := b.takeBuffers(2)
	b.write(idlePeer, random(2, 100))
	b.write(peer, random(1, 500)[10:])
	b.until("the message is there", func() bool { return len(r.got) == 500 })
	same(t, "received", r.got, random(1, 500))
	b.quiet()
	if len(idle.got) != 0 {
		t.Error("the other stream went on without a buffer")
	}
	if b.l.Stats().Starved == 0 {
		t.Error("Stats.Starved is 0")
	}
	holder.hold.Reset()
	b.until("the other stream goes on", func() bool { return len(idle.got) == 100 })
}

// The same as with the region: buffers released between the loop's look and its
// sleep are seen.
func TestBuffersReleasedLateInTheTurn(t *testing.T) {
	o := small()
	o.Buffers, o.RegionBytes = 2, -1
	b := newBed(t, o)
	holder := b.takeBuffers(2)
	r, peer := b.pair()
	b.write(peer, make([]byte, 3000))
	b.quiet()
	holder.onExpired = func(*Stream) { holder.hold.Reset() }
	holder.s.StartTimer(10*tick, 1)
	b.until("the stream has gone on", func() bool { return len(r.got) == 3000 })
}

func TestStarvedStreamsGoOnInTurn(t *testing.T) {
	o := small()
	o.Buffers, o.RegionBytes = 2, -1
	b := newBed(t, o)
	holder := b.takeBuffers(2)
	var streams []*rec
	for i := range 5 {
		r, peer := b.pair()
		b.write(peer, random(uint64(i), 3000))
		streams = append(streams, r)
	}
	b.quiet()
	holder.hold.Reset()
	b.until("all go on", func() bool {
		return !slices.ContainsFunc(streams, func(r *rec) bool { return len(r.got) < 3000 })
	})
	for i, r := range streams {
		same(t, "received", r.got, random(uint64(i), 3000))
	}
}

// A release on another goroutine wakes the loop that sleeps for want of memory.
func TestReleaseElsewhereWakesTheLoop(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		const size = 50_000
		for what, need := range map[string]int{"buffers": 0, "region": size} {
			t.Run(what, func(t *testing.T) {
				o := small()
				o.Backend, o.Buffers = be, 8
				if need == 0 {
					o.RegionBytes = -1
				}
				l := start(t, o)
				holder := &rec{t: t, need: need, hold: new(sgmsg.Message)}
				peer := attach(t, l, holder)
				if need > 0 { // the head takes a buffer, which is not held
					peer.Write(make([]byte, 10))
					waitOn(t, l, "the body has begun", func() bool { return holder.s.side.body.Buf != 0 })
					do(t, l, func() { holder.hold.Reset() })
					peer.Write(make([]byte, size-10))
					waitOn(t, l, "the body is held", func() bool { return len(holder.got) == size })
					greedy := &rec{t: t, hold: new(sgmsg.Message)}
					attach(t, l, greedy).Write(make([]byte, 7<<10))
					waitOn(t, l, "the buffers are held", func() bool { return len(greedy.got) == 7<<10 })
					defer greedy.hold.Reset()
				} else {
					peer.Write(make([]byte, 8<<10))
					waitOn(t, l, "the buffers are held", func() bool { return len(holder.got) == 8<<10 })
				}
				r := &rec{t: t, need: need}
				want := random(1, size)
				peer = attach(t, l, r)
				go func() {
					peer.Write(want[:10])
					peer.Write(want[10:])
				}()
				waitOn(t, l, "the other stream waits", func() bool { return r.s.member&(1<<inStarved|1<<inQueued) != 0 })
				asleep(t, l)
				holder.hold.Reset()
				waitOn(t, l, "the other stream has gone on", func() bool { return len(r.got) == size })
				same(t, "received", r.got, want)
			})
		}
	})
}

// Buffers that travel to other goroutines and back, a few at a time, while the
// loop sleeps and wakes.
func TestBuffersComeAndGoBetweenGoroutines(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		o := small()
		o.Backend, o.Buffers, o.RegionBytes = be, 4, -1
		l := start(t, o)
		work := make(chan *sgmsg.Message, 64)
		var workers sync.WaitGroup
		for range 3 {
			workers.Go(func() {
				for m := range work {
					m.Release()
				}
			})
		}
		r := &rec{t: t}
		r.onReady = func(s *Stream) {
			for e, ok := s.Peek(); ok; e, ok = s.Peek() {
				r.got = append(r.got, e.Bytes()...)
				m := new(sgmsg.Message)
				m.AppendShared(e)
				s.Consume(int(e.Len))
				work <- m
			}
		}
		want := random(2, 1<<20)
		go attach(t, l, r).Write(want)
		waitOn(t, l, "all has come", func() bool { return len(r.got) == len(want) })
		same(t, "received", r.got, want)
		close(work)
		workers.Wait()
	})
}

// Unread bytes of paused streams do not pin receive buffers when these are short.
func TestUnreadBytesAreEvicted(t *testing.T) {
	o := small()
	o.Buffers, o.Credit = 8, 1<<10
	b := newBed(t, o)
	var streams []*rec
	for i := range 4 {
		r, peer := b.pair()
		r.keep = true
		b.write(peer, random(uint64(i), 1500))
		b.quiet()
		streams = append(streams, r)
	}
	st := b.l.Stats()
	if st.Evicted == 0 || st.BuffersFree < 2 || st.SpillUsed == 0 {
		t.Errorf("%d queues are evicted, %d buffers free, %d bytes of private memory in use", st.Evicted, st.BuffersFree, st.SpillUsed)
	}
	for i, r := range streams {
		r.take(r.s)
		same(t, "received", r.got, random(uint64(i), 1500))
	}
	b.noMemory()
}

// A handler that holds consumed chunks of a message is asked to let go of them,
// and one that holds nothing is not.
func TestHandlersAreAskedToLetGo(t *testing.T) {
	o := small()
	o.Buffers = 8
	b := newBed(t, o)
	var holders []*rec
	for i := range 4 {
		r, peer := b.pair()
		r.hold, r.owns = new(sgmsg.Message), true
		b.write(peer, random(uint64(i), 1500))
		b.quiet()
		holders = append(holders, r)
	}
	other, peer := b.pair()
	b.write(peer, make([]byte, 100))
	b.quiet()
	if st := b.l.Stats(); st.BuffersFree < 2 || holders[0].evicted == 0 || other.evicted != 0 {
		t.Errorf("%d buffers are free, Evict was called %d and %d times", st.BuffersFree, holders[0].evicted, other.evicted)
	}
	for i, r := range holders {
		same(t, "held", r.hold.AppendTo(nil), random(uint64(i), 1500))
		r.hold.Reset()
	}
	b.noMemory()
}

// stick makes an echo whose peer does not read, so that n bytes wait in the out
// queue in receive buffers.
func (b *bed) stick(seed uint64, n int) (*rec, *ringtest.Peer) {
	b.t.Helper()
	r, peer := b.pair()
	peer.SetReadBuffer(1)
	r.onReady = func(s *Stream) {
		for e, ok := s.Peek(); ok; e, ok = s.Peek() {
			var m sgmsg.Message
			m.AppendShared(e)
			if err := s.Send(&m); err != nil {
				b.t.Error(err)
				m.Release()
			}
			s.Consume(int(e.Len))
		}
	}
	b.write(peer, random(seed, n))
	b.until("the bytes wait", func() bool { return r.s.Queued() == n-1 || r.closes > 0 })
	return r, peer
}

// Queues of peers that do not read do not pin receive buffers when these are
// short, and still arrive in order.
func TestStuckQueuesAreEvicted(t *testing.T) {
	o := small()
	o.Buffers = 8
	b := newBed(t, o)
	var peers []*ringtest.Peer
	for i := range 4 {
		_, peer := b.stick(uint64(i), 2500)
		peers = append(peers, peer)
	}
	b.quiet()
	st := b.l.Stats()
	if st.Evicted == 0 || st.BuffersFree < 2 {
		t.Fatalf("%d queues are evicted, %d buffers free", st.Evicted, st.BuffersFree)
	}
	for i, peer := range peers {
		peer.SetReadBuffer(1 << 20)
		b.expect(peer, random(uint64(i), 2500))
	}
	b.quiet()
	b.noMemory()
}

// When private memory is used up as well, the stream that has been stuck for
// longest is ended, and only that one.
func TestLongestStuckEndsWhenPrivateMemoryIsUsedUp(t *testing.T) {
	o := small()
	o.Buffers, o.RegionBytes = 8, -1
	b := newBed(t, o)
	hog, err := b.l.Alloc(o.SpillBytes)
	if err != nil {
		t.Fatal(err)
	}
	oldest, _ := b.stick(1, 3000)
	young, youngPeer := b.stick(2, 3000)
	holder := b.takeBuffers(1)
	b.quiet()
	if oldest.closes != 1 || !isErrno(oldest.cause, syscall.ENOBUFS) || oldest.rest != 2999 {
		t.Errorf("the longest stuck: Closed %d times, with %v and %d bytes", oldest.closes, oldest.cause, oldest.rest)
	}
	if young.closes != 0 {
		t.Errorf("the other was closed: %v", young.cause)
	}
	holder.hold.Reset()
	youngPeer.SetReadBuffer(1 << 20)
	b.expect(youngPeer, random(2, 3000))
	hog.Buf.Release()
}

// A message taken from a stream outlives it and its loop.
func TestMessageOutlivesTheLoop(t *testing.T) {
	each(t, func(t *testing.T, be Backend) {
		o := small()
		o.Backend = be
		descriptors(t)
		l, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Start(); err != nil {
			t.Fatal(err)
		}
		const size = 20_000
		r := &rec{t: t, need: size, hold: new(sgmsg.Message)}
		want := random(3, size)
		peer := attach(t, l, r)
		peer.Write(want[:100])
		waitOn(t, l, "the body has begun", func() bool { return r.s.side.body.Buf != 0 })
		peer.Write(want[100:])
		waitOn(t, l, "all has come", func() bool { return len(r.got) == size })
		reply := message(t, l, want[:300])
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		same(t, "held after Close", r.hold.AppendTo(nil), want)
		same(t, "private memory after Close", reply.AppendTo(nil), want[:300])
		if _, err := l.Alloc(1); !isErrno(err, syscall.ENOMEM) {
			t.Errorf("Alloc after Close: %v, want ENOMEM", err)
		}
		var done sync.WaitGroup
		done.Go(reply.Release)
		done.Go(r.hold.Release)
		done.Wait()
		if st := l.Stats(); st.Opened != 1 || st.Closed != 1 {
			t.Errorf("after the end: %d opened, %d closed, want 1 and 1", st.Opened, st.Closed)
		}
	})
}

func TestAllocIsForAllGoroutines(t *testing.T) {
	l := start(t, Options{Backend: Epoll, SpillBytes: 1 << 20})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 500 {
				e, err := l.Alloc(1 + i*7%5000)
				if err != nil {
					t.Error(err)
					return
				}
				e.Buf.Release()
			}
		})
	}
	wg.Wait()
}

func TestOptionsThatCannotHold(t *testing.T) {
	for what, change := range map[string]func(*Options){
		"Backend":           func(o *Options) { o.Backend = Epoll + 1 },
		"Buffers":           func(o *Options) { o.Buffers = 3 },
		"Buffers, negative": func(o *Options) { o.Buffers = -1 },
		"Buffers, too many": func(o *Options) { o.Buffers = 1 << 16 },
		"BufferSize":        func(o *Options) { o.BufferSize = 512 },
		"BufferSize, odd":   func(o *Options) { o.BufferSize = 5000 },
		"LargeBytes":        func(o *Options) { o.LargeBytes = -1 },
		"SpillBytes":        func(o *Options) { o.SpillBytes = 1 },
		"SpillBytes, huge":  func(o *Options) { o.SpillBytes = 1 << 40 },
		"Credit":            func(o *Options) { o.Credit = 100 },
		"SendSoft":          func(o *Options) { o.SendSoft = -1 },
		"SendHard":          func(o *Options) { o.SendHard = 100 },
		"TurnBytes":         func(o *Options) { o.TurnBytes = -1 },
	} {
		o := small()
		o.Backend = Epoll
		change(&o)
		l, err := New(o)
		if err == nil {
			l.Close()
			t.Errorf("%s: New accepts it", what)
			continue
		}
		if !isErrno(err, syscall.EINVAL) && !isErrno(err, syscall.ENOMEM) {
			t.Errorf("%s: %v, want EINVAL", what, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	var o Options
	if err := o.fill(0); err != nil {
		t.Fatal(err)
	}
	if o.Credit < 2*o.BufferSize || o.SendHard < o.SendSoft+32<<20 || o.SpillBytes < o.SendHard || o.RegionBytes == 0 || o.Linger != time.Second {
		t.Errorf("%+v", o)
	}
	for _, b := range []Backend{Auto, URing, Epoll} {
		if got, err := ParseBackend(b.String()); got != b || err != nil {
			t.Errorf("ParseBackend(%q) = %v, %v", b, got, err)
		}
	}
	if _, err := ParseBackend("kqueue"); err == nil {
		t.Error("ParseBackend accepts kqueue")
	}
}
