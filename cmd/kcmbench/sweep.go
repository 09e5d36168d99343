package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench"
	"github.com/kcm-go/kcm/bench/judge"
)

const aboutSweep = `kcmbench sweep does a run for each value of a flag of run, or for each combination of the
values of several:

  kcmbench sweep -over rate=10000,20000,40000,80000 -arrival poisson
  kcmbench sweep -over depth=1,2,4,8,16,32 -conns 64 -json depth.json
  kcmbench sweep -over policy=idle,fifo -over rate=5000,10000,20000 -workers 4 \
      -service bimodal:10us,2ms,1% -order=false

What the words mean:
  -over     FLAG=V1,V2,...; where a value has a comma, FLAG=V1;V2;... The values of the
            last -over change fastest
  knee      where the curve bends most: over -rate that of p99, which rises ever faster;
            over another number, in a closed loop, that of throughput, which rises ever
            slower. Found by the method Kneedle (Satopää and others, 2011), which depends
            on where the sweep ends; it needs 5 values at least. kcmbench slo says what
            rate keeps a latency that you name
  ideal     in an open loop with -service: the p99 of the same messages at a queue that
            takes no time but for the work, first come, first served, on as many workers
            as the server in this process has, or else its loops (kcmbench ideal)

Runs that fail are marked, the others go on, and the exit status is 1.

The keys of the JSON that -json writes:
  schema (1), over [{flag, values}], rows [{flags {NAME: VALUE}, report, failure,
  ideal_workers, ideal_us}], knees [{flags, along, of, at}], failure. report is the JSON
  of run; ideal_us has percentiles; flags of a knee are those that were the same.

Flags:`

// axis is a flag that is varied.
type axis struct {
	Flag   string   `json:"flag"`
	Values []string `json:"values"`
}

// axes is the flag.Value of -over.
type axes []axis

func (a *axes) String() string { return "" }

func (a *axes) Set(s string) error {
	name, list, ok := strings.Cut(s, "=")
	by := ","
	if strings.Contains(list, ";") {
		by = ";"
	}
	values := strings.Split(list, by)
	if !ok || name == "" || slices.Contains(values, "") {
		return errors.New("want FLAG=V1,V2,...")
	}
	name = strings.TrimLeft(name, "-")
	for _, b := range *a {
		if b.Flag == name {
			return fmt.Errorf("-%s is there twice", name)
		}
	}
	*a = append(*a, axis{name, values})
	return nil
}

// combinations returns every choice of values, the last axis changing fastest.
func (a axes) combinations() [][]string {
	all := [][]string{nil}
	for _, x := range a {
		var longer [][]string
		for _, c := range all {
			for _, v := range x.Values {
				longer = append(longer, append(slices.Clone(c), v))
			}
		}
		all = longer
	}
	return all
}

// sweepReport is the JSON of sweep.
type sweepReport struct {
	Schema  int        `json:"schema"`
	Over    axes       `json:"over"`
	Rows    []sweepRow `json:"rows"`
	Knees   []knee     `json:"knees"`
	Failure string     `json:"failure,omitempty"`
}

// sweepRow is one run.
type sweepRow struct {
	Flags   map[string]string `json:"flags"`
	Report  *bench.Report     `json:"report"`
	Failure string            `json:"failure,omitempty"`

	IdealWorkers int              `json:"ideal_workers,omitempty"`
	Ideal        *bench.Quantiles `json:"ideal_us,omitempty"`
}

// knee is the bend of one curve.
type knee struct {
	Flags map[string]string `json:"flags"` // that are the same all along
	Along string            `json:"along"` // the flag that varies
	Of    string            `json:"of"`    // the key of the report that bends
	At    string            `json:"at"`    // the value
}

// maxSweep is the most runs of a sweep.
const maxSweep = 10_000

func runSweep(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var over axes
	var file string
	// each returns the flags with a Config of their own.
	each := func() (*flag.FlagSet, *bench.Config, func() error) {
		c := new(bench.Config)
		f := flag.NewFlagSet("sweep", flag.ContinueOnError)
		complete := defineConfig(f, c)
		over = nil
		f.Var(&over, "over", "vary a flag: `FLAG=V1,V2,...`; may be repeated")
		f.StringVar(&file, "json", "", "write all runs to `file` as JSON too")
		return f, c, complete
	}
	f, _, _ := each()
	if err := parse(f, args, stdout, aboutSweep); err != nil {
		return err
	}
	if err := checkAxes(f, over); err != nil {
		return err
	}
	rep := &sweepReport{Schema: bench.Schema, Over: over, Rows: []sweepRow{}, Knees: []knee{}}
	var configs []*bench.Config
	for _, values := range rep.Over.combinations() {
		f, c, complete := each()
		if err := parse(f, args, stdout, aboutSweep); err != nil {
			return err
		}
		row := sweepRow{Flags: map[string]string{}}
		for i, v := range values {
			name := rep.Over[i].Flag
			if err := f.Set(name, v); err != nil {
				return &usageError{fmt.Errorf("-over: invalid value %q for flag -%s: %w", v, name, err)}
			}
			row.Flags[name] = v
		}
		if err := complete(); err != nil {
			return err
		}
		rep.Rows, configs = append(rep.Rows, row), append(configs, c)
	}
	say := io.Discard
	if isTerminal(stderr) {
		say = stderr
	}
	err := rep.run(ctx, configs, say)
	if err != nil {
		rep.Failure = err.Error()
	}
	rep.findKnees()
	return write(err, stdout, file, rep, rep.writeText)
}

// checkAxes returns a usage error for axes that cannot be swept. f has been parsed.
func checkAxes(f *flag.FlagSet, over axes) error {
	if len(over) == 0 {
		return &usageError{errors.New("want -over FLAG=V1,V2,...")}
	}
	n := 1
	for _, a := range over {
		if f.Lookup(a.Flag) == nil || notSwept(a.Flag) {
			return &usageError{fmt.Errorf("-over %s: no flag of run's that says what is measured", a.Flag)}
		}
		var twice error
		f.Visit(func(set *flag.Flag) {
			if set.Name == a.Flag {
				twice = &usageError{fmt.Errorf("-%s is given, and varied by -over", a.Flag)}
			}
		})
		if twice != nil {
			return twice
		}
		if n *= len(a.Values); n > maxSweep {
			return &usageError{fmt.Errorf("-over: want at most %d runs", maxSweep)}
		}
	}
	return nil
}

// notSwept reports whether a flag is sweep's own.
func notSwept(name string) bool { return name == "over" || name == "json" }

// run does the runs, and leaves the rows that were done. The error says how many failed,
// or why the rest was not done.
func (r *sweepReport) run(ctx context.Context, configs []*bench.Config, say io.Writer) error {
	failed, first := 0, ""
	for i := range r.Rows {
		row := &r.Rows[i]
		rep, err := once(ctx, *configs[i])
		if err != nil {
			r.Rows = r.Rows[:i]
			return err
		}
		row.Report, row.Failure = rep, rep.Failure
		row.ideal(configs[i])
		fmt.Fprintf(say, "run %d of %d: %s: %.0f/s, p99 %.1f us %s\n", i+1, len(r.Rows), strings.Join(r.values(row), " "), rep.PerSecond, rep.Latency.P99, row.Failure)
		if row.Failure != "" {
			if failed++; failed == 1 {
				first = row.Failure
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d runs failed, the first: %s", failed, len(r.Rows), first)
	}
	return nil
}

// ideal simulates the run, if it was one of an open loop with work.
func (row *sweepRow) ideal(c *bench.Config) {
	jobs, err := c.Jobs()
	if err != nil {
		return // not of that kind, or too many messages
	}
	row.IdealWorkers = workersOf(row.Report)
	row.Ideal = &jobs.Ideal(row.IdealWorkers, bench.FCFS).Disciplines[0].Sojourn
}

// values returns those of a row's flags, in the order of the axes.
func (r *sweepReport) values(row *sweepRow) (all []string) {
	for _, a := range r.Over {
		all = append(all, row.Flags[a.Flag])
	}
	return all
}

// number reads a value of a flag that is a quantity.
func number(s string) (float64, bool) {
	if x, err := strconv.ParseFloat(s, 64); err == nil {
		return x, true
	}
	if n, err := bench.ParseBytes(s); err == nil {
		return float64(n), true
	}
	if d, err := time.ParseDuration(s); err == nil {
		return float64(d), true
	}
	return 0, false
}

// minKnee is how many points a curve needs.
const minKnee = 5

// findKnees looks for the bend of each curve along the flag rate, or else the only flag
// that is varied.
func (r *sweepReport) findKnees() {
	along := slices.IndexFunc(r.Over, func(a axis) bool { return a.Flag == "rate" })
	if along < 0 {
		if len(r.Over) != 1 {
			return
		}
		along = 0
	}
	name := r.Over[along].Flag
	k := knee{Along: name, Of: "latency_us.p99"}
	of, bend := func(rep *bench.Report) float64 { return rep.Latency.P99 }, judge.Convex
	if name != "rate" {
		k.Of = "messages_per_second"
		of, bend = func(rep *bench.Report) float64 { return rep.PerSecond }, judge.Concave
	}
	curves := map[string][]*sweepRow{} // by the other flags
	var order []string
	for i := range r.Rows {
		row := &r.Rows[i]
		if _, ok := number(row.Flags[name]); !ok || row.Report.Rate == 0 && name == "rate" || row.Report.Rate > 0 && name != "rate" {
			return
		}
		values := r.values(row)
		key := strings.Join(slices.Delete(values, along, along+1), "\x00")
		if curves[key] == nil {
			order = append(order, key)
		}
		curves[key] = append(curves[key], row)
	}
	for _, key := range order {
		rows := curves[key]
		slices.SortStableFunc(rows, func(a, b *sweepRow) int {
			x, _ := number(a.Flags[name])
			y, _ := number(b.Flags[name])
			return cmp.Compare(x, y)
		})
		var x, y []float64
		for _, row := range rows {
			at, _ := number(row.Flags[name])
			x, y = append(x, at), append(y, of(row.Report))
		}
		i, ok := judge.Knee(x, y, bend)
		if len(rows) < minKnee || !ok {
			continue
		}
		k.At = rows[i].Flags[name]
		k.Flags = map[string]string{}
		for f, v := range rows[i].Flags {
			if f != name {
				k.Flags[f] = v
			}
		}
		r.Knees = append(r.Knees, k)
	}
}

// bends reports whether a row is a knee.
func (r *sweepReport) bends(row *sweepRow) bool {
	return slices.ContainsFunc(r.Knees, func(k knee) bool {
		for f, v := range k.Flags {
			if row.Flags[f] != v {
				return false
			}
		}
		return row.Flags[k.Along] == k.At
	})
}

func (r *sweepReport) writeText(w io.Writer) error {
	var b strings.Builder
	ideal := slices.ContainsFunc(r.Rows, func(row sweepRow) bool { return row.Ideal != nil })
	width := make([]int, len(r.Over))
	for i, a := range r.Over {
		for _, v := range append([]string{a.Flag}, a.Values...) {
			width[i] = max(width[i], len(v))
		}
		fmt.Fprintf(&b, "%-*s ", width[i], a.Flag)
	}
	fmt.Fprintf(&b, "%12s %10s %10s %10s %12s", "messages/s", "p50 us", "p99 us", "p99.9 us", "CPU ns/msg")
	if ideal {
		fmt.Fprintf(&b, " %12s", "ideal p99 us")
	}
	b.WriteByte('\n')
	for i := range r.Rows {
		row := &r.Rows[i]
		for j, v := range r.values(row) {
			fmt.Fprintf(&b, "%-*s ", width[j], v)
		}
		rep := row.Report
		cpu := "-"
		if rep.Server != nil {
			cpu = fmt.Sprintf("%.0f", rep.Server.CPUNanosPerMessage)
		}
		fmt.Fprintf(&b, "%12.0f %10.1f %10.1f %10.1f %12s", rep.PerSecond, rep.Latency.P50, rep.Latency.P99, rep.Latency.P999, cpu)
		switch {
		case row.Ideal != nil:
			fmt.Fprintf(&b, " %12.1f", row.Ideal.P99)
		case ideal:
			fmt.Fprintf(&b, " %12s", "-")
		}
		if r.bends(row) {
			b.WriteString("  knee")
		}
		if row.Failure != "" {
			b.WriteString("  failed")
		}
		b.WriteByte('\n')
	}
	b.WriteString("\nCPU is that of the server's loops in this process.\n")
	for i := range r.Knees {
		k := &r.Knees[i]
		fmt.Fprintf(&b, "knee of %s: -%s %s", k.Of, k.Along, k.At)
		for _, a := range r.Over {
			if v, ok := k.Flags[a.Flag]; ok {
				fmt.Fprintf(&b, ", -%s %s", a.Flag, v)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
