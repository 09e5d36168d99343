package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench"
)

// outputs are the files that run writes. Those that grow while it runs, the series and
// the log, are opened before it begins and have whole lines at any moment; the others
// are written at the end, whatever that was.
type outputs struct {
	json, csv, hgrm, record string
	series, log             growing
	stdout                  io.Writer // for the report, if json is "-"
}

// growing is a file that gets lines while a run lasts.
type growing struct {
	flag, name string
	file       *os.File
	err        error // the first one
}

func (g *growing) open() error {
	if g.name == "" {
		return nil
	}
	var err error
	if g.file, err = os.Create(g.name); err != nil {
		return fmt.Errorf("-%s: %w", g.flag, err)
	}
	return nil
}

// keep keeps the first error.
func (g *growing) keep(err error) {
	if err != nil && g.err == nil {
		g.err = fmt.Errorf("-%s: %w", g.flag, err)
	}
}

func (g *growing) close() error {
	if g.file != nil {
		g.keep(g.file.Close())
		g.file = nil
	}
	return g.err
}

func defineOutputs(f *flag.FlagSet, o *outputs, interval *time.Duration) {
	o.series.flag, o.log.flag = "series", "hdr"
	f.StringVar(&o.json, "json", "", "write the report to `file` as JSON too; -: JSON alone, to standard output")
	f.StringVar(&o.csv, "csv", "", "write the figures of the report to `file` as CSV, a line of names and one of values")
	f.StringVar(&o.series.name, "series", "", "write a line of JSON for each interval to `file`, as it ends")
	f.StringVar(&o.log.name, "hdr", "", "write the histograms of each interval to `file`, a log of HdrHistogram (V2), as it ends")
	f.StringVar(&o.hgrm, "hgrm", "", "write the percentiles of latencies to `file`, as HdrHistogram's tools do; others go beside it: NAME.actual.hgrm, NAME.lateness.hgrm, NAME.class-CLASS.hgrm")
	f.DurationVar(interval, "interval", time.Second, "length of the intervals of -series, -hdr and -json")
	f.StringVar(&o.record, "record", "", "write what became of each measured message to `file` as CSV")
}

// begin opens what grows.
func (o *outputs) begin(c *bench.Config) error {
	if err := o.series.open(); err != nil {
		return err
	}
	if err := o.log.open(); err != nil {
		_ = o.series.close() // err says more
		return err
	}
	var log *bench.LogWriter
	if o.log.file != nil {
		log = bench.NewLogWriter(o.log.file)
	}
	c.OnInterval = func(i *bench.Interval) {
		if o.series.file != nil {
			o.series.keep(writeLine(o.series.file, i.Point()))
		}
		if log != nil {
			o.log.keep(log.Write(i))
		}
	}
	return nil
}

// end writes the rest and closes every file. rep is nil if the run did not begin.
func (o *outputs) end(rep *bench.Report) error {
	err := errors.Join(o.series.close(), o.log.close())
	if rep == nil {
		return err
	}
	write := func(flag, name string, fn func() error) {
		if name == "" {
			return
		}
		if e := fn(); e != nil && err == nil {
			err = fmt.Errorf("-%s: %w", flag, e)
		}
	}
	write("json", o.json, func() error {
		if o.stdout != nil {
			return rep.EncodeJSON(o.stdout)
		}
		return rep.WriteJSON(o.json)
	})
	write("csv", o.csv, func() error { return writeFile(o.csv, rep.WriteCSV) })
	write("hgrm", o.hgrm, func() error { return writeHgrm(o.hgrm, rep) })
	write("record", o.record, func() error { return rep.Trace.WriteCSV(o.record) })
	return err
}

func writeLine(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// writeFile makes a file of what fn writes.
func writeFile(name string, fn func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	err = fn(f)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// writeHgrm writes the latencies to a file and the other histograms to files beside it.
func writeHgrm(file string, rep *bench.Report) error {
	ext := filepath.Ext(file)
	for name, h := range rep.Histograms {
		to := file
		if name != bench.LatencyName {
			to = strings.TrimSuffix(file, ext) + "." + strings.NewReplacer("/", "_", ":", "-").Replace(name) + ext
		}
		if err := writeFile(to, h.WriteHgrm); err != nil {
			return err
		}
	}
	return nil
}

// printProgress writes how far a run is, in a line.
func printProgress(w io.Writer, p bench.Progress) {
	fmt.Fprintf(w, "%v of %v: %.0f/s", p.Elapsed.Round(time.Second), p.Total, p.PerSecond)
	if p.P99 > 0 {
		fmt.Fprintf(w, ", p50 %.1f µs, p99 %.1f µs", float64(p.P50)/1e3, float64(p.P99)/1e3)
	}
	fmt.Fprintf(w, ", %d in flight, %d errors\n", p.InFlight, p.Errors)
}
