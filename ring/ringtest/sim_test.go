package ringtest

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/ring/internal/backend"
	"github.com/kcm-go/kcm/sgmsg"
)

func TestEchoCalm(t *testing.T) {
	var sn seen
	Seeds(t, 20, Calm(), func(t *testing.T, s *Sim) {
		echo(t, s, 5, 20000, &sn)
		for f := range NumFaults {
			if s.Hits(f) != 0 {
				t.Errorf("%v happened", f)
			}
		}
	})
	if sn.whole != 20*5 || sn.resets+sn.refused+sn.acceptErrors+sn.noBuffersFull+sn.emptyPoll != 0 {
		t.Errorf("calm was not: %+v", sn)
	}
}

// TestEchoStorm carries traffic through every fault. Connections that are not
// reset echo every byte, every buffer comes back, and nothing is left in flight;
// and every fault has happened and was seen.
func TestEchoStorm(t *testing.T) {
	seeds := 150
	if testing.Short() {
		seeds = 60
	}
	var sn seen
	var hits [NumFaults]int
	o := Storm()
	o.StreamBytes = 2 << 10 // so that streams are full, too
	Seeds(t, seeds, o, func(t *testing.T, s *Sim) {
		echo(t, s, 6, 6000, &sn)
		packets(t, s)
		for f := range hits {
			hits[f] += s.hits[f]
		}
	})
	for f, n := range hits {
		if n == 0 {
			t.Errorf("%v never happened", Fault(f))
		}
	}
	for what, n := range map[string]int{
		"ENOBUFS":                        sn.noBuffers,
		"ENOBUFS with all buffers there": sn.noBuffersFull,
		"a receive that ended":           sn.recvEnded,
		"a short send":                   sn.shortSends,
		"EAGAIN":                         sn.again,
		"a poll for nothing":             sn.emptyPoll,
		"a cancel that came too late":    sn.overtaken,
		"EMFILE":                         sn.acceptErrors,
		"a refused connection":           sn.refused,
		"a reset":                        sn.resets,
		"a short read":                   sn.readShort,
	} {
		if n == 0 {
			t.Errorf("%s was never seen", what)
		}
	}
	if sn.whole < seeds*6/2 {
		t.Errorf("only %d of %d connections lived", sn.whole, seeds*6)
	}
}

// TestReplay: one seed, one history; another seed, another.
func TestReplay(t *testing.T) {
	hashes := map[uint64]bool{}
	for seed := range uint64(10) {
		var first *Sim
		for range 3 {
			s := New(seed, Storm())
			echo(t, s, 4, 3000, new(seen))
			packets(t, s)
			if first == nil {
				first = s
				continue
			}
			if s.Hash() != first.Hash() || s.Now() != first.Now() || s.hits != first.hits {
				t.Fatalf("seed %d: two histories", seed)
			}
			if !slices.Equal(s.Trace(), first.Trace()) {
				t.Fatalf("seed %d: two traces of one hash", seed)
			}
		}
		if hashes[first.Hash()] {
			t.Errorf("seed %d repeats another", seed)
		}
		hashes[first.Hash()] = true
	}
}

// packets sends datagrams back and forth between a loop and the test.
func packets(t *testing.T, s *Sim) {
	t.Helper()
	n := newNode(t, s, new(seen))
	fd, err := s.Packet("10.0.0.2:53")
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.PacketPeer("10.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.l.Attach(fd); err != nil {
		t.Fatal(err)
	}
	s.sock(fd).joins = true
	const count = 40
	key := backend.MakeKey(backend.OpRecvMsg, 1, 1)
	var got [count]int
	in, total, cancelled := false, 0, false
	turn := func() {
		n.l.Provide(n.free)
		n.free = n.free[:0]
		if !in && !cancelled {
			n.l.RecvMsg(key, fd)
			in = true
		}
		k, _ := n.l.Wait(n.events, -1)
		for _, e := range n.events[:k] {
			in = in && e.More
			if e.Res > 0 {
				b := sgmsg.Element{Buf: e.Buf, Off: backend.PacketOverhead, Len: uint32(e.Res) - backend.PacketOverhead}.Bytes()
				var r backend.Received
				backend.ParseReceived(sgmsg.Element{Buf: e.Buf, Len: uint32(e.Res)}.Bytes(), &r)
				if len(b) > 2 && r.Segment != 2 {
					t.Fatalf("%d bytes with segments of %d", len(b), r.Segment)
				}
				for ; len(b) > 0; b = b[2:] {
					if len(b) < 2 || b[0] != 0xa5 {
						t.Fatalf("datagram %x", b)
					}
					got[b[1]]++
					total++
				}
				e.Buf.Release()
			}
		}
	}
	// What the loop sends in one piece arrives as several, if it is not refused.
	heap := sgmsg.NewHeap(512)
	defer heap.Close(nil)
	piece, err := heap.Alloc(4)
	if err != nil {
		t.Fatal(err)
	}
	copy(piece.Bytes(), []byte{0xa5, 0, 0xa5, 1})
	out := backend.Datagram{Vec: []sgmsg.Element{piece}, To: ParseAddr(p.Name()), Segment: 2}
	for range 20 {
		k, e := n.l.SendMsgs(fd, []backend.Datagram{out, out})
		if k > 2 || k == 0 && e != syscall.EAGAIN && e != syscall.EINVAL {
			t.Fatalf("SendMsgs: %d, %v", k, e)
		}
	}
	piece.Buf.Release()
	s.Settle()
	for b := make([]byte, 9); ; {
		k, _, err := p.ReadFrom(b)
		if err != nil {
			break
		}
		if k != 2 || b[0] != 0xa5 || b[1] > 1 {
			t.Fatalf("datagram %x", b[:k])
		}
	}
	for i := range count {
		if err := p.WriteTo([]byte{0xa5, byte(i)}, "10.0.0.2:53"); err != nil {
			t.Fatal(err)
		}
	}
	for s.Step(turn) {
	}
	lost := 0
	for _, k := range got {
		if k == 0 {
			lost++
		}
	}
	if s.opt.Odds[LosePacket] == 0 && lost > 0 {
		t.Errorf("%d datagrams are lost", lost)
	}
	if s.opt.Odds[DoublePacket] == 0 && total != count-lost {
		t.Errorf("%d datagrams arrived, %d were lost", total, lost)
	}
	cancelled = true
	n.l.Cancel(key)
	if err := s.Run(func() bool { return !in }, turn); err != nil {
		t.Fatal(err)
	}
	if err := n.l.CloseFD(fd); err != nil {
		t.Fatal(err)
	}
	p.Close()
	n.l.Close()
	n.pool.Close(nil)
}

func TestAfter(t *testing.T) {
	s := New(1, Calm())
	b, _ := s.Open(backend.Config{})
	var at []time.Duration
	s.After(2*time.Second, func() { at = append(at, s.Now()) })
	s.After(time.Second, func() {
		at = append(at, s.Now())
		s.After(5*time.Second, b.Wake)
	})
	var ev [4]backend.Event
	if n, err := b.Wait(ev[:], -1); n != 0 || err != nil || s.Idle() {
		t.Fatalf("Wait = %d, %v, idle %v", n, err, s.Idle())
	}
	if want := []time.Duration{time.Second, 2 * time.Second}; !slices.Equal(at, want) || s.Now() != 6*time.Second {
		t.Fatalf("timers at %v, woken at %v", at, s.Now())
	}
	if b.Wait(ev[:], 3*time.Second); s.Now() != 9*time.Second || s.Idle() {
		t.Fatalf("time-out at %v, idle %v", s.Now(), s.Idle())
	}
	if b.Wait(ev[:], -1); !s.Idle() {
		t.Fatal("not idle with nothing to wait for")
	}
}

// TestTimeOfTwoLoops: the one that sleeps longer does not carry time past the
// moment the other waits for, nor past what is due for it.
func TestTimeOfTwoLoops(t *testing.T) {
	s := New(1, Calm())
	a, _ := s.Open(backend.Config{})
	b, _ := s.Open(backend.Config{})
	var ev [4]backend.Event
	var seen []time.Duration
	next := time.Second
	turnA := func() { a.Wait(ev[:], time.Hour) }
	turnB := func() {
		if s.Now() >= next {
			seen = append(seen, s.Now())
			next += time.Second
		}
		b.Wait(ev[:], next-s.Now())
	}
	if err := s.Run(func() bool { return len(seen) == 5 }, turnA, turnB); err != nil {
		t.Fatal(err)
	}
	// The same without Step: turns by hand.
	for len(seen) < 10 {
		turnA()
		turnB()
	}
	for i, at := range seen {
		if want := time.Duration(i+1) * time.Second; at != want {
			t.Errorf("timer %d at %v, want %v", i, at, want)
		}
	}
	// An abandoned loop does not stop the time.
	b.Wake()
	for i := 0; s.Now() < 100*time.Hour; i++ {
		if turnA(); i > 1000 {
			t.Fatalf("time stands still at %v", s.Now())
		}
	}
}

// TestPolling: a loop that polls instead of sleeping sees time pass, and gets
// its event at the moment it happens.
func TestPolling(t *testing.T) {
	s := New(1, Calm())
	n := newNode(t, s, new(seen))
	n.l.Provide(n.free)
	fd, p := s.Pair()
	n.l.Attach(fd)
	n.l.Recv(backend.MakeKey(backend.OpRecv, 1, 1), fd)
	s.After(time.Millisecond, func() { p.Write([]byte("x")) })
	got := 0
	poll := func() {
		for end := s.Now() + 5*time.Microsecond; s.Now() < end && got == 0; {
			got, _ = n.l.Wait(n.events, 0)
		}
	}
	if err := s.Run(func() bool { return got > 0 }, poll); err != nil {
		t.Fatal(err)
	}
	if d := s.Now() - time.Millisecond; d < 0 || d > s.opt.Latency {
		t.Errorf("the event came at %v", s.Now())
	}
	n.events[0].Buf.Release()
	n.l.Close()
	n.pool.Close(nil)
}

func TestRunFindsDeadlock(t *testing.T) {
	s := New(1, Calm())
	b, _ := s.Open(backend.Config{})
	fd, _ := s.Pair()
	b.Attach(fd)
	b.Recv(backend.MakeKey(backend.OpRecv, 1, 1), fd)
	var ev [4]backend.Event
	err := s.Run(func() bool { return false }, func() { b.Wait(ev[:], -1) })
	if !errors.Is(err, ErrIdle) || !s.Idle() {
		t.Fatalf("Run = %v, idle %v", err, s.Idle())
	}
}

// TestResetDropsFlight: bytes on their way are lost, bytes that have arrived are
// received, and the error is told once.
func TestResetDropsFlight(t *testing.T) {
	s := New(1, Calm())
	n := newNode(t, s, new(seen))
	n.l.Provide(n.free)
	fd, p := s.Pair()
	n.l.Attach(fd)
	p.Write([]byte("arrived"))
	s.Settle()
	p.Write([]byte("on its way"))
	p.Reset()
	key := backend.MakeKey(backend.OpRecv, 1, 1)
	recv := func() (res []int32) {
		n.l.Recv(key, fd)
		for {
			k, _ := n.l.Wait(n.events, -1)
			for _, e := range n.events[:k] {
				res = append(res, e.Res)
				if e.Buf != 0 {
					e.Buf.Release()
				}
				if !e.More {
					return res
				}
			}
			if k == 0 {
				t.Fatal("nothing happens")
			}
		}
	}
	if got, want := recv(), []int32{7, -int32(syscall.ECONNRESET)}; !slices.Equal(got, want) {
		t.Errorf("Recv: %v, want %v", got, want)
	}
	if got, want := recv(), []int32{0}; !slices.Equal(got, want) {
		t.Errorf("Recv after the error: %v, want %v", got, want)
	}
	if _, err := p.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("Write after Reset: %v", err)
	}
	n.l.Close()
	n.pool.Close(nil)
}

// TestViolations: a program that breaks its side of the contract is stopped,
// with the seed and the trace in the message.
func TestViolations(t *testing.T) {
	key := backend.MakeKey(backend.OpRecv, 1, 1)
	other := backend.MakeKey(backend.OpRead, 1, 1)
	for what, f := range map[string]func(n *node, fd int){
		"already in flight": func(n *node, fd int) { n.l.Recv(key, fd); n.l.Recv(key, fd) },
		"has one in flight": func(n *node, fd int) { n.l.Recv(key, fd); n.l.Recv(other, fd) },
		"at one time":       func(n *node, fd int) { n.l.Recv(key, fd); n.l.Read(other, fd, make([]byte, 1)) },
		"not attached":      func(n *node, fd int) { n.l.Recv(key, fd+1) },
		"no memory":         func(n *node, fd int) { n.l.Read(key, fd, nil) },
		"0 elements":        func(n *node, fd int) { n.l.Send(key, fd, nil) },
		"is in flight while it is detached": func(n *node, fd int) {
			n.l.Recv(key, fd)
			n.l.CloseFD(fd)
		},
		"already provided": func(n *node, fd int) { n.l.Provide(n.free[:1]); n.l.Provide(n.free[:1]) },
		"not of the loop's pool": func(n *node, fd int) {
			n.l.Provide([]sgmsg.BufID{n.free[0] + 1<<20})
		},
		"memory was released": func(n *node, fd int) {
			heap := sgmsg.NewHeap(512)
			e, _ := heap.Alloc(10)
			n.l.Send(key, fd, []sgmsg.Element{e})
			e.Buf.Release()
			n.l.Wait(n.events, 0)
		},
		"after Close": func(n *node, fd int) { n.l.Close(); n.l.Wait(n.events, 0) },
	} {
		t.Run(what, func(t *testing.T) {
			s := New(77, Calm())
			n := newNode(t, s, new(seen))
			fd, _ := s.Pair()
			n.l.Attach(fd)
			defer func() {
				msg, _ := recover().(string)
				if !strings.Contains(msg, what) || !strings.Contains(msg, "seed 77") {
					t.Errorf("panic %q", msg)
				}
				n.l.Close()
				n.pool.Close(nil)
			}()
			f(n, fd)
		})
	}
}

// BenchmarkSeeds is one seed of the storm: 6 connections that echo 6000 bytes
// each, some 400 events.
func BenchmarkSeeds(b *testing.B) {
	t := new(testing.T)
	var sn seen
	for i := range b.N {
		echo(t, New(uint64(i), Storm()), 6, 6000, &sn)
	}
	b.ReportMetric(float64(sn.events)/float64(b.N), "events/op")
}
