//go:build linux

package bench

import (
	"encoding/binary"
	"flag"
	"io"
	"math"
	"net"
	"testing"
	"time"
)

var forReal = flag.Bool("real", false, "run the known answers that take 10 s of a quiet machine")

// near reports whether got is within 2 % of want.
func near(got, want float64) bool { return math.Abs(got-want) <= 0.02*want }

// quantilesNear holds percentiles against those that quantile computes, in microseconds.
// Higher ones than the 99th would need more messages.
func quantilesNear(t *testing.T, name string, q Quantiles, quantile func(p float64) float64) {
	t.Helper()
	for _, c := range []struct{ p, got float64 }{{0.5, q.P50}, {0.9, q.P90}, {0.99, q.P99}} {
		if want := quantile(c.p); !near(c.got, want) {
			t.Errorf("%s: percentile %v is %.1f us, want %.1f", name, 100*c.p, c.got, want)
		}
	}
}

// A server that works on everything at once takes exactly its service times, and so says
// the generator, whatever the distribution.
func TestKnownServiceTimes(t *testing.T) {
	for text, quantile := range map[string]func(p float64) float64{
		"500us":           func(float64) float64 { return 500 },
		"exp:1ms":         func(p float64) float64 { return -1000 * math.Log(1-p) },
		"lognormal:1ms,1": func(p float64) float64 { return 1000 * math.Exp(math.Sqrt2*math.Erfinv(2*p-1)) },
		"bimodal:100us,5ms,5%": func(p float64) float64 {
			if p < 0.95 {
				return 100
			}
			return 5000
		},
	} {
		w := good()
		w.Conns, w.Rate, w.Arrival, w.Unordered, w.Seed = 4, 20_000, Poisson, true, 4
		w.Warmup, w.Duration, w.Service = 100*time.Millisecond, 3*time.Second, mustService(t, text)
		_, rep := simulated(t, w, 0, 0, 0)
		quantilesNear(t, text, rep.Latency, quantile)
		quantilesNear(t, text+" from sending", *rep.LatencyActual, quantile)
		likeIdeal(t, &w, int(w.Rate), rep.Latency) // more workers than are ever busy
		if rep.Lateness.Max > 1 {
			t.Errorf("%s: lateness %+v", text, rep.Lateness)
		}
	}
}

// Queues have the answers of queueing theory: the time in an M/M/1 is exponential, of
// mean 1/(mu-lambda); and any queue has those of Ideal, which are tested by themselves.
func TestKnownQueues(t *testing.T) {
	w := good()
	w.Conns, w.Rate, w.Arrival, w.Unordered, w.Seed = 4, 300, Poisson, true, 1
	w.Warmup, w.Duration, w.Service = 5*time.Second, 600*time.Second, mustService(t, "exp:1ms")
	_, rep := simulated(t, w, 1, 0, 0)
	quantilesNear(t, "M/M/1", rep.Latency, func(p float64) float64 { return -1000 / 0.7 * math.Log(1-p) })

	for text, workers := range map[string]int{"exp:1ms": 1, "bimodal:100us,10ms,5%": 4, "lognormal:1ms,1": 4} {
		w.Service = mustService(t, text)
		w.Rate, w.Warmup, w.Duration = 0.7*float64(workers)/w.Service.mean().Seconds(), time.Second, 5*time.Second
		_, rep := simulated(t, w, workers, 0, 0)
		likeIdeal(t, &w, workers, rep.Latency)
	}
}

// likeIdeal holds a run against the ideal queue of the same messages, to the last one.
func likeIdeal(t *testing.T, w *Workload, workers int, q Quantiles) {
	t.Helper()
	jobs, err := w.Jobs()
	if err != nil {
		t.Fatal(err)
	}
	ideal := jobs.Ideal(workers, FCFS).Disciplines[0].Sojourn
	for _, c := range []struct{ got, want float64 }{
		{q.P50, ideal.P50}, {q.P90, ideal.P90}, {q.P99, ideal.P99}, {q.P999, ideal.P999}, {q.P9999, ideal.P9999}, {q.Max, ideal.Max}, {q.Mean, ideal.Mean},
	} {
		if math.Abs(c.got-c.want) > 0.002*c.want { // three digits
			t.Errorf("%s, %d workers: %.1f us, the ideal queue has %.1f", w.Service, workers, c.got, c.want)
		}
	}
}

// Connections that live 50 ms, of which the first lives are shorter, and have a message
// every 4 ms: they end with the first message that is due after that, and are there again
// in no time.
func TestKnownLives(t *testing.T) {
	w := good()
	w.Conns, w.Rate, w.Duration, w.Churn = 4, 1000, 2*time.Second, Churn{Time: 50 * time.Millisecond}
	_, rep := simulated(t, w, 0, 0, 0)
	// A connection stands for 52 ms, 13 messages: 2 s / 52 ms of each.
	if want := 4 * 2000 / 52.0; math.Abs(float64(rep.Reconnects)-want) > 4 || rep.Messages != 2000 {
		t.Errorf("%d messages, %d connections made anew, want about %.0f", rep.Messages, rep.Reconnects, want)
	}
	if rep.Connect.Max > 1 || rep.Latency.Max > 1 {
		t.Errorf("connecting %+v, latency %+v", rep.Connect, rep.Latency)
	}

	w.Churn = Churn{Messages: 10}
	_, rep = simulated(t, w, 0, 0, 0)
	// 500 messages of each, so 50 lives that end, the first ones shorter; but the last of
	// all messages has none behind it.
	if rep.Reconnects != 4*50-1 || rep.Messages != 2000 {
		t.Errorf("%d messages, %d connections made anew, want 199", rep.Messages, rep.Reconnects)
	}

	// With a think time of a millisecond and no service each of 4 connections has one message
	// a millisecond.
	w.Churn, w.Rate, w.Think = Churn{}, 0, Service{Time: time.Millisecond}
	_, rep = simulated(t, w, 0, 0, 0)
	if rep.Messages < 7960 || rep.Messages > 8000 {
		t.Errorf("%d messages with a think time of 1 ms, want about 8000", rep.Messages)
	}
}

// late returns the share of the messages that took longer than a time.
func late(r *run, than time.Duration) float64 {
	n, all := 0, 0
	for _, rec := range newTrace(&r.Workload, r.threads).records {
		all++
		if rec.latency > than {
			n++
		}
	}
	return float64(n) / float64(all)
}

// A server that takes S for each message stops for T in an open run of 10 s. Late is who
// comes while it stands, and until the queue is gone: with a load of rho of what the server
// can do, T/(1-rho) in all. Who comes x after the beginning of the stop waits
// T - x*(1-rho).
func TestKnownShareOfAStop(t *testing.T) {
	const stop = time.Second
	for _, rho := range []float64{0.25, 0.5, 0.8} {
		w := good()
		w.Conns, w.Rate, w.Duration, w.Service = 4, 1000*rho, 10*time.Second, Service{Time: time.Millisecond}
		r, rep := simulated(t, w, 1, 2*time.Second, stop)
		want := stop.Seconds() / (1 - rho) / 10
		if got := late(r, time.Millisecond+10*time.Microsecond); !near(got, want) {
			t.Errorf("load %v: %.4f of the messages were late, want %.4f", rho, got, want)
		}
		if q := rep.Latency; !near(q.Max, 1e6) || rep.Messages != int64(10_000*rho) {
			t.Errorf("load %v: %d messages, latency %+v", rho, rep.Messages, q)
		}
		if !rep.Verdict.Valid || r.own().late > 0 {
			t.Errorf("load %v: the generator is said to have been late: %+v, %+v", rho, rep.Verdict, r.own())
		}

		// With a bound on what is in flight the same share is late, and not by the
		// generator's fault.
		r, rep = simulated(t, w, 1, 2*time.Second, stop, func(g *generator) { g.window = 2 })
		if got := late(r, time.Millisecond+10*time.Microsecond); !near(got, want) {
			t.Errorf("load %v, few in flight: %.4f were late, want %.4f", rho, got, want)
		}
		if rep.Lateness.Max < 0.8e6 || r.own().late > 0 || !rep.Verdict.Valid {
			t.Errorf("load %v, few in flight: lateness %+v, %+v", rho, rep.Lateness, r.own())
		}
	}

	// A closed loop does not show it: it has stopped as well.
	w := good()
	w.Conns, w.Depth, w.Duration, w.Service = 10, 1, 10*time.Second, Service{Time: time.Millisecond}
	r, _ := simulated(t, w, 1, 2*time.Second, stop)
	if got := late(r, 11*time.Millisecond); got > 0.002 {
		t.Errorf("closed loop: %.4f of the messages were late", got)
	}
}

// The same against a real server. It needs a quiet machine and 10 s: make known.
func TestKnownShareOfAStopForReal(t *testing.T) {
	if !*forReal {
		t.Skip("takes 10 s of a quiet machine; make known runs it")
	}
	const (
		serve = 500 * time.Microsecond
		stop  = time.Second
		least = 50 * time.Millisecond // what counts as late
		rho   = 0.5
	)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { // a server whose time for each message is exact on the whole
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		type arrival struct {
			frame []byte
			at    time.Time
		}
		arrivals := make(chan arrival, 1<<16)
		go func() {
			defer close(arrivals)
			for {
				frame := make([]byte, 68)
				if _, err := io.ReadFull(c, frame); err != nil {
					return
				}
				if binary.BigEndian.Uint32(frame) != 64 {
					t.Error("a message of another size")
					return
				}
				arrivals <- arrival{frame, time.Now()}
			}
		}()
		var free, halt time.Time
		for a := range arrivals {
			if halt.IsZero() {
				halt = a.at.Add(3 * time.Second) // a second of warm-up, and two
			}
			if free.Before(a.at) {
				free = a.at
			}
			if free.After(halt) && free.Before(halt.Add(stop)) {
				free = halt.Add(stop)
			}
			free = free.Add(serve)
			if left := time.Until(free); left > 0 {
				<-time.After(left) // this is the work itself
			}
			if _, err := c.Write(a.frame); err != nil {
				return
			}
		}
	}()
	c := Config{Target: ln.Addr().String(), Record: true, MaxLateness: least}
	c.Workload = good()
	c.Rate, c.Duration, c.Warmup = rho/serve.Seconds(), 10*time.Second, time.Second
	rep, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, rec := range rep.Trace.records {
		if rec.latency > least {
			n++
		}
	}
	got, want := float64(n)/float64(rep.Messages), (stop-least).Seconds()/(1-rho)/10
	t.Logf("%.4f of the messages took longer than %v, arithmetic gives %.4f", got, least, want)
	if !near(got, want) {
		t.Errorf("%.4f of the messages took longer than %v, want %.4f", got, least, want)
	}
}
