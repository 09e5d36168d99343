package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kcm-go/kcm/bench"
)

const aboutMerge = `kcmbench merge FILE... -o OUT adds up what several generators have of one load, which they
sent to one server at the same time (run -start-at): reports that run -json wrote, or logs
that run -hdr wrote.

Counts, rates, connections and histograms are added; percentiles are those of the sums. A
report has what each generator had for itself under parts. Series are left out of reports,
as percentiles of intervals do not add up; merge the logs for those.

It refuses results of different workloads, versions or times, and equal seeds, and checks
that no message is in a histogram and not counted, or the other way round.

	kcmbench merge -o all.json 0.json 1.json 2.json
	kcmbench merge -o all.hlog 0.hlog 1.hlog 2.hlog

Flags:`

func runMerge(_ context.Context, args []string, stdout, _ io.Writer) error {
	var out string
	f := flag.NewFlagSet("merge", flag.ContinueOnError)
	f.StringVar(&out, "o", "", "write the sum to `file`")
	spread := f.Duration("spread", 100*time.Millisecond, "how far apart the generators may have begun, by their clocks")
	files, err := parseFiles(f, args, stdout, aboutMerge)
	switch {
	case err != nil:
		return err
	case out == "":
		return &usageError{fmt.Errorf("-o: want a file to write the sum to")}
	case len(files) < 2:
		return &usageError{fmt.Errorf("want at least two files")}
	case *spread < 0:
		return &usageError{fmt.Errorf("-spread %v: want a time, or 0", *spread)}
	}
	contents := make([][]byte, len(files))
	reports := 0
	for i, name := range files {
		if contents[i], err = os.ReadFile(name); err != nil {
			return err
		}
		if bytes.HasPrefix(bytes.TrimSpace(contents[i]), []byte("{")) {
			reports++
		}
	}
	switch reports {
	case 0:
		return mergeLogs(stdout, out, files, contents, *spread)
	case len(files):
		return mergeReports(stdout, out, files, *spread)
	}
	return fmt.Errorf("some files are reports and some logs: merge them apart")
}

func mergeReports(stdout io.Writer, out string, files []string, spread time.Duration) error {
	var names []string
	var reports []*bench.Report
	for _, name := range files {
		r, err := bench.ReadReport(name)
		if err != nil {
			return err
		}
		names = append(names, strings.TrimSuffix(filepath.Base(name), ".json"))
		reports = append(reports, r)
	}
	sum, err := bench.MergeReports(names, reports, spread)
	if err != nil {
		return err
	}
	if err := sum.WriteText(stdout); err != nil {
		return err
	}
	if err := sum.WriteJSON(out); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	return nil
}

func mergeLogs(stdout io.Writer, out string, files []string, contents [][]byte, spread time.Duration) error {
	var logs []bench.NamedLog
	for i, name := range files {
		logs = append(logs, bench.NamedLog{Name: name, Reader: bytes.NewReader(contents[i])})
	}
	var b bytes.Buffer
	n, err := bench.MergeLogs(&b, logs, spread)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	_, err = fmt.Fprintf(stdout, "%d times of %d logs\n", n, len(logs))
	return err
}
