//go:build linux

package mux_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/mux"
	"github.com/kcm-go/kcm/ring"
)

// These tests drive a server with an independent client on package net, in small
// in every test run and in full with the stress tag.

func TestManyConnectionsManyInFlight(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		_, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		var wg sync.WaitGroup
		for i := range echoConns {
			c := dial(t, addr)
			wg.Go(func() {
				if err := pipeline(c, uint64(i), echoMessages, 16, 64<<10); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestOneLargeMessage(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		_, addr := server(t, mux.Options{MaxMessage: 16 << 20, Ring: ring.Options{Backend: b}}, echo)
		c := dial(t, addr)
		p := make([]byte, 8<<20)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		go c.Write(frame(p))
		got := make([]byte, len(p)+4)
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, frame(p)) {
			t.Error("the reply differs from the message")
		}
	})
}

func TestMessageDrippedAByteAtATime(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		_, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		c := dial(t, addr)
		msg := frame([]byte(strings.Repeat("drip", 64)))
		go func() {
			for i := range msg {
				if _, err := c.Write(msg[i : i+1]); err != nil {
					return
				}
			}
		}()
		got := make([]byte, len(msg))
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, msg) {
			t.Error("the reply differs from the message")
		}
	})
}

func TestManyConnectionsAtOnce(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		_, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		var wg sync.WaitGroup
		for i := range manyConns {
			wg.Go(func() {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if err := pipeline(c, uint64(i), 10, 4, 2<<10); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
		wg.Wait()
	})
}

// Connections come and go, every second one in the middle of a message. server
// checks at the end that every buffer is back.
func TestConnectionsComeAndGo(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		var closed atomic.Int64
		gone := make(chan struct{}, churnConns)
		m, addr := server(t, mux.Options{
			Ring:    ring.Options{Backend: b},
			OnClose: func(*mux.Psock, error) { closed.Add(1); gone <- struct{}{} },
		}, echo)
		var wg sync.WaitGroup
		limit := make(chan struct{}, 32)
		for i := range churnConns {
			limit <- struct{}{}
			wg.Go(func() {
				defer func() { <-limit }()
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if i%2 == 0 {
					c.Write([]byte{0, 0, 4, 0, 'h', 'a', 'l', 'f'})
					return
				}
				if err := pipeline(c, uint64(i), 3, 1, 1<<10); err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		for range churnConns {
			<-gone
		}
		for m.Psocks() != 0 { // the last OnClose has been called and may not have returned
			m.Stats()
		}
		if st := m.Stats(); st.Opened != churnConns || st.Closed != churnConns {
			t.Errorf("%d opened and %d closed, want %d", st.Opened, st.Closed, churnConns)
		}
	})
}

func TestAnnouncedGiantEndsItsConnectionOnly(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		causes := make(chan error, 1)
		_, addr := server(t, mux.Options{
			Ring: ring.Options{Backend: b},
			OnClose: func(_ *mux.Psock, err error) {
				if err != nil {
					causes <- err
				}
			},
		}, echo)
		good, bad := dial(t, addr), dial(t, addr)
		if err := pipeline(good, 1, 20, 4, 4<<10); err != nil {
			t.Fatal(err)
		}
		hello := frame([]byte("hello"))
		bad.Write(append(hello, 0xff, 0xff, 0xff, 0xff, 'x'))
		got, err := io.ReadAll(bad)
		if err != nil || !slices.Equal(got, hello) {
			t.Errorf("before the end came %q, %v; want the reply to the good message", got, err)
		}
		bad.Close()
		err = <-causes
		var pe *mux.PsockError
		if !errors.As(err, &pe) || !errors.Is(err, syscall.EMSGSIZE) ||
			!strings.Contains(err.Error(), strconv.Itoa(1<<32+3)) {
			t.Errorf("cause %v, want a PsockError with EMSGSIZE that names the length", err)
		}
		if err := pipeline(good, 2, 20, 4, 4<<10); err != nil {
			t.Errorf("the other connection: %v", err)
		}
	})
}

// phase runs well-behaved connections for a while and returns messages per second
// and the 99th percentile of the round trip.
func phase(t *testing.T, conns []net.Conn, d time.Duration) (rate float64, p99 time.Duration) {
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	start := time.Now()
	for _, c := range conns {
		wg.Go(func() {
			msg := frame(make([]byte, 64))
			got := make([]byte, len(msg))
			var own []time.Duration
			for time.Since(start) < d {
				t0 := time.Now()
				c.Write(msg)
				if _, err := io.ReadFull(c, got); err != nil {
					t.Error(err)
					return
				}
				own = append(own, time.Since(t0))
			}
			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(all) == 0 {
		t.Fatal("no message went through")
	}
	slices.Sort(all)
	return float64(len(all)) / time.Since(start).Seconds(), all[len(all)*99/100]
}

func median[T int | float64 | time.Duration](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}

// goesOn compares well-behaved connections with and without offenders, in turn in
// one run. offend starts them and returns what ends them.
func goesOn(t *testing.T, addr string, offend func() (stop func())) {
	var conns []net.Conn
	for range 16 {
		conns = append(conns, dial(t, addr))
	}
	d := 100 * time.Millisecond
	if stressing {
		d = time.Second
	}
	phase(t, conns, d/2) // warm up
	var rates, with []float64
	var p99s, with99 []time.Duration
	for range phaseRounds {
		r, p := phase(t, conns, d)
		rates, p99s = append(rates, r), append(p99s, p)
		stop := offend()
		r, p = phase(t, conns, d)
		stop()
		with, with99 = append(with, r), append(with99, p)
	}
	rate := median(with) / median(rates)
	tail := float64(median(with99)) / float64(median(p99s))
	t.Logf("with offenders: %.2f of the throughput, %.2f of the p99", rate, tail)
	if stressing && (rate < 0.8 || tail > 2) {
		t.Errorf("with offenders %.2f of the throughput and %.2f of the p99, want at least 0.8 and at most 2", rate, tail)
	}
}

func TestOthersGoOnWhileOnePeerAnnouncesGiants(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		_, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		goesOn(t, addr, func() func() {
			stop, done := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(done)
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for {
					c, err := net.Dial("tcp", addr)
					if err == nil {
						c.Write([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3})
						io.ReadAll(c)
						c.Close()
					}
					select {
					case <-stop:
						return
					case <-tick.C:
					}
				}
			}()
			return func() { close(stop); <-done }
		})
	})
}

// Peers that send and never read their replies: the queue of each grows to its
// soft limit, then they are not read any more either.
func TestPeersThatNeverReadTheirReplies(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		m, addr := server(t, mux.Options{Ring: ring.Options{Backend: b}}, echo)
		soft := m.Loops()[0].Options().SendSoft
		const offenders = 8
		goesOn(t, addr, func() func() {
			var cs []net.Conn
			var wg sync.WaitGroup
			var stuck atomic.Int64
			allStuck := make(chan struct{})
			for i := range offenders {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Error(err)
					continue
				}
				cs = append(cs, c)
				wg.Go(func() {
					msg := frame(make([]byte, 64<<(i%8))) // 64 bytes to 8 KiB
					c.(*net.TCPConn).SetReadBuffer(64 << 10)
					counted := false
					for {
						c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
						if _, err := c.Write(msg); err != nil {
							if errors.Is(err, os.ErrDeadlineExceeded) && !counted {
								counted = true
								if stuck.Add(1) == offenders {
									close(allStuck)
								}
							}
							if !errors.Is(err, os.ErrDeadlineExceeded) || counted {
								return // it has filled everything there is to fill
							}
						}
					}
				})
			}
			select {
			case <-allStuck:
			case <-time.After(20 * time.Second):
				t.Errorf("only %d of %d peers were stopped", stuck.Load(), offenders)
			}
			var st ring.LoopStats
			for _, l := range m.Loops() {
				s := l.Stats()
				st.SpillUsed += s.SpillUsed
				st.RegionUsed += s.RegionUsed
				st.Buffers += s.Buffers
				st.BuffersFree += s.BuffersFree
			}
			// Each may hold its soft limit and one message over it, a credit of
			// unread bytes, and what one receive delivers before it is seen to be
			// too much (32 buffers); in private memory at most twice their size.
			lo := m.Loops()[0].Options()
			if limit := 2 * offenders * (soft + 8<<10 + lo.Credit + 32*lo.BufferSize); st.SpillUsed > limit {
				t.Errorf("private memory: %d bytes for %d peers, want at most %d", st.SpillUsed, offenders, limit)
			}
			if st.BuffersFree < st.Buffers/4 {
				t.Errorf("%d of %d receive buffers free", st.BuffersFree, st.Buffers)
			}
			return func() {
				for _, c := range cs {
					c.Close()
				}
				wg.Wait()
			}
		})
	})
}

func TestMemoryOfIdleConnections(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		opened := make(chan struct{}, idleConns)
		m, addr := server(t, mux.Options{
			Ring:   ring.Options{Backend: b},
			OnOpen: func(*mux.Psock) { opened <- struct{}{} },
		}, echo)
		var active []net.Conn
		for range 64 {
			active = append(active, dial(t, addr))
			<-opened
		}
		phase(t, active, 50*time.Millisecond)
		// The clients' own memory is kept out: they are bare descriptors.
		fds := make([]int, 0, idleConns)
		defer func() {
			for _, fd := range fds {
				syscall.Close(fd)
			}
		}()
		ap := netAddrPort(t, addr)
		before := heapAndSpill(m)
		for range idleConns {
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			fds = append(fds, fd)
			if err := syscall.Connect(fd, ap); err != nil {
				t.Fatal(err)
			}
			<-opened
			// Each has spoken once, so that it holds what a used connection holds.
			if _, err := syscall.Write(fd, frame([]byte("hi"))); err != nil {
				t.Fatal(err)
			}
			var got [6]byte
			if n, err := syscall.Read(fd, got[:]); n != 6 {
				t.Fatal(n, err)
			}
		}
		after := heapAndSpill(m)
		per := float64(after-before) / idleConns
		t.Logf("%d idle connections: %.0f bytes each", idleConns, per)
		if per > 1024 {
			t.Errorf("an idle connection holds %.0f bytes of ours, want at most 1024", per)
		}
		phase(t, active, 100*time.Millisecond)
		if n := m.Psocks(); n != idleConns+64 {
			t.Errorf("%d connections, want %d", n, idleConns+64)
		}
	})
}

// heapAndSpill is what the process holds on the Go heap, stacks included, and in
// the loops' private memory.
func heapAndSpill(m *mux.Mux) int64 {
	runtime.GC()
	runtime.GC()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	n := int64(ms.HeapAlloc + ms.StackInuse)
	for _, l := range m.Loops() {
		n += int64(l.Stats().SpillUsed)
	}
	return n
}

func netAddrPort(t *testing.T, addr string) *syscall.SockaddrInet4 {
	a, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}
}
