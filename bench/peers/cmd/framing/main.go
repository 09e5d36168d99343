package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench/peers/framing"
	"github.com/kcm-go/kcm/bench/peers/internal/rig"
)

func main() { rig.Main("framing", run) }

// options are the flags.
type options struct {
	rounds int
	time   time.Duration // of one run
	sizes  []int         // of messages
	sets   []framing.Set
	ways   []string // names of contestants
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("framing", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.IntVar(&o.rounds, "rounds", 41, "rounds; each runs every way once")
	f.DurationVar(&o.time, "time", 10*time.Millisecond, "shortest time of a run")
	sizes := f.String("sizes", "64,1024", "comma-separated sizes of messages, header included: powers of two from 8 to 4096")
	sets := f.String("sets", "read,in place", "comma-separated sets")
	ways := f.String("ways", strings.Join(names(framing.Contestants()), ","), "comma-separated ways")
	if err := f.Parse(args); err != nil {
		return o, flag.ErrHelp
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.rounds < 1:
		return o, fmt.Errorf("-rounds %d: want at least 1", o.rounds)
	case o.time <= 0:
		return o, fmt.Errorf("-time %v: want some time", o.time)
	}
	for _, s := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return o, fmt.Errorf("-sizes: %w", err)
		}
		o.sizes = append(o.sizes, n)
	}
	all := map[string]framing.Set{framing.Read.String(): framing.Read, framing.InPlace.String(): framing.InPlace}
	for _, s := range strings.Split(*sets, ",") {
		set, ok := all[s]
		if !ok {
			return o, fmt.Errorf("-sets: no set %q, have read, in place", s)
		}
		o.sets = append(o.sets, set)
	}
	o.ways = strings.Split(*ways, ",")
	return o, rig.Choose("way", o.ways, names(framing.Contestants()))
}

func names(list []framing.Contestant) []string {
	var s []string
	for _, c := range list {
		s = append(s, c.Name)
	}
	return s
}

// run is the program: open, measure, report.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	m, err := openAll(o)
	if err != nil {
		return err
	}
	err = m.measure(ctx, o.rounds, o.time)
	if err = errors.Join(err, m.close()); err != nil {
		return err
	}
	_, err = io.WriteString(stdout, m.markdown(o))
	return err
}
