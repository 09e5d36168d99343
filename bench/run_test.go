package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kcm-go/kcm/internal/invariants"
	"github.com/kcm-go/kcm/ring"
)

// each runs a test on every back end of this machine.
func each(t *testing.T, fn func(t *testing.T, b ring.Backend)) {
	for _, b := range []ring.Backend{ring.URing, ring.Epoll} {
		t.Run(b.String(), func(t *testing.T) {
			l, err := ring.New(ring.Options{Backend: b})
			if err == nil {
				if err = l.Start(); err == nil {
					err = l.Close()
				}
			}
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			fn(t, b)
		})
	}
}

// short is a run of 60 ms.
func short(target string) Config {
	return Config{
		Workload: Workload{Conns: 2, Depth: 4, Size: Sizes{Min: 64, Max: 64}, Duration: 60 * time.Millisecond, Seed: 1},
		Target:   target,
		Server:   ServerOptions{Listen: "127.0.0.1:0", MaxMessage: 512 << 10},
		Drain:    20 * time.Second,

		AnyVerdict: true, // the machine may be busy
	}
}

func succeed(t *testing.T, c Config) *Report {
	t.Helper()
	rep, err := Run(t.Context(), c)
	// On a busy machine a short run may end before anything has come back.
	for err == nil && rep.Messages == 0 && rep.Errors == 0 && rep.Failure == "" && c.Duration < 5*time.Second {
		c.Duration *= 4
		rep, err = Run(t.Context(), c)
	}
	if err != nil {
		t.Fatal(err)
	}
	if rep.Errors != 0 || rep.Messages == 0 || rep.MessagesTotal < rep.Messages || rep.PerSecond <= 0 ||
		rep.Latency.P50 <= 0 || rep.Latency.P50 > rep.Latency.Max || rep.Failure != "" {
		t.Fatalf("%+v", rep)
	}
	return rep
}

// enough is Run until it fails or there are more right replies than so many; on a busy
// machine a short run may end before.
func enough(t *testing.T, c Config, replies int64) (*Report, error) {
	t.Helper()
	rep, err := Run(t.Context(), c)
	for err == nil && rep.MessagesTotal <= replies && c.Duration < 5*time.Second {
		c.Duration *= 4
		rep, err = Run(t.Context(), c)
	}
	if rep == nil {
		t.Fatal(err)
	}
	return rep, err
}

func TestRunAgainstItsOwnServer(t *testing.T) {
	each(t, func(t *testing.T, b ring.Backend) {
		for name, change := range map[string]func(*Config){
			"small":     func(c *Config) {},
			"empty":     func(c *Config) { c.Size = Sizes{Min: 0, Max: 0} },
			"no number": func(c *Config) { c.Size = Sizes{Min: 7, Max: 7} },
			"range":     func(c *Config) { c.Size = Sizes{Min: 0, Max: 20000} },
			"large":     func(c *Config) { c.Size = Sizes{Min: 300_000, Max: 300_000}; c.Depth = 2 },
			"two":       func(c *Config) { c.Threads, c.Conns, c.Warmup = 2, 5, 20*time.Millisecond },
			"unix":      func(c *Config) { c.Server.Listen = "unix:" + filepath.Join(t.TempDir(), "s") },
			"fixed":     func(c *Config) { c.Rate = 2000 },
			"poisson":   func(c *Config) { c.Rate, c.Arrival, c.Threads = 2000, Poisson, 2 },
			"service":   func(c *Config) { c.Server.Service = 100 * time.Microsecond },
			"carried":   func(c *Config) { c.Service = Service{Time: 100 * time.Microsecond} },
			"idle":      func(c *Config) { c.Server.Dispatch, c.Server.Workers = Idle, 2 },
			"fifo": func(c *Config) {
				c.Server.Dispatch, c.Server.Workers, c.Service = FIFO, 3, Service{Time: time.Microsecond}
			},
			"pinned": func(c *Config) { c.Server.Dispatch, c.Server.Workers, c.Server.PinWorkers = Idle, 1, true },
			"idle, any order": func(c *Config) {
				c.Unordered, c.Server.Unordered, c.Server.Dispatch, c.Server.Workers = true, true, Idle, 3
			},
			"any order": func(c *Config) { c.Unordered, c.Size = true, Sizes{Min: 8, Max: 20000} },
			"spinning":  func(c *Config) { c.Spin = 50 * time.Microsecond },
			"13 bytes": func(c *Config) {
				c.Unordered, c.Rate, c.Size, c.Service = true, 2000, Sizes{Min: 13, Max: 13}, Service{Shape: Exponential, Time: 2 * time.Microsecond}
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				c := short("")
				c.Backend, c.Server.Backend = b, b
				change(&c)
				rep := succeed(t, c)
				if want := map[ring.Backend]string{ring.URing: "io_uring", ring.Epoll: "epoll"}[b]; rep.Server.Backend != want ||
					rep.Generator.Backend != want || rep.Generator.Loops != max(c.Threads, 1) {
					t.Errorf("server on %s, generator on %s", rep.Server.Placement, rep.Generator.Placement)
				}
				if rep.Policy != c.Server.Dispatch.String() || rep.Workers != c.Server.Workers {
					t.Errorf("policy %q, %d workers", rep.Policy, rep.Workers)
				}
				if open := c.Rate > 0; (rep.Lateness != nil) != open || (rep.LatencyActual != nil) != open {
					t.Errorf("lateness %v, latency from sending %v", rep.Lateness, rep.LatencyActual)
				}
				if name == "spinning" && (rep.GeneratorSpinMicros != 50 || !strings.Contains(rep.loadText(), "for 50 us")) {
					t.Errorf("the generator looks for %v us: %s", rep.GeneratorSpinMicros, rep.loadText())
				}
				if name == "fixed" && rep.Messages != 120 {
					t.Errorf("%d messages of 2000/s in 60 ms", rep.Messages)
				}
				if (c.Server.Service > 0 || name == "carried") && rep.Latency.P50 < 100 {
					t.Errorf("100 us of service, p50 is %v us", rep.Latency.P50)
				}
			})
		}
	})
}

func TestZeroAllocations(t *testing.T) {
	if invariants.Enabled || invariants.Race {
		t.Skip("checks of this build allocate")
	}
	each(t, func(t *testing.T, b ring.Backend) {
		for name, change := range map[string]func(*Config){
			"64":     func(c *Config) {},
			"0-8KiB": func(c *Config) { c.Size = Sizes{Min: 0, Max: 8 << 10} },
			"work": func(c *Config) {
				c.Unordered, c.Record, c.Service = true, true, Service{Shape: Bimodal, Time: time.Microsecond, Slow: 2 * time.Microsecond, Percent: 10}
			},
		} {
			for _, rate := range []float64{0, 20_000} {
				c := short("")
				c.Backend, c.Server.Backend = b, b
				c.Rate = rate
				change(&c)
				c.Depth, c.Warmup, c.Duration = 16, 10*time.Millisecond, 50*time.Millisecond
				rep := succeed(t, c)
				for rep.Messages < 400 && c.Duration < 10*time.Second { // others have the processors
					c.Duration *= 4
					rep = succeed(t, c)
				}
				// Taking costs allocates some dozens of objects in all.
				if n := rep.AllocsPerMessage * float64(rep.Messages); n > 200+float64(rep.Messages)/100 || rep.Messages < 400 {
					t.Errorf("%s, rate %v: %.0f allocations for %d messages", name, rate, n, rep.Messages)
				}
			}
		}
	})
}

// crooked is a server on package net that passes every message on a connection,
// numbered from 0, through answer and sends back what that returns. answer may
// return nil and may close the connection.
func crooked(t *testing.T, answer func(c net.Conn, k int, frame []byte) []byte) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				for k := 0; ; k++ {
					var head [4]byte
					if _, err := io.ReadFull(r, head[:]); err != nil {
						return
					}
					frame := append(head[:], make([]byte, binary.BigEndian.Uint32(head[:]))...)
					if _, err := io.ReadFull(r, frame[4:]); err != nil {
						return
					}
					if _, err := c.Write(answer(c, k, frame)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// Each kind of wrong server is caught, and counted as what it is.
func TestRunCatchesWrongServers(t *testing.T) {
	type counts struct{ lost, corrupt, duplicate, broken int64 }
	var held, heldShort []byte
	var once atomic.Bool
	for name, c := range map[string]struct {
		answer func(c net.Conn, k int, frame []byte) []byte
		change func(*Config)
		want   counts
		text   string
	}{
		"honest": {answer: func(_ net.Conn, _ int, f []byte) []byte { return f }},
		"changes a byte": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				if k == 20 {
					f[40] ^= 4
				}
				return f
			},
			want: counts{corrupt: 1}, text: "reply 20 has other bytes",
		},
		"changes a number": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				if k == 20 {
					f[4] ^= 1
				}
				return f
			},
			want: counts{corrupt: 1}, text: "reply 20 has other bytes",
		},
		"shortens": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				if k == 20 {
					f = f[:len(f)-1]
					binary.BigEndian.PutUint32(f, uint32(len(f)-4))
				}
				return f
			},
			want: counts{corrupt: 1}, text: "reply 20 has 63 bytes, want 64",
		},
		"answers twice": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				if k == 20 {
					f = bytes.Repeat(f, 2)
				}
				return f
			},
			want: counts{duplicate: 1}, text: "reply 20 came twice",
		},
		"answers twice, depth 1": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				if k == 20 {
					f = bytes.Repeat(f, 2)
				}
				return f
			},
			change: func(c *Config) { c.Depth = 1 },
			want:   counts{duplicate: 1}, text: "reply 20 came twice",
		},
		"leaves one out": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				if k == 20 {
					f = nil
				}
				return f
			},
			want: counts{lost: 1}, text: "no reply to message 20",
		},
		"leaves one out, depth 1": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				if k == 20 {
					f = nil
				}
				return f
			},
			change: func(c *Config) { c.Depth, c.Drain = 1, 50*time.Millisecond },
			want:   counts{lost: 1}, text: "replies were still missing",
		},
		"swaps two": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				switch k {
				case 20:
					held = f
					f = nil
				case 21:
					f = append(f, held...)
				}
				return f
			},
			want: counts{lost: 1, duplicate: 1}, text: "no reply to message 20",
		},
		"swaps two without a number": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				switch k {
				case 20:
					heldShort = f
					f = nil
				case 21:
					f = append(f, heldShort...)
				}
				return f
			},
			change: func(c *Config) { c.Size = Sizes{Min: 4, Max: 4} },
			want:   counts{corrupt: 2}, text: "reply 20 has other bytes",
		},
		"speaks unasked": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				if k == 20 {
					f = append(f, 0, 0, 0, 1, 'x')
				}
				return f
			},
			change: func(c *Config) { c.Depth = 1 },
			want:   counts{corrupt: 1}, text: "",
		},
		"closes": {
			answer: func(c net.Conn, k int, f []byte) []byte {
				if k == 20 && once.CompareAndSwap(false, true) {
					c.(*net.TCPConn).CloseWrite()
					return nil
				}
				return f
			},
			change: func(c *Config) { c.Depth, c.Conns = 1, 1 },
			want:   counts{broken: 1, lost: 1}, text: "connection 0: ",
		},
		"announces too much": {
			answer: func(_ net.Conn, k int, f []byte) []byte {
				if k == 20 {
					f[0] = 0x7f
				}
				return f
			},
			change: func(c *Config) { c.Depth, c.Conns = 1, 1 },
			want:   counts{broken: 1, lost: 1}, text: "exceeds the maximum of 65536",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := short(crooked(t, c.answer))
			cfg.Conns = 1
			if c.change != nil {
				c.change(&cfg)
			}
			rep, err := enough(t, cfg, 20)
			got := counts{rep.Lost, rep.Corrupt, rep.Duplicate, rep.Broken}
			if got != c.want || rep.Errors != got.lost+got.corrupt+got.duplicate+got.broken {
				t.Errorf("counted %+v, errors %d, want %+v", got, rep.Errors, c.want)
			}
			if rep.MessagesTotal < 20 {
				t.Errorf("%d right replies, want 20 or more", rep.MessagesTotal)
			}
			switch {
			case (err != nil) != (c.want != counts{}):
				t.Errorf("error %v", err)
			case err != nil && (!strings.Contains(err.Error(), c.text) || !strings.HasPrefix(err.Error(), cfg.Target+": ") || rep.Failure != err.Error()):
				t.Errorf("error %q, want one of %s with %q; in the report: %q", err, cfg.Target, c.text, rep.Failure)
			}
		})
	}
}

// stopAt is an honest answer, but for a stop at message at.
func stopAt(t *testing.T, at int, stop time.Duration) func(net.Conn, int, []byte) []byte {
	t.Helper()
	return func(_ net.Conn, k int, f []byte) []byte {
		if k == at {
			<-time.After(stop) // this is the stop itself, nothing waits for it
		}
		return f
	}
}

// A server that stops for a while delays all that was to be sent meanwhile, and an
// open loop must say so: of 200 messages, one per millisecond, those due in the
// 100 ms of the stop wait 50 ms on average.
func TestOpenLoopDoesNotOmitAStop(t *testing.T) {
	addr := crooked(t, stopAt(t, 50, 100*time.Millisecond))
	c := short(addr)
	c.Conns, c.Rate, c.Duration = 1, 1000, 200*time.Millisecond
	rep := succeed(t, c)
	if rep.Messages != 200 {
		t.Errorf("%d messages, want 200", rep.Messages)
	}
	// 100 of 200 are due in the stop; 80 of them wait 20 ms or more.
	if rep.Latency.P90 < 20_000 || rep.Latency.Max < 95_000 {
		t.Errorf("latency %+v", rep.Latency)
	}

	// The same with one message in flight: those held back are late, and no less.
	rep = windowed(t, c, 1)
	if rep.Errors != 0 || rep.Messages != 200 || rep.Latency.P90 < 20_000 || rep.Lateness.P90 < 20_000 {
		t.Errorf("messages %d, errors %d, latency %+v, lateness %+v", rep.Messages, rep.Errors, rep.Latency, rep.Lateness)
	}
	if rep.LatencyActual.P90 >= rep.Latency.P90 {
		t.Errorf("from sending %+v", rep.LatencyActual)
	}
}

// windowed is Run with a small bound on what is in flight.
func windowed(t *testing.T, c Config, window int) *Report {
	t.Helper()
	return windowedRun(t, c, window).report()
}

func windowedRun(t *testing.T, c Config, window int) *run {
	t.Helper()
	c.Threads = 1
	r := &run{Config: c}
	defer r.close()
	if err := r.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.threads[0].window = window
	if err := r.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// What is due and cannot be sent is counted to the last message.
func TestOpenLoopCountsUnsent(t *testing.T) {
	c := short(crooked(t, func(net.Conn, int, []byte) []byte { return nil }))
	c.Conns, c.Rate, c.Duration, c.Drain = 1, 1000, 50*time.Millisecond, 10*time.Millisecond
	rep := windowed(t, c, 3)
	if rep.Lost != 3 || rep.Unsent != 47 || rep.Messages != 0 {
		t.Errorf("lost %d, unsent %d, answered %d, want 3, 47, 0", rep.Lost, rep.Unsent, rep.Messages)
	}
}

func TestWarmupIsCutByTime(t *testing.T) {
	c := short("")
	c.Rate, c.Warmup, c.Duration = 1000, 40*time.Millisecond, 60*time.Millisecond
	rep := succeed(t, c)
	if rep.Messages != 60 || rep.MessagesTotal != 100 || rep.Seconds != 0.06 || rep.WarmupSeconds != 0.04 {
		t.Errorf("%d of %d messages in %v s after %v s", rep.Messages, rep.MessagesTotal, rep.Seconds, rep.WarmupSeconds)
	}
}

func TestRunThatCannotBegin(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	taken := short("")
	taken.Server.Listen = addr
	if rep, err := Run(t.Context(), taken); rep != nil || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr) {
		t.Errorf("%v, want EADDRINUSE of %s", err, addr)
	}
	ln.Close()
	if rep, err := Run(t.Context(), short(addr)); rep != nil || !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), addr) {
		t.Errorf("%v, want ECONNREFUSED of %s", err, addr)
	}
}

func TestRunEndedByItsContext(t *testing.T) {
	for name, rate := range map[string]float64{"closed": 0, "open": 5000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			c := short("")
			c.Duration, c.Rate = time.Hour, rate
			c.Progress = func(p Progress) { // after a second
				if p.Messages == 0 || p.PerSecond <= 0 || p.Total != time.Hour {
					t.Errorf("%+v", p)
				}
				cancel()
			}
			rep, err := Run(ctx, c)
			if !errors.Is(err, context.Canceled) || rep == nil {
				t.Fatal(err)
			}
			if rep.Errors != 0 || rep.Messages == 0 || rep.Seconds < 0.9 || rep.Seconds > 60 {
				t.Errorf("%d messages, %d errors in %v s", rep.Messages, rep.Errors, rep.Seconds)
			}
		})
	}
}

func TestReportJSON(t *testing.T) {
	rep := &Report{Lateness: &Quantiles{}, LatencyActual: &Quantiles{}, Server: &LoopReport{}, Failure: "x", Classes: []ClassReport{{}},
		Policy: "idle", Workers: 1}
	b, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	has := func(m map[string]any, what, keys string) {
		for key := range strings.FieldsSeq(keys) {
			if _, ok := m[key]; !ok {
				t.Errorf("%s: no key %s", what, key)
			}
		}
	}
	has(got, "report", `schema messages messages_total seconds messages_per_second mb_per_second errors lost
		unsent corrupt duplicate broken failure latency_us latency_actual_us lateness_us out_of_range conns depth
		size rate arrival seed warmup_seconds frame target env server generator allocs_per_message
		classes service service_mode order policy workers verdict batch reconnects`)
	class := got["classes"].([]any)[0].(map[string]any)
	has(class, "class", "name service_us share messages latency_us")
	has(class["latency_us"].(map[string]any), "class", "p50 p90 p99 p99_9 p99_99 max mean")
	for _, name := range []string{"latency_us", "latency_actual_us", "lateness_us"} {
		has(got[name].(map[string]any), name, "p50 p90 p99 p99_9 p99_99 max mean")
	}
	for _, name := range []string{"server", "generator"} {
		has(got[name].(map[string]any), name, `backend loops cpus cpu_ns_per_message syscalls_per_message
			turns_per_message sleeps_per_message busy waiting`)
	}
	has(got["env"].(map[string]any), "env", "kernel cpu cpus cores quota governor mitigations go gomaxprocs version")
}

func TestReportTextHasEveryNoteOnce(t *testing.T) {
	const why = "io_uring is not used: the reason; running on epoll"
	rep := &Report{
		Generator:  LoopReport{Placement: Placement{Backend: "epoll", Loops: 2, CPUs: []int{1, -1}, Notes: []string{why}}},
		Server:     &LoopReport{Placement: Placement{Backend: "epoll", Loops: 1, CPUs: []int{-1}, Notes: []string{why, "another"}}},
		OutOfRange: 3,
	}
	var b strings.Builder
	if err := rep.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{why, "another", "epoll, loops 2, pinned to CPU 1,any", "epoll, loops 1, not pinned", "3 times over a minute"} {
		if strings.Count(b.String(), want) != 1 {
			t.Errorf("not once %q in\n%s", want, b.String())
		}
	}
}

// Idle connections stand beside those that send, and are closed at the end.
func TestRunBesideIdleConnections(t *testing.T) {
	s, err := NewServer(ServerOptions{Listen: "127.0.0.1:0", Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := short(s.Addr())
	c.Idle = 20
	rep := succeed(t, c)
	if n := s.Counters().Conns; n < uint64(c.Conns+c.Idle) || rep.Idle != c.Idle || !strings.Contains(rep.loadText(), "20 connections idle") {
		t.Errorf("%d connections were made: %s", n, rep.loadText())
	}
	if err := s.Shutdown(t.Context()); err != nil { // it waits for all to end
		t.Error(err)
	}
}
