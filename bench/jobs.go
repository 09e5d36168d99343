package bench

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"
)

// Jobs are the messages of a run without what became of them: the load that Ideal is
// to bear.
type Jobs struct {
	List    []Job         // by arrival; Job.Class is an index of Classes
	Classes []string      // names
	From    time.Duration // jobs that arrive before are warm-up
}

// Limits of Jobs.
const (
	MaxJobs         = 20_000_000
	maxTraceClasses = 64
)

// Jobs returns the messages that a generator with one thread sends in an open loop, at
// their intended times. Errors: *OptionError, for a closed loop and a Workload without
// a Service too.
func (w *Workload) Jobs() (*Jobs, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	expected := w.expected(0, w.Warmup+w.Duration)
	switch {
	case !w.Open():
		return nil, &OptionError{"rate", w.Rate, "messages per second: in a closed loop the server decides when messages arrive"}
	case expected > MaxJobs:
		return nil, &OptionError{"rate", w.Rate, fmt.Sprintf("at most %d messages in all", MaxJobs)}
	case !w.works():
		return nil, &OptionError{"service", w.Service, "a distribution"}
	}
	j := &Jobs{From: w.Warmup}
	k := newKinds(w)
	for _, c := range k.classes {
		j.Classes = append(j.Classes, c.Name)
	}
	sent := make([]uint64, w.Conns)
	for s := NewSchedule(w, 0, 1); time.Duration(s.At) < w.Warmup+w.Duration; s.Next() {
		d, class := k.service(firstNumber(s.Conn) + sent[s.Conn])
		sent[s.Conn]++
		j.List = append(j.List, Job{time.Duration(s.At), d, class})
	}
	return j, nil
}

// ReadTrace reads a file that Trace.WriteCSV has written, or one with its columns
// intended_ns, service_ns and class among others, in lines of any order. Errors name
// the file and the line.
func ReadTrace(file string) (*Jobs, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	j, err := readTrace(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return j, nil
}

func readTrace(from io.Reader) (*Jobs, error) {
	r := csv.NewReader(from)
	r.ReuseRecord = true
	head, err := r.Read()
	if err != nil && err != io.EOF {
		return nil, err
	}
	var at [3]int
	for i, name := range []string{"intended_ns", "service_ns", "class"} {
		if at[i] = slices.Index(head, name); at[i] < 0 {
			return nil, fmt.Errorf("line 1: no column %s", name)
		}
	}
	j := &Jobs{}
	classes := map[string]int{}
	for {
		fields, err := r.Read()
		switch {
		case err == io.EOF:
			slices.SortStableFunc(j.List, func(a, b Job) int { return cmp.Compare(a.Arrival, b.Arrival) })
			return j, nil
		case err != nil:
			return nil, err
		}
		line, _ := r.FieldPos(0)
		arrival, err1 := strconv.ParseUint(fields[at[0]], 10, 62)
		service, err2 := strconv.ParseUint(fields[at[1]], 10, 62)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("line %d: intended_ns %q, service_ns %q: want nanoseconds", line, fields[at[0]], fields[at[1]])
		}
		name := fields[at[2]]
		class, ok := classes[name]
		if !ok {
			if len(classes) == maxTraceClasses {
				return nil, fmt.Errorf("line %d: more than %d classes", line, maxTraceClasses)
			}
			name = string([]byte(name)) // of its own, not of the whole line
			class = len(j.Classes)
			classes[name] = class
			j.Classes = append(j.Classes, name)
		}
		if len(j.List) == MaxJobs {
			return nil, fmt.Errorf("line %d: more than %d messages", line, MaxJobs)
		}
		j.List = append(j.List, Job{time.Duration(arrival), time.Duration(service), class})
	}
}
