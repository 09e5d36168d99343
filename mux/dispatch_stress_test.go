//go:build linux

package mux_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// anyDispatch is every way of dispatching: those that keep replies in order, and those
// that do not.
var anyDispatch = append(slices.Clone(dispatches), []struct {
	name string
	mux.Options
}{
	{"idle,any order", mux.Options{Policy: mux.Idle, FlowCap: -1}},
	{"fifo,any order", mux.Options{Policy: mux.FIFO, FlowCap: -1}},
}...)

// inOrder reports whether the messages of a connection are handled one by one.
func inOrder(o mux.Options) bool { return o.FlowCap == 0 && !o.OrderedReplies }

// visit is one connection of the conservation test, from its first message to its end,
// as the workers see it. A message begins with the number of its visit and its own.
type visit struct {
	seen    []atomic.Bool
	last    atomic.Int64 // number of the message handled last
	handled atomic.Int64
	killed  atomic.Bool // by one side or the other; else everything must be answered
}

// conservation is the ledger of all visits.
type conservation struct {
	t       *testing.T
	ordered bool // messages are handled one by one
	inline  bool // replies come in order
	visits  sync.Map
	next    atomic.Uint32
	handled atomic.Int64
}

const visitMessages = 500

// work counts a message and answers it. Now and then it blocks for a while, or kills
// the connection.
func (l *conservation) work(r *mux.Received) mux.Verdict {
	var b [12]byte
	r.Msg.CopyTo(b[:], 0)
	x, _ := l.visits.Load(binary.BigEndian.Uint32(b[4:]))
	v, n := x.(*visit), int64(binary.BigEndian.Uint32(b[8:]))
	if v.seen[n].Swap(true) {
		l.t.Errorf("message %d was handled twice", n)
	}
	if last := v.last.Swap(n); l.ordered && n != last+1 {
		l.t.Errorf("message %d was handled after %d", n, last)
	}
	v.handled.Add(1)
	l.handled.Add(1)
	switch rand.IntN(4096) {
	case 0, 1, 2, 3:
		block(time.Duration(rand.IntN(1000)) * time.Microsecond) // stuck
	case 4:
		v.killed.Store(true)
		r.From.Close()
	}
	if rand.IntN(8) == 0 {
		runtime.Gosched()
	}
	r.Reply(r.Msg)
	return mux.Done
}

// visitOnce is a client's side of one connection. It sends n messages and checks the
// replies; every fourth one breaks off.
func (l *conservation) visitOnce(addr string, n int, rng *rand.Rand) {
	id := l.next.Add(1)
	v := &visit{seen: make([]atomic.Bool, n)}
	v.last.Store(-1)
	l.visits.Store(id, v)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		l.t.Error(err)
		return
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(60 * time.Second)); err != nil {
		l.t.Error(err)
		return
	}
	breakAt := n
	if rng.IntN(4) == 0 {
		breakAt = rng.IntN(n)
		v.killed.Store(true)
	}
	lens := make([]int, n)
	for i := range lens {
		lens[i] = 8 + rng.IntN(120)
	}
	reset := rng.IntN(2) == 0
	var wg sync.WaitGroup
	wg.Go(func() {
		w := bufio.NewWriterSize(c, 2048)
		for i := range breakAt {
			b := w.AvailableBuffer()
			b = binary.BigEndian.AppendUint32(b, uint32(lens[i]))
			b = binary.BigEndian.AppendUint32(b, id)
			b = binary.BigEndian.AppendUint32(b, uint32(i))
			b = append(b, bytes.Repeat([]byte{byte(i)}, lens[i]-8)...)
			if _, err := w.Write(b); err != nil {
				return // killed; the reader checks that it was
			}
		}
		if w.Flush() != nil {
			return
		}
		tcp := c.(*net.TCPConn)
		switch {
		case breakAt == n:
			tcp.CloseWrite()
		case reset:
			tcp.SetLinger(0)
			c.Close()
		default: // in the middle of a message
			c.Write([]byte{0, 0, 0, 9})
			c.Close()
		}
	})
	err = l.replies(c, id, lens)
	switch {
	case v.killed.Load():
	case err != nil:
		l.t.Errorf("a connection that nobody killed: %v", err)
	case v.handled.Load() != int64(n):
		l.t.Errorf("%d messages of %d were handled", v.handled.Load(), n)
	}
	c.Close()
	wg.Wait()
}

// replies reads until the end, and reports what is wrong with the replies.
func (l *conservation) replies(c net.Conn, id uint32, lens []int) error {
	r := bufio.NewReader(c)
	got := make([]bool, len(lens))
	b := make([]byte, 256)
	for k := 0; ; k++ {
		if _, err := io.ReadFull(r, b[:12]); err != nil {
			if k < len(lens) || err != io.EOF {
				return fmt.Errorf("after %d of %d replies: %w", k, len(lens), err)
			}
			return nil
		}
		n := binary.BigEndian.Uint32(b)
		i := int(binary.BigEndian.Uint32(b[8:]))
		switch {
		case binary.BigEndian.Uint32(b[4:]) != id || i >= len(lens) || int(n) != lens[i]:
			l.t.Errorf("a reply % x that belongs to no message of connection %d", b[:12], id)
			return errors.New("a wrong reply")
		case got[i]:
			l.t.Errorf("two replies to message %d", i)
		case l.inline && i != k:
			l.t.Errorf("the reply to message %d came as number %d", i, k)
		}
		got[i] = true
		if _, err := io.ReadFull(r, b[:n-8]); err != nil {
			return err
		}
		for _, x := range b[:n-8] {
			if x != byte(i) {
				l.t.Errorf("the reply to message %d has other content", i)
				return errors.New("a wrong reply")
			}
		}
	}
}

// What connections deliver is handled once, in order where that is promised, and
// answered unless the connection is killed, while workers are stuck and replaced;
// and in the end all memory is back.
func TestNothingIsLostOrHandledTwice(t *testing.T) {
	for _, b := range []ring.Backend{ring.URing, ring.Epoll} {
		for _, d := range anyDispatch {
			t.Run(b.String()+"/"+d.name, func(t *testing.T) {
				o := d.Options
				o.Ring.Backend = b
				o.Loops = 2
				o.QueueBytes = 32 << 10 // so that connections are parked
				conserve(t, o)
			})
		}
	}
}

func conserve(t *testing.T, o mux.Options) {
	const clients = 32
	m, addr := server(t, o, nil)
	l := &conservation{t: t, ordered: inOrder(o), inline: inOrder(o) || o.OrderedReplies}
	startWorkers(t, m, 3, l.work)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // the fourth comes and goes
		defer close(stopped)
		tick := time.NewTicker(3 * time.Millisecond)
		defer tick.Stop()
		for {
			w, err := m.Workers(1, l.work)
			if err != nil {
				t.Error(err)
				return
			}
			select {
			case <-tick.C:
			case <-stop:
			}
			w.Close()
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			for left := conserveMessages / clients; left > 0; left -= visitMessages {
				l.visitOnce(addr, min(left, visitMessages), rng)
			}
		})
	}
	wg.Wait()
	close(stop)
	<-stopped
	until(t, "connections ended", func() bool { return m.Psocks() == 0 })
	until(t, "messages accounted for", func() bool {
		st := m.Stats()
		return st.Queued == 0 && st.Received == st.RxMessages
	})
	st := m.Stats()
	if st.RxMessages != uint64(l.handled.Load()) || st.Discarded != 0 {
		t.Errorf("%d messages delivered, %d handled, %d discarded", st.RxMessages, l.handled.Load(), st.Discarded)
	}
	// What was handled of a killed connection is what came first.
	l.visits.Range(func(id, x any) bool {
		v := x.(*visit)
		for i := range v.handled.Load() {
			if !v.seen[i].Load() {
				t.Errorf("connection %d: message %d of %d was skipped", id, i, v.handled.Load())
				break
			}
		}
		return true
	})
	memoryIsBack(t, m)
	t.Logf("%d messages on %d connections, %d parked, %d batches shared", st.RxMessages, st.Opened, st.Parks, st.Stolen)
}

// neverRead starts peers that send and never read their replies, and returns when
// each has been made to wait.
func neverRead(t *testing.T, m *mux.Mux, addr string, n int) (stop func()) {
	before := m.Stats().Pauses
	var cs []net.Conn
	var wg sync.WaitGroup
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			continue
		}
		c.(*net.TCPConn).SetReadBuffer(64 << 10)
		cs = append(cs, c)
		wg.Go(func() {
			msg := frame(make([]byte, 8<<10))
			for {
				if _, err := c.Write(msg); err != nil {
					return // closed by stop
				}
			}
		})
	}
	until(t, "peers that do not read made to wait", func() bool { return m.Stats().Pauses >= before+uint64(n) })
	received := func() (n uint64) {
		for _, l := range m.Loops() {
			n += l.Stats().BytesIn
		}
		return n
	}
	last := uint64(0)
	until(t, "nothing more taken from peers that do not read", func() bool {
		now := received()
		still := now == last
		last = now
		return still
	})
	return func() {
		for _, c := range cs {
			c.Close()
		}
		wg.Wait()
	}
}

// Four peers that never read against sixty that do, and four workers. All sixty make
// progress; with the stress tag they are hardly slower than without the four.
func TestWorkersServeOthersWhilePeersDoNotRead(t *testing.T) {
	for _, b := range []ring.Backend{ring.URing, ring.Epoll} {
		for _, d := range anyDispatch {
			t.Run(b.String()+"/"+d.name, func(t *testing.T) {
				o := d.Options
				o.Ring.Backend = b
				o.Ring.SendTimeout = -1
				m, addr := server(t, o, nil)
				startWorkers(t, m, 4, reply)
				var conns []net.Conn
				for range 60 {
					conns = append(conns, dial(t, addr))
				}
				if !stressing {
					stop := neverRead(t, m, addr, 4)
					defer stop()
					var wg sync.WaitGroup
					for i, c := range conns {
						wg.Go(func() {
							msg := numbered(uint32(i))
							got := make([]byte, len(msg))
							for range 10 {
								c.Write(msg)
								if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, msg) {
									t.Errorf("connection %d got % x, %v", i, got, err)
									return
								}
							}
						})
					}
					wg.Wait()
					return
				}
				const d = 250 * time.Millisecond
				phase(t, conns, d) // warm up
				var rates, with []float64
				var p99s, with99 []time.Duration
				for range phaseRounds {
					r, p := phase(t, conns, d)
					rates, p99s = append(rates, r), append(p99s, p)
					stop := neverRead(t, m, addr, 4)
					r, p = phase(t, conns, d)
					stop()
					with, with99 = append(with, r), append(with99, p)
				}
				rate := median(with) / median(rates)
				tail := float64(median(with99)) / float64(median(p99s))
				t.Logf("with 4 peers that do not read: %.2f of the throughput, %.2f of the p99", rate, tail)
				if rate < 0.8 || tail > 2 {
					t.Errorf("with 4 peers that do not read %.2f of the throughput and %.2f of the p99, want at least 0.8 and at most 2", rate, tail)
				}
			})
		}
	}
}
