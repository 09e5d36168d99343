package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	serve := flag.String("serve", "", "be the `server` of that name; for this program itself")
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "how often each server is measured")
	flag.DurationVar(&o.time, "time", time.Second, "how long a measurement takes")
	flag.IntVar(&o.flows, "flows", 4, "sockets of the load")
	flag.IntVar(&o.window, "window", 16, "datagrams under way of each")
	flag.IntVar(&o.size, "size", 1200, "bytes of a datagram")
	flag.BoolVar(&o.plain, "plain", false, "the load sends and receives datagrams one by one")
	only := flag.String("only", "", "measure these `servers`, separated by commas; else all: "+strings.Join(names(), ","))
	flag.Parse()
	if *only != "" {
		o.servers = strings.Split(*only, ",")
	} else {
		o.servers = names()
	}
	var err error
	if *serve != "" {
		err = runServer(*serve, os.Stdin, os.Stdout)
	} else {
		err = run(o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "datagrams:", err)
		os.Exit(1)
	}
}

type options struct {
	rounds, flows, window, size int
	time                        time.Duration
	plain                       bool
	servers                     []string
}

// result is one measurement.
type result struct {
	rate float64 // datagrams a second
	cpu  float64 // ns of the server's processor time for each
	lost float64 // of a million
}

// run measures all servers and prints the table.
func run(o options, out io.Writer) error {
	if o.rounds < 1 || o.flows < 1 || o.window < 1 || o.size < 1 || o.time <= 0 {
		return errors.New("rounds, time, flows, window and size are positive")
	}
	results := map[string][]result{}
	for round := range o.rounds {
		for i := range o.servers {
			name := o.servers[(i+round)%len(o.servers)]
			r, err := measure(name, o)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			results[name] = append(results[name], r)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "server\tdatagrams/s\tlowest\thighest\tCPU ns each\tlowest\thighest\tlost of 1e6\t")
	for _, name := range o.servers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\t\n", name,
			spread(results[name], func(r result) float64 { return r.rate }),
			spread(results[name], func(r result) float64 { return r.cpu }),
			slices.Max(values(results[name], func(r result) float64 { return r.lost })))
	}
	return w.Flush()
}

func values(rs []result, of func(result) float64) []float64 {
	var v []float64
	for _, r := range rs {
		v = append(v, of(r))
	}
	slices.Sort(v)
	return v
}

// spread is the median, the lowest and the highest.
func spread(rs []result, of func(result) float64) string {
	v := values(rs, of)
	return fmt.Sprintf("%.0f\t%.0f\t%.0f", (v[(len(v)-1)/2]+v[len(v)/2])/2, v[0], v[len(v)-1])
}

// limit is how long a measurement may take longer because nothing happens.
const limit = 10 * time.Second

// measure starts a server, loads it, and looks at its counters at the start and the end of
// the measured time.
func measure(name string, o options) (r result, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.Command(self, "-serve", name)
	cmd.Env = append(os.Environ(), serverEnv+"="+name)
	cmd.Stderr = os.Stderr
	ask, err := cmd.StdinPipe()
	if err != nil {
		return r, err
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	defer func() {
		ask.Close() // it ends by that
		if werr := cmd.Wait(); err == nil && werr != nil {
			err = werr
		}
	}()
	lines := bufio.NewReader(answers)
	var addr string
	if _, err := fmt.Fscanln(lines, &addr); err != nil {
		return r, fmt.Errorf("the server's address: %w", err)
	}
	g, err := startLoad(addr, o)
	if err != nil {
		return r, err
	}
	defer g.close()

	type counters struct {
		at       time.Time
		cpu, all int64
	}
	look := func() (c counters, err error) {
		if _, err = fmt.Fprintln(ask); err == nil {
			_, err = fmt.Fscanln(lines, &c.cpu, &c.all)
		}
		c.at = time.Now()
		return c, err
	}
	time.Sleep(o.time / 5) // until caches and queues are as they stay
	before, err := look()
	if err != nil {
		return r, err
	}
	lost := g.lost()
	after := before
	for after.all == before.all { // longer, where others have the processors
		if time.Since(before.at) > o.time+limit {
			return r, errors.New("no datagram came back")
		}
		time.Sleep(o.time)
		if after, err = look(); err != nil {
			return r, err
		}
	}
	n := float64(after.all - before.all)
	r.rate = n / after.at.Sub(before.at).Seconds()
	r.cpu = float64(after.cpu-before.cpu) / n
	r.lost = float64(g.lost()-lost) / n * 1e6
	return r, nil
}
