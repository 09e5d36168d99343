package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/kcm-go/kcm/bench"
)

const aboutIdeal = `kcmbench ideal says how long messages would take if nothing took time but the work they
carry: it simulates their arrivals at a number of workers, one queue before them (fcfs:
first come, first served) or all messages at once (ps: each gets an equal share, one
worker at most). What a server needs beyond that is its own.

  kcmbench ideal -rate 20000 -arrival poisson -service bimodal:10us,2ms,1% -workers 4
  kcmbench ideal -trace record.csv -workers 8 -discipline fcfs

The load is that of run with the same flags and one thread, to the message, and must be
an open loop; or it is a file that run -record has written. Waiting is the time before
the work begins, sojourn that to its end.

The keys of the JSON that -json writes:
  schema (1), workers, messages (measured), load (work that arrives, of what the workers
  can do), disciplines [{discipline, utilisation, waiting_us {p50, p90, p99, p99_9,
  p99_99, max, mean} (fcfs only), sojourn_us {...}, classes [{name, messages, waiting_us,
  sojourn_us}]}].

Flags:`

// both is the value of -discipline that stands for every one.
const both = "both"

func parseDisciplines(s string) ([]bench.Discipline, error) {
	if s == both {
		return []bench.Discipline{bench.FCFS, bench.PS}, nil
	}
	d, err := bench.ParseDiscipline(s)
	if err != nil {
		return nil, fmt.Errorf("want fcfs, ps or both")
	}
	return []bench.Discipline{d}, nil
}

func printDisciplines(d []bench.Discipline) string {
	if len(d) == 1 {
		return d[0].String()
	}
	return both
}

func runIdeal(_ context.Context, args []string, stdout, _ io.Writer) error {
	w := bench.Workload{Depth: 1, Size: bench.Sizes{Min: 64, Max: 64}} // neither matters
	var trace, file string
	disciplines := []bench.Discipline{bench.FCFS, bench.PS}
	f := flag.NewFlagSet("ideal", flag.ContinueOnError)
	defineArrivals(f, &w)
	var classes []string
	classFlag(f, &classes)
	var load []string // the flags so far
	f.VisitAll(func(g *flag.Flag) { load = append(load, g.Name) })
	f.StringVar(&trace, "trace", "", "take the load from `file`, which run -record has written")
	workers := f.Int("workers", 1, "workers")
	f.Var(text[[]bench.Discipline]{&disciplines, parseDisciplines, printDisciplines}, "discipline", "how messages share the workers: `fcfs, ps or both`")
	f.StringVar(&file, "json", "", "write the figures to `file` as JSON too")
	if err := parse(f, args, stdout, aboutIdeal); err != nil {
		return err
	}
	if *workers < 1 || *workers > bench.MaxWorkers {
		return &usageError{fmt.Errorf("-workers %d: want 1 to %d", *workers, bench.MaxWorkers)}
	}
	if err := finishClasses(classes, &w); err != nil {
		return err
	}
	jobs, err := idealJobs(f, &w, load, trace)
	if err != nil {
		return err
	}
	rep := jobs.Ideal(*workers, disciplines...)
	if err := rep.WriteText(stdout); err != nil {
		return err
	}
	if file != "" {
		if err := rep.WriteJSON(file); err != nil {
			return fmt.Errorf("-json: %w", err)
		}
	}
	return nil
}

// idealJobs returns the load: of a trace, or of the flags named in load.
func idealJobs(f *flag.FlagSet, w *bench.Workload, load []string, trace string) (*bench.Jobs, error) {
	if trace == "" {
		jobs, err := w.Jobs()
		return jobs, wrongOption(err)
	}
	var idle error
	f.Visit(func(set *flag.Flag) {
		if idle == nil && slices.Contains(load, set.Name) {
			idle = &usageError{fmt.Errorf("-%s is for a load of flags, which -trace replaces", set.Name)}
		}
	})
	if idle != nil {
		return nil, idle
	}
	jobs, err := bench.ReadTrace(trace)
	if err != nil {
		return nil, fmt.Errorf("-trace: %w", err)
	}
	return jobs, nil
}
