package rigtest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kcm-go/kcm/bench/peers/echo"
)

// load is the flags of run and ideal that say what is sent.
type load struct {
	conns, depth, size *int
	rate               *float64
	service            *string
	duration, warmup   *time.Duration
	file               *string
}

func defineLoad(f *flag.FlagSet) *load {
	f.String("arrival", "", "")
	f.String("service-mode", "", "")
	f.Int("seed", 0, "")
	f.Duration("generator-spin", 0, "")
	return &load{
		conns:    f.Int("conns", 0, ""),
		depth:    f.Int("depth", 1, ""),
		size:     f.Int("size", 64, ""),
		rate:     f.Float64("rate", 0, ""),
		service:  f.String("service", "", ""),
		duration: f.Duration("duration", 0, ""),
		warmup:   f.Duration("warmup", 0, ""),
		file:     f.String("json", "", ""),
	}
}

// class is a service time; of every messages one is of it, or all the others if
// every is 0.
type class struct {
	name    string
	service time.Duration
	every   int
}

// classes reads DURATION or bimodal:DURATION,DURATION,1%.
func (l *load) classes() []class {
	times, two := strings.CutPrefix(*l.service, "bimodal:")
	names := strings.Split(times, ",")
	parse := func(i int) class {
		d, _ := time.ParseDuration(names[i])
		return class{name: names[i], service: d}
	}
	switch {
	case *l.service == "":
		return nil
	case !two:
		return []class{parse(0)}
	}
	slow := parse(1)
	slow.every = 100
	return []class{parse(0), slow}
}

// generate is the simplest generator. Every connection sends depth messages,
// then reads as many replies, and so on. With a rate it pauses in between, though
// never for most of the run; that is enough for what is tested.
func generate(fault string, args []string) error {
	f := flag.NewFlagSet("run", flag.ContinueOnError)
	target := f.String("target", "", "")
	f.Bool("order", true, "")
	f.Bool("verdict", true, "")
	l := defineLoad(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	switch fault {
	case "generator fails":
		return errors.New("no luck")
	case "generator hangs":
		select {}
	}
	classes := l.classes()
	g := &tally{latency: make([][]time.Duration, max(1, len(classes)))}
	pause := time.Duration(0)
	if *l.rate > 0 {
		pause = min(*l.duration/4, time.Duration(float64(*l.conns**l.depth) / *l.rate * 1e9))
	}
	start := time.Now()
	var wg sync.WaitGroup
	failures := make(chan error, *l.conns)
	for range *l.conns {
		c, err := net.Dial("tcp", *target)
		if err != nil {
			return err
		}
		defer c.Close()
		wg.Go(func() {
			if err := g.run(c, l, classes, start, pause); err != nil {
				failures <- err
			}
		})
	}
	wg.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return err
	}
	return g.write(fault, l, classes)
}

// tally is what all connections count.
type tally struct {
	mu       sync.Mutex
	total    int
	measured int
	latency  [][]time.Duration // by class
}

func (g *tally) run(c net.Conn, l *load, classes []class, start time.Time, pause time.Duration) error {
	r := bufio.NewReader(c)
	frame := make([]byte, echo.HeaderLen+*l.size)
	binary.BigEndian.PutUint32(frame, uint32(*l.size))
	// On a machine that is busy elsewhere the time may be over before the first message.
	measured := false
	for n := 1; !measured || time.Since(start) < *l.warmup+*l.duration; n++ {
		k := 0
		for i, c := range classes {
			if c.every == 0 || n%c.every == 0 {
				k = i
			}
		}
		if len(classes) > 0 {
			binary.BigEndian.PutUint32(frame[echo.HeaderLen:], uint32(classes[k].service.Microseconds()))
		}
		sent := time.Now()
		for range *l.depth {
			if _, err := c.Write(frame); err != nil {
				return err
			}
		}
		if _, err := io.CopyN(io.Discard, r, int64(*l.depth*len(frame))); err != nil {
			return err
		}
		took := time.Since(sent)
		g.mu.Lock()
		g.total += *l.depth
		if time.Since(start) > *l.warmup {
			g.measured += *l.depth
			measured = true
			g.latency[k] = append(g.latency[k], took)
		}
		g.mu.Unlock()
		time.Sleep(pause - took)
	}
	return nil
}

func (g *tally) write(fault string, l *load, classes []class) error {
	quantiles := func(times []time.Duration) map[string]float64 {
		slices.Sort(times)
		at := func(q float64) float64 {
			n := len(times)
			if n == 0 {
				return 0
			}
			return float64(times[int(q*float64(n))].Nanoseconds()) / 1e3
		}
		return map[string]float64{"p50": at(.5), "p99": at(.99), "p99_9": at(.999)}
	}
	var list []any
	for i, c := range classes {
		list = append(list, map[string]any{
			"name":       c.name,
			"messages":   len(g.latency[i]),
			"latency_us": quantiles(g.latency[i]),
		})
	}
	res := map[string]any{
		"messages":            g.measured,
		"messages_total":      g.total,
		"messages_per_second": float64(g.measured) / l.duration.Seconds(),
		"latency_us":          quantiles(slices.Concat(g.latency...)),
		"errors":              0,
		"lateness_us":         map[string]float64{"p99": 1},
		"classes":             list,
	}
	failed := fault == "generator counts errors"
	if failed {
		res["errors"] = 3
	}
	if fault == "behind" && *l.rate >= 10_000 {
		failed = true
		res["errors"], res["lost"] = 2, 2
	}
	if err := write(*l.file, res); err != nil {
		return err
	}
	if failed {
		return errors.New("the run failed")
	}
	return nil
}
